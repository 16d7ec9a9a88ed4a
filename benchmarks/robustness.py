"""Write `docs/robustness.md`: what was tried, how often, and what was lost, from the results of the soak tests.

    python benchmarks/robustness.py

`soak_kill.py`, `soak_ranks.py` and `soak_fuzz.py` make the results; `make soak` runs all.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "robustness.md"
AIM, KILL_AIM = 1_000_000, 200  # inputs, kills
KILLS = ("kills", "resumed", "identical", "lost", "half taken for whole", "left over", "failed")
RANKS = {
    "losses": "losses", "ended_with_an_error": "others ended with an error", "said_so": "said that another failed",
    "resumed": "resumed", "longest_seconds": "seconds",
}  # fmt: skip
RESULTS_OF = ("kill", "fuzz", "ranks")
FUZZED = ("inputs", "accepted", "refused", "bad")

TEXT = """\
# Robustness

What was done to rsft on purpose, how often, and what was lost. `make soak` makes these figures anew and writes this
page ([`benchmarks/robustness.py`](../benchmarks/robustness.py)); a short form of each part runs with every change
(`tests/faults`). What is trusted and what is not: [SECURITY.md](../SECURITY.md).

## Killed at any moment
SIGKILL at random moments and at random writes, in small runs of each command on one thread; some are killed twice. Then
the same command goes on ([`benchmarks/soak_kill.py`](../benchmarks/soak_kill.py), seeds {kill_seed}).
{kills} kills, {lost} outputs lost. {kill_aim}

{kill_table}

A trial is *resumed* if the command then ends as it should, and *identical* if accepted items, numbers and weights equal
those of a run that nobody killed, to the bit. *Half taken for whole*: something half-written stood at its final place.
*Left over*: files of the killed process that stay when the command has ended. Where a command had ended before its
moment came, there was no kill. `evaluate` writes nothing, so it is not among them.

One of several processes that train together, without a launcher that would end the others, is killed after a step
([`benchmarks/soak_ranks.py`](../benchmarks/soak_ranks.py), seed {rank_seed}):

{rank_table}

*Seconds*: the longest until all others had ended.

## Disks that fail
Pictures that fail for a moment, for ever, slowly, are cut off or vanish, and a disk that goes away while pictures are
read: [`tests/faults/test_failing_disks.py`](../tests/faults/test_failing_disks.py); what happens then:
[data.md](data.md#disks-that-fail).

## Damaged and hostile files
Small valid inputs with seeded mutations: bits, lengths, splices, fields at their extremes, changed headers with right
checksums, text and JSON values out of place, pipes, folders and links in place of files
([`benchmarks/soak_fuzz.py`](../benchmarks/soak_fuzz.py), seed {fuzz_seed}).
{inputs} inputs, {bad} of them bad. {aim}

{fuzz_table}

*Refused*: by one line that names the file or its folder. *Bad* is all else: a traceback, a killed process, three
seconds of processor time or 30 of waiting, more than 512 MiB added to the peak of memory, or, by Python's audit hooks,
code that runs, an object that is unpickled, a process, a connection, a file written elsewhere. A damaged picture is
left out and reported, so its set counts as accepted. What takes long gets fewer inputs: figures are drawn for a few of
the reports only, and dlib's own file of 22 MB is read seldom; "dlib stream" is a small file of the same format.
"""


def page(kill: Mapping[str, Any], fuzz: Mapping[str, Any], ranks: Mapping[str, Any]) -> str:
    """Return the page."""
    commands, parts, inputs = kill["commands"], fuzz["parsers"], fuzz["inputs"]
    return TEXT.format(
        kill_seed=kill["about"]["seed"],
        kills=commands["all"]["kills"],
        kill_aim=_aim(commands["all"]["kills"], KILL_AIM),
        lost=commands["all"]["lost"] or "no",
        kill_table=_table("command", {f"`{name}`": row for name, row in commands.items() if name != "all"}, KILLS),
        rank_seed=ranks["about"]["seed"],
        rank_table=_plain_table("processes", ranks["ranks"], RANKS),
        fuzz_seed=fuzz["seed"],
        inputs=f"{inputs:,}",
        bad=fuzz["bad"] or "none",
        aim=_aim(inputs, AIM),
        fuzz_table=_table("parser", parts, FUZZED),
    )


def _aim(done: int, aim: int) -> str:
    return f"The aim of {aim:,} is {'reached' if done >= aim else f'not reached yet: this is {done / aim:.0%} of it'}."


def _table(head: str, rows: Mapping[str, Mapping[str, int]], columns: tuple[str, ...]) -> str:
    """Return a table with the sum of each column in its last row."""
    total = {column: sum(row[column] for row in rows.values()) for column in columns}
    return _plain_table(head, {**rows, "all": total}, {column: column for column in columns})


def _plain_table(head: str, rows: Mapping[str, Mapping[str, float]], columns: Mapping[str, str]) -> str:
    """Return a table; `columns` maps the keys of the rows to the names of the columns."""
    lines = [[name, *(f"{row[column]:,}" for column in columns)] for name, row in rows.items()]
    return "\n".join(
        "| " + " | ".join(cells) + " |" for cells in ([head, *columns.values()], ["---"] * (len(columns) + 1), *lines)
    )


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(*(json.loads((RESULTS / f"soak_{name}.json").read_text()) for name in RESULTS_OF)))


if __name__ == "__main__":
    main()
