"""Write `docs/robustness.md`: what was tried, how often, and what was lost, from the results of the soak tests.

    python benchmarks/robustness.py

`soak_kill.py` and `soak_fuzz.py` make the results; `make soak` runs all three.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "robustness.md"
AIM, KILL_AIM = 1_000_000, 200  # inputs, kills
KILLS = ("kills", "resumed", "identical", "lost", "half taken for whole", "left over", "failed")
FUZZED = ("inputs", "accepted", "refused", "bad")

TEXT = """\
# Robustness

What was done to rsft on purpose, how often, and what was lost. `make soak` makes these figures anew and writes this
page ([`benchmarks/robustness.py`](../benchmarks/robustness.py)); a short form of each part runs with every change
(`tests/faults`). What is trusted and what is not: [SECURITY.md](../SECURITY.md).

## Killed at any moment
SIGKILL at random moments and at random writes, in small runs of each command on one thread; some are killed twice. Then
the same command goes on ([`benchmarks/soak_kill.py`](../benchmarks/soak_kill.py), seed {kill_seed}).
{kills} kills, {lost} outputs lost. {kill_aim}

{kill_table}

A trial is *resumed* if the command then ends as it should, and *identical* if accepted items, numbers and weights equal
those of a run that nobody killed, to the bit. *Half taken for whole*: something half-written stood at its final place.
*Left over*: files of the killed process that stay when the command has ended. Where a command had ended before its
moment came, there was no kill.

## Damaged and hostile files
Small valid inputs with seeded mutations: bits, lengths, splices, fields at their extremes, changed headers with right
checksums, text and JSON values out of place, pipes, folders and links in place of files
([`benchmarks/soak_fuzz.py`](../benchmarks/soak_fuzz.py), seed {fuzz_seed}).
{inputs} inputs, {bad} of them bad. {aim}

{fuzz_table}

*Refused*: by one line that names the file or its folder. *Bad* is all else: a traceback, a killed process, three
seconds of processor time or 30 of waiting, more than 512 MiB added to the peak of memory, or, by Python's audit hooks,
code that runs, an object that is unpickled, a process, a connection, a file written elsewhere. A damaged picture is
left out and reported, so its set counts as accepted. Reports and dlib's stream of 22 MB take long, so they get fewer
inputs.
"""


def page(kill: Mapping[str, Any], fuzz: Mapping[str, Any]) -> str:
    """Return the page."""
    commands, parts, inputs = kill["commands"], fuzz["parsers"], fuzz["inputs"]
    return TEXT.format(
        kill_seed=kill["about"]["seed"],
        kills=commands["all"]["kills"],
        kill_aim=_aim(commands["all"]["kills"], KILL_AIM),
        lost=commands["all"]["lost"] or "no",
        kill_table=_table("command", {f"`{name}`": row for name, row in commands.items() if name != "all"}, KILLS),
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
    lines = [[name, *(f"{row[column]:,}" for column in columns)] for name, row in {**rows, "all": total}.items()]
    return "\n".join(
        "| " + " | ".join(cells) + " |" for cells in ([head, *columns], ["---"] * (len(columns) + 1), *lines)
    )


def main() -> None:
    """Write the page."""
    kill, fuzz = (json.loads((RESULTS / f"soak_{name}.json").read_text()) for name in ("kill", "fuzz"))
    PAGE.write_text(page(kill, fuzz))


if __name__ == "__main__":
    main()
