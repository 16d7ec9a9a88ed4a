"""The pictures that a finished run has read, so that `rsft rerun` can say which of them have changed.

Pictures and the digests of their bytes are noted under the pseudonyms of the run: without its salt, nobody can test
whether a picture was used.
"""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from rsft.data.reading import reading
from rsft.face.runs.pseudonyms import Pseudonyms

USED_FILE = "pictures.parquet"
COLUMNS = ("set", "picture", "content")


def write_used(folder: Path, used: Mapping[str, Mapping[str, str]], pseudonym: Pseudonyms) -> None:
    """Write `pictures.parquet`, a row for each picture that was read.

    Args:
        folder: The run folder.
        used: Name of each set -> id -> digest of the bytes of each picture that was read; "" if it was missing.
        pseudonym: Replaces the ids and the digests.
    """
    rows = [
        (name, pseudonym(item), pseudonym(digest) if digest else "")
        for name, pictures in used.items()
        for item, digest in pictures.items()
    ]
    columns = list(zip(*rows, strict=True)) or [()] * len(COLUMNS)
    table = pa.table({name: pa.array(values, pa.string()) for name, values in zip(COLUMNS, columns, strict=True)})
    pa.parquet.write_table(table, folder / USED_FILE)


def read_used(folder: Path) -> dict[str, dict[str, str]] | None:
    """Return what `write_used` wrote: set -> pseudonym of the picture -> that of its content; None if it wrote nothing.

    Raises:
        InputError: The file is damaged.
    """
    path = folder / USED_FILE
    if not path.exists():
        return None
    found: dict[str, dict[str, str]] = {}
    with reading(path, "the pictures that a run has read"):
        columns = pa.parquet.read_table(path, columns=list(COLUMNS)).to_pydict()
        for name, item, digest in zip(*(columns[column] for column in COLUMNS), strict=True):
            found.setdefault(name, {})[item] = digest
    return found


def changed_pictures(before: Path, now: Path) -> dict[str, set[str]]:
    """Return the pseudonyms of the pictures of each set whose bytes differ between two runs with one salt.

    Pictures that only one of the runs has read are not among them.
    """
    had, has = read_used(before) or {}, read_used(now) or {}
    return {
        name: changed
        for name in had
        if (
            changed := {
                item for item in had[name].keys() & has.get(name, {}).keys() if had[name][item] != has[name][item]
            }
        )
    }
