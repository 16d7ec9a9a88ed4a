"""How two runs of `rsft fit` differ, by the files in their folders; times and the version of rsft do not count."""

import filecmp
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import safetensors.torch

from rsft.data.reading import checked, read_json, reading
from rsft.face.networks.bundle import WEIGHTS_FILE
from rsft.face.networks.names import BUNDLE_FILE
from rsft.face.runs.run_files import MODEL_FOLDER
from rsft.report.run import ACCEPTED_FILE, HISTORY_FILE, METRICS_FILE, PLAN_FILE

TIMES, VERSION = "seconds", "version"  # beginning of the names of times; the name of the version of rsft
FINISHED = "part of the folder of a finished run"
SHOWN = 20  # entries of a file that differ, in the figures
TRAINED, LOG_RATIO = "times_trained", "log_ratio"


@dataclass(frozen=True)
class PartDifference:
    """How one part of two runs differs.

    Attributes:
        same: Whether it is the same to the last bit; of the accepted pictures, whether they are the same and were
            trained on as often.
        text: What differs and by how much, in one line; "the same" otherwise.
        figures: The numbers behind the text, for JSON.
    """

    same: bool
    text: str
    figures: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes for JSON."""
        return {"same": self.same, "text": self.text, **self.figures}


def differences(before: Path, now: Path, *, named: bool) -> dict[str, PartDifference]:
    """Compare two finished runs.

    Args:
        before: Folder of one run.
        now: Folder of the other.
        named: Whether both know a picture by the same name. Otherwise, their rows are compared in their order.

    Returns:
        The differences of "metrics", "plan", "accepted" (the pictures accepted and how often each was trained on),
        "history" (the losses of the training), "weights" and "bundle" (the settings and thresholds of the model).

    Raises:
        InputError: A file is missing or damaged.
    """
    return {
        "metrics": _of_values(*(_read(run / METRICS_FILE) for run in (before, now))),
        "plan": _of_values(*(_read(run / PLAN_FILE) for run in (before, now))),
        "accepted": _of_accepted(before / ACCEPTED_FILE, now / ACCEPTED_FILE, named=named),
        "history": _of_values(*(_read_lines(run / HISTORY_FILE) for run in (before, now))),
        "weights": _of_weights(*(run / MODEL_FOLDER / WEIGHTS_FILE for run in (before, now))),
        "bundle": _of_values(*(_read(run / MODEL_FOLDER / BUNDLE_FILE) for run in (before, now))),
    }


def _read(path: Path) -> Any:
    return read_json(path, dict[str, Any], FINISHED)


def _read_lines(path: Path) -> list[Any]:
    with reading(path, FINISHED):
        return [checked(line, dict[str, Any]) for line in path.read_text(encoding="utf-8").splitlines()]


def _of_values(before: Any, now: Any) -> PartDifference:
    """Compare two JSON values entry by entry."""
    had, has = (dict(_entries(value)) for value in (before, now))
    absent = object()
    changed = [key for key in (had | has) if not _equal(had.get(key, absent), has.get(key, absent))]
    figures: dict[str, Any] = {"entries": len(had | has), "different": len(changed), "largest": None}
    if not changed:
        return PartDifference(True, "the same", figures)
    steps = {key: _step(had[key], has[key]) for key in changed if _is_number(had.get(key)) and _is_number(has.get(key))}
    at = max(steps, key=lambda key: steps[key]) if steps else changed[0]
    then, after = ("absent" if value is absent else value for value in (had.get(at, absent), has.get(at, absent)))
    figures["largest"] = steps.get(at)
    figures["examples"] = {key: [had.get(key), has.get(key)] for key in [at, *changed][:SHOWN]}
    most = f"numbers by at most {steps[at]:.2g}; " if steps else ""
    text = f"{len(changed)} of {len(had | has)} entries differ ({most}{at}: {then} then, {after} now)"
    return PartDifference(False, text, figures)


def _entries(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted name and the value of each leaf of JSON that is no time and no version of rsft."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if inner is None:
        yield name, value
        return
    yield name, type(value).__name__  # an empty list is not an absent one
    for key, part in inner:
        if not str(key).startswith(TIMES) and not (name == "" and key == VERSION):
            yield from _entries(part, f"{name}.{key}" if name else str(key))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _step(before: float, now: float) -> float:
    """Return by how much a number has changed; JSON also holds whole numbers larger than any float."""
    try:
        return abs(float(now) - float(before))
    except OverflowError:
        return math.inf


def _equal(one: Any, other: Any) -> bool:
    """Return whether two leaves are equal; NaN equals NaN."""
    return bool(one == other) or (one != one and other != other)


def _of_accepted(before: Path, now: Path, *, named: bool) -> PartDifference:
    """Compare which pictures two runs accepted, and how often each was trained on."""
    tables = [_read_accepted(path) for path in (before, now)]
    if not named:
        for table in tables:
            table["path"] = list(range(len(table["path"])))
    had, has = (dict(zip(table["path"], range(len(table["path"])), strict=True)) for table in tables)
    both = [(had[item], has[item]) for item in had if item in has]
    rows = np.array(both, np.int64).reshape(-1, 2)
    accepted = [
        {item for item, row in place.items() if table["accepted"][row]}
        for table, place in zip(tables, (had, has), strict=True)
    ]
    trained, log_ratio = (
        np.array([np.asarray(table[name], float)[rows[:, k]] for k, table in enumerate(tables)])
        for name in (TRAINED, LOG_RATIO)
    )
    steps = np.abs(trained[1] - trained[0])
    alone = [
        sum(table[TRAINED][row] > 0 for item, row in place.items() if item not in other)
        for table, place, other in zip(tables, (had, has), (has, had), strict=True)
    ]
    figures = {
        "pictures": [len(had), len(has)],
        "accepted": [len(one) for one in accepted],
        "accepted_then_only": len(accepted[0] - accepted[1]),
        "accepted_now_only": len(accepted[1] - accepted[0]),
        "trained_otherwise": int((steps > 0).sum()) + sum(alone),
        "largest_change_of_times_trained": int(steps.max(initial=0)),
        "largest_change_of_log_ratio": float(np.nan_to_num(np.abs(log_ratio[1] - log_ratio[0])).max(initial=0)),
        "by_name": named,
    }
    same_rows = len(had) == len(has) == len(both)
    if same_rows and accepted[0] == accepted[1] and not steps.any():
        step = figures["largest_change_of_log_ratio"]
        return PartDifference(True, f"the same, with log ratios within {step:.2g}" if step else "the same", figures)
    counts = f"of {len(accepted[0])} and {len(accepted[1])}"
    text = (
        f"{figures['accepted_then_only']} pictures were accepted then only and {figures['accepted_now_only']} now "
        f"only, {counts}; {figures['trained_otherwise']} were trained on another number of times; {len(had)} pictures "
        f"were embedded then and {len(has)} now"
    )
    return PartDifference(False, text, figures)


def _read_accepted(path: Path) -> dict[str, list[Any]]:
    """Read the columns of `accepted.parquet` that are compared."""
    with reading(path, FINISHED):
        found: dict[str, list[Any]] = pa.parquet.read_table(
            path, columns=["path", "accepted", LOG_RATIO, TRAINED]
        ).to_pydict()
        return found


def _of_weights(before: Path, now: Path) -> PartDifference:
    """Compare two files of weights, by their bytes and, if these differ, number by number."""
    for path in (before, now):
        with reading(path, FINISHED), open(path, "rb"):
            pass
    if filecmp.cmp(before, now, shallow=False):
        return PartDifference(True, "the same", {"largest": 0.0})
    tensors = []
    for path in (before, now):
        with reading(path, FINISHED):
            tensors.append(safetensors.torch.load_file(path))
    had, has = tensors
    other = sorted(name for name in had.keys() | has.keys() if name not in had or name not in has)
    other += [name for name in had if name in has and had[name].shape != has[name].shape]
    if other:
        text = f"{len(other)} tensors are absent or of another shape, such as '{other[0]}': it is another network"
        return PartDifference(False, text, {"largest": None, "other_tensors": len(other)})
    steps = {name: float((has[name].double() - had[name].double()).abs().max()) for name in had if had[name].numel()}
    at = max(steps, key=lambda name: steps[name])
    size = float(had[at].double().abs().max())
    changed = sum(step != 0 for step in steps.values())
    most = f"{steps[at]:.2g} ('{at}', whose largest weight is {size:.2g})"
    text = f"{changed} of {len(had)} tensors differ, by at most {most}"
    return PartDifference(False, text, {"largest": steps[at], "tensors": len(had), "different": changed})
