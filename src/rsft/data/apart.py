"""A check that outputs do not overlap inputs."""

import os
from collections.abc import Iterable
from pathlib import Path

from rsft.data.archives import expand
from rsft.data.remote import to_path
from rsft.errors import InputError


def check_apart(out: Path, inputs: Iterable[object]) -> None:
    """Raise an error if an output is an input, contains one or lies inside one.

    Links are resolved first, so a second name of the same file or folder is recognised.

    Args:
        out: File or folder that will be written.
        inputs: Paths, and patterns of shards such as `shard-{000..012}.tar`. Entries that are not paths, or that do
            not exist, are ignored.

    Raises:
        InputError: The output overlaps an input. The message names both.
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
            raise InputError(f"the output '{out}' {what} '{given}': choose an output outside the inputs.")


def resolved(path: Path) -> Path:
    """Return the path of a file or folder with all links resolved; raise `InputError` for a remote one."""
    return Path(os.path.realpath(to_path(path)))


def _same(one: Path, other: Path) -> bool:
    """Return whether two paths name the same file or folder, whatever their spelling or mount point."""
    try:
        return one == other or os.path.samefile(one, other)
    except OSError:
        return False
