"""Which pictures a comparison was measured on, so that comparisons of several networks can be paired."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from rsft.data.features import Features
from rsft.data.reading import read_json
from rsft.disk.whole import replace_file
from rsft.errors import InputError

MEASURED_FILE = "measured.json"


def note_measured(folder: Path, evaluated: Mapping[str, Features]) -> None:
    """Write the number of usable pictures of each evaluation set, and a digest of their ids, to a folder."""
    told = {
        name: [len(features), hashlib.sha256("\n".join(features.ids).encode()).hexdigest()[:16]]
        for name, features in evaluated.items()
    }
    replace_file(folder / MEASURED_FILE, json.dumps(told).encode())


def differ_in(one: Path, other: Path) -> str | None:
    """Say in which evaluation set two comparisons used different pictures; None if they used the same in all.

    Args:
        one: Folder of a comparison.
        other: Folder of another comparison with the same evaluation sets.
    """
    shape, what = dict[str, tuple[int, str]], "the evaluated pictures of a comparison"
    first, second = (read_json(folder / MEASURED_FILE, shape, what) for folder in (one, other))
    for name in first:
        if name not in second:
            raise InputError(f"'{other / MEASURED_FILE}' lacks the {name} set: compare anew, in another folder.")
        if first[name] != second[name]:
            counts = f"{first[name][0]} pictures by {one.name}, {second[name][0]} by {other.name}"
            return f"other pictures of the {name} set could be used ({counts})"
    return None
