"""Outputs are kept apart from what is read."""

import os
from collections.abc import Iterable
from pathlib import Path

from rsft.data.archives import expand
from rsft.errors import InputError


def check_apart(out: Path, inputs: Iterable[object]) -> None:
    """Refuse an output that is an input, holds one, or lies in one, by whatever name or link.

    Args:
        out: a file or folder that will be written.
        inputs: paths and patterns of shards; what is no path, or does not exist, is passed over.

    Raises:
        InputError: the message names both.
    """
    out = resolved(out)
    for given in inputs:
        if not isinstance(given, str | os.PathLike):
            continue
        for path in expand(Path(given)):
            if not path.exists():
                continue
            real = resolved(path)
            if any(_same(out, above) for above in (real, *real.parents)):
                what = "is the input" if _same(out, real) else "holds the input"
            elif real.is_dir() and any(_same(real, above) for above in out.parents):
                what = "lies in the input"
            else:
                continue
            raise InputError(f"the output '{out}' {what} '{given}': choose an output apart from what is read.")


def resolved(path: Path) -> Path:
    """The file or folder itself, whatever links lead to it."""
    return Path(os.path.realpath(path))


def _same(one: Path, other: Path) -> bool:
    """Whether two paths are one file or folder, however they are spelt or mounted."""
    try:
        return one == other or os.path.samefile(one, other)
    except OSError:
        return False
