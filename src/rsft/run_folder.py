"""Output folders of commands, written under a temporary name and renamed when complete.

A folder at its final place is therefore never half-written, and a folder that one process writes is locked to all
others. rsft deletes and replaces only what it wrote itself: each folder has a mark file that lists its files, and a
folder without the mark or with other files is refused.
"""

import errno
import importlib.metadata
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from rsft.data.apart import check_apart, resolved
from rsft.data.regular import read_regular
from rsft.disk.access import PRIVATE_FOLDER, make_private, make_usual
from rsft.disk.durable import rename_durably, tree_to_disk
from rsft.disk.lock import check_free, locked
from rsft.disk.room import FULL, free_bytes, full_disk
from rsft.disk.whole import discard, finish_discard, is_leftover, replace_file, sweep
from rsft.errors import InputError, RsftError

MARK_FILE = ".rsft.json"
# Files that desktop environments create in any folder.
CLUTTER = {MARK_FILE, ".DS_Store", "Thumbs.db", "desktop.ini"}
REFUSALS = (*FULL, errno.EACCES, errno.EROFS, errno.EPERM)
# What runs had before there was a mark: a run, a comparison, a plan, an output of `rsft embed`.
OLD_FILES = ("metrics.json", "comparison.json", "plan.json", "embedding.json")


@contextmanager
def writing(
    out: Path,
    *,
    inputs: Iterable[object] = (),
    overwrite: bool = False,
    resume: bool | None = None,
    private: bool = False,
) -> Iterator[Path]:
    """Yield a folder to write into, `OUT.partial`, and rename it to `out` if the block succeeds.

    After an interruption the partial folder stays. Until the rename, an existing `out` is untouched. Meanwhile no other
    process may write to `out`, and only the owner can read the partial folder.

    Args:
        out: The folder to create. If it is a symbolic link, the folder that it points to is created.
        inputs: The paths that the command reads; see `check_apart`.
        overwrite: Replace an existing `out`, or an interrupted attempt at it, if rsft wrote all of its contents.
        resume: Keep the contents of an interrupted attempt. None if the command cannot resume.
        private: Let only the owner read the finished folder, since it holds biometric data.

    Raises:
        InputError: `out` or `OUT.partial` exists and may not be replaced, another process writes it, or `out` overlaps
            an input.
        RsftError: The disk is full or cannot be written to.
    """
    out = resolved(out)
    partial = _partial(out)
    check_output(out, inputs=inputs, overwrite=overwrite, resume=resume)
    with ExitStack() as stack:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(out))
            _recover(out)
            _check_replaceable(out, overwrite=overwrite, resume=resume)  # again, now that nobody else writes
            if not resume:
                discard(partial)
            for folder in (partial, _aside(out)):
                finish_discard(folder)
            partial.mkdir(PRIVATE_FOLDER, exist_ok=True)
            sweep(partial)
            _write_mark(partial, files=[])
        except OSError as error:
            raise _refused(partial, error) from error
        try:
            yield partial
            sweep(partial)
            _write_mark(partial, files=_files(partial))
            with suppress(PermissionError):  # of a folder that another user began
                (make_private if private else make_usual)(partial)
            _put_in_place(partial, out)
        except OSError as error:
            if error.errno not in REFUSALS:
                raise
            raise _refused(partial, error) from error
        finally:
            if partial.exists() and not _files(partial):
                discard(partial)  # no file was written, so there is nothing to resume


def writing_if(out: Path | None, **options: Any) -> AbstractContextManager[Path | None]:
    """Return `writing(out, ...)`, or a context without a folder if nothing is to be written."""
    return nullcontext() if out is None else writing(out, **options)


def check_output(
    out: Path, *, inputs: Iterable[object] = (), overwrite: bool = False, resume: bool | None = None
) -> None:
    """Raise an error if `writing` would refuse these arguments. Call it before any work.

    Args:
        out: See `writing`.
        inputs: See `writing`.
        overwrite: See `writing`.
        resume: See `writing`.

    Raises:
        InputError: See `writing`.
    """
    out = resolved(out)
    check_apart(out, inputs)
    check_free(out)
    _check_replaceable(out, overwrite=overwrite, resume=resume)


def _check_replaceable(out: Path, *, overwrite: bool, resume: bool | None) -> None:
    """Raise an error if an output, or an interrupted attempt at it, exists and may not be replaced or continued."""
    partial = _partial(out)
    if os.path.lexists(out):
        if not overwrite:
            state = "is already complete, so there is nothing to resume" if resume else "exists"
            raise InputError(
                f"the output folder '{out}' {state}: pass --overwrite to replace it, or choose another --out."
            )
        _check_ours(out, finished=True)
    if os.path.lexists(partial):
        _check_ours(partial, finished=False)
        if not (overwrite or resume) and not all(map(is_leftover, _files(partial))):
            keep = "" if resume is None else "pass --resume to continue it, or "
            raise InputError(
                f"'{partial}' holds an interrupted run: {keep}pass --overwrite to discard it, or choose another --out."
            )


def remove(out: Path) -> None:
    """Remove a finished folder that rsft wrote.

    Raises:
        InputError: rsft did not write it, a file was added to it, or another process writes it.
    """
    out = resolved(out)
    with locked(out):
        _check_ours(out, finished=True)
        discard(out)


def adding_to(out: Path, *, inputs: Iterable[object] = ()) -> Path:
    """Create a folder that a command adds to over several calls, and return its path without links.

    Args:
        out: The folder. It may exist if it is empty or if rsft wrote it.
        inputs: The paths that the command reads; see `check_apart`.

    Raises:
        InputError: `out` overlaps an input, it or one of its parents is a file, or it is a folder with contents that
            rsft did not write.
    """
    out = resolved(out)
    check_apart(out, inputs)
    if out.is_dir():
        if any(path.name not in CLUTTER for path in out.iterdir()):
            _check_marked(out, "add to")
    elif os.path.lexists(out):
        raise InputError(f"cannot create the folder '{out}': there is a file of this name. Choose another --out.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(
            f"cannot create the folder '{out}': one of its parents is a file. Choose another --out."
        ) from error
    _write_mark(out, files=[])
    return out


def check_file(path: Path, *, inputs: Iterable[object] = (), replace: bool = False) -> None:
    """Raise an error if a file may not be written; call it before any work.

    Args:
        path: The file to write.
        inputs: The paths that the command reads, as for `check_apart`.
        replace: Whether an existing file may be replaced.

    Raises:
        InputError: It is an input or lies in one, its folder does not exist, or it exists itself.
    """
    check_apart(path, inputs)
    if not path.absolute().parent.is_dir():
        raise InputError(f"the folder of '{path}' does not exist: create it first.")
    if os.path.lexists(path) and not replace:
        raise InputError(f"'{path}' exists: choose another name, or remove it.")


def _partial(out: Path) -> Path:
    """Return the path of the folder that is written before the rename."""
    return out.with_name(out.name + ".partial")


def _files(folder: Path) -> list[str]:
    """Return all files and links below a folder, relative to it and sorted, but for those in `CLUTTER`."""
    return sorted(
        os.path.relpath(os.path.join(place, name), folder)
        for place, folders, files in os.walk(folder)
        for name in (*files, *(name for name in folders if os.path.islink(os.path.join(place, name))))
        if name not in CLUTTER
    )


def _write_mark(folder: Path, files: list[str]) -> None:
    """Write the mark file, which lists the files that rsft wrote into the folder."""
    mark = {"made_by": f"rsft {importlib.metadata.version('rsft')}", "files": files}
    replace_file(folder / MARK_FILE, json.dumps(mark, indent=1).encode())


def _check_ours(folder: Path, *, finished: bool) -> None:
    """Raise an error if rsft did not write a folder, or if a finished folder has files that the mark does not list."""
    if folder.is_symlink() or not folder.is_dir():
        raise InputError(f"'{folder}' is not a folder written by rsft, so it is not replaced: choose another --out.")
    if all(is_leftover(path.name) for path in folder.iterdir()):
        return
    mark = _check_marked(folder, "replace")
    foreign = sorted(set(_files(folder)) - set(mark["files"])) if finished else []
    if foreign:
        count = f"{len(foreign)} file{'s' * (len(foreign) > 1)}"
        raise InputError(
            f"'{folder}' holds {count} that rsft did not write there, such as '{foreign[0]}': move them away, or "
            "choose another --out."
        )


def _check_marked(folder: Path, verb: str) -> dict[str, list[str]]:
    """Return the contents of the mark, or raise an error that names the action, such as "replace"."""
    try:
        mark: dict[str, list[str]] = json.loads(read_regular(folder / MARK_FILE))
        listed = isinstance(mark["files"], list)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        listed = False
    if not listed:
        old = next((name for name in OLD_FILES if (folder / name).is_file()), None)
        hint = "" if old is None else f", though its {old} may be of a version that wrote none"
        raise InputError(
            f"'{folder}' was not written by rsft (it has no '{MARK_FILE}'{hint}), so rsft will not {verb} it: choose "
            "another --out, or remove the folder yourself."
        )
    return mark


def _put_in_place(partial: Path, out: Path) -> None:
    """Rename the new folder to its final name. An old one is moved aside first and deleted last."""
    tree_to_disk(partial)
    aside = _aside(out) if out.exists() else None
    if aside is not None:
        rename_durably(out, aside)
    rename_durably(partial, out)
    if aside is not None:
        discard(aside)


def _recover(out: Path) -> None:
    """Finish a replacement that was killed between its renames: put an old output back, or delete a replaced one."""
    aside = _aside(out)
    if not aside.is_dir():
        return
    _check_marked(aside, "replace")
    if out.exists():
        discard(aside)
    else:
        aside.rename(out)


def _aside(out: Path) -> Path:
    """Return the path of an old output while the new one takes its place."""
    return out.with_name(f".{out.name}.replaced")


def _refused(partial: Path, error: OSError) -> RsftError:
    """Return an error that states why a folder cannot be written, and the free space."""
    if error.errno in FULL:
        return full_disk(partial)
    return RsftError(
        f"cannot write '{error.filename or partial}': {error.strerror} ({free_bytes(partial) / 2**20:.0f} MiB free). "
        "Choose another --out, or let this folder be written, then run again with --resume."
    )
