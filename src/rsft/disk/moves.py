"""Several files that get their final names together: a stop between their renames is completed by the next call."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rsft.disk.durable import rename_durably, tree_to_disk
from rsft.disk.whole import discard, finish_discard, replace_file
from rsft.errors import InputError

MOVES_FILE = ".rsft-moves.json"


def partial_of(destination: Path) -> Path:
    """Return the folder in which the files of a destination are written."""
    return destination.with_name(destination.name + ".partial")


@contextmanager
def moving(destination: Path, token: str) -> Iterator[Path]:
    """Yield a folder to write into; then move all that is in it to the folder of `destination`.

    What is named as the destination is moved last. If the block fails, the folder is removed; if a move fails or the
    process ends, it stays for `finish_moves`, which must be called first. Hold the lock of the destination meanwhile.

    Args:
        destination: Path of the main file or folder.
        token: Identifies what is written.

    Raises:
        InputError: There is a file or folder at one of the final places.
    """
    partial = partial_of(destination)
    partial.mkdir()
    try:
        _note(partial, token, None)
        yield partial
        names = sorted(path.name for path in partial.iterdir() if path.name != MOVES_FILE)
        names.sort(key=lambda name: name == destination.name)
        taken = [path for path in (destination.with_name(name) for name in names) if path.exists()]
        if taken:
            raise InputError(f"'{taken[0]}' exists: choose another destination, or remove it.")
        tree_to_disk(partial)
        _note(partial, token, names)
    except BaseException:
        discard(partial)
        raise
    _move(destination, names)


def finish_moves(destination: Path) -> str | None:
    """Complete the moves of a process that was stopped meanwhile, and remove what one left that was stopped earlier.

    Returns:
        The token of the moves that were completed; None if there were none.

    Raises:
        InputError: The folder in which the files are written is not one of `moving`, or a final place is taken.
    """
    partial = partial_of(destination)
    finish_discard(partial)
    if not partial.exists():
        return None
    try:
        noted = json.loads((partial / MOVES_FILE).read_text())
        token, names = str(noted["token"]), noted["names"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        if partial.is_dir() and not [path for path in partial.iterdir() if path.name != f".{MOVES_FILE}.new"]:
            token, names = "", None  # stopped before anything was written
        else:
            raise InputError(
                f"'{partial}' is in the way, and is not known to be of an interrupted conversion: it may hold the only "
                "copy of your records, so look into it, move it away, and run again."
            ) from error
    if names is None:
        discard(partial)
        return None
    _move(destination, names)
    return token


def _note(partial: Path, token: str, names: list[str] | None) -> None:
    """Note what is written, and once it is whole the names in the order of the moves."""
    replace_file(partial / MOVES_FILE, json.dumps({"token": token, "names": names}).encode())


def _move(destination: Path, names: list[str]) -> None:
    """Move what is still there, in this order, and remove the folder."""
    partial = partial_of(destination)
    for name in names:
        new, final = partial / name, destination.with_name(name)
        if not new.exists():
            continue  # moved before the stop
        if final.exists():
            raise InputError(
                f"'{final}' is in the way of what an interrupted conversion wrote into '{partial}': move it away, and "
                "run again."
            )
        rename_durably(new, final)
    discard(partial)
