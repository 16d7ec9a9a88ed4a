"""The folder a command writes: made aside and renamed when whole, so that what stands there is never half-written.

Nothing is deleted or replaced that rsft did not write itself. Every folder carries a mark that lists the files in it; a
folder without the mark, or with a file that the mark does not list, is refused.
"""

import errno
import importlib.metadata
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rsft.data.apart import check_apart, resolved
from rsft.errors import InputError, RsftError

MARK_FILE = ".rsft.json"
# Files that a desktop leaves in any folder it shows.
CLUTTER = {MARK_FILE, ".DS_Store", "Thumbs.db", "desktop.ini"}
REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM)


@contextmanager
def writing(
    out: Path, *, inputs: Iterable[object] = (), overwrite: bool = False, resume: bool | None = None
) -> Iterator[Path]:
    """Give a folder to write into, `OUT.partial`, and rename it to `out` if all went well.

    After an interruption the partial folder stays. Until the rename, an existing `out` is untouched.

    Args:
        out: the folder to make; a symbolic link stands for the folder it points to.
        inputs: what the command reads, see `check_apart`.
        overwrite: replace an existing `out`, or an interrupted attempt at it, if rsft wrote all that is in it.
        resume: keep what an interrupted run left; None where the command cannot.

    Raises:
        InputError: `out` exists and may not be replaced, or is an input.
        RsftError: the disk is full or refuses to be written.
    """
    out = resolved(out)
    partial = _partial(out)
    check_output(out, inputs=inputs, overwrite=overwrite, resume=resume)
    try:
        if partial.exists() and not resume:
            shutil.rmtree(partial)
        partial.mkdir(parents=True, exist_ok=True)
        _write_mark(partial, files=[])
    except OSError as error:
        raise _refused(partial, error) from error
    try:
        yield partial
        _write_mark(partial, files=_files(partial))
        _put_in_place(partial, out)
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        raise _refused(partial, error) from error
    finally:
        if partial.exists() and not _files(partial):
            shutil.rmtree(partial)  # nothing was written: there is nothing to resume


def check_output(
    out: Path, *, inputs: Iterable[object] = (), overwrite: bool = False, resume: bool | None = None
) -> None:
    """Refuse an output that `writing` would refuse; call it before any work.

    Args:
        out: as in `writing`; so are the others.
        inputs: likewise.
        overwrite: likewise.
        resume: likewise.

    Raises:
        InputError: see `writing`.
    """
    out = resolved(out)
    check_apart(out, inputs)
    partial = _partial(out)
    if os.path.lexists(out):
        if not overwrite:
            advice = "it is already whole, nothing to resume" if resume else "pass --overwrite to replace it"
            raise InputError(f"the output folder '{out}' exists: {advice}, or choose another --out.")
        _check_ours(out, finished=True)
    if os.path.lexists(partial):
        _check_ours(partial, finished=False)
        if not (overwrite or resume):
            keep = "" if resume is None else "pass --resume to continue it, or "
            raise InputError(
                f"'{partial}' holds an interrupted run: {keep}pass --overwrite to discard it, or choose another --out."
            )


def adding_to(out: Path, *, inputs: Iterable[object] = ()) -> Path:
    """Make a folder that a command adds to over several calls, and return it.

    Raises:
        InputError: it is an input, a file, or a folder with content that is not of rsft.
    """
    out = resolved(out)
    check_apart(out, inputs)
    if out.is_dir():
        if any(path.name not in CLUTTER for path in out.iterdir()):
            _check_marked(out, "add to")
    elif os.path.lexists(out):
        raise InputError(f"cannot make the folder '{out}': there is a file of this name. Choose another --out.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"cannot make the folder '{out}': a file lies on its way. Choose another --out.") from error
    _write_mark(out, files=[])
    return out


def replace_file(path: Path, content: bytes) -> None:
    """Write a file that is the old one or the new one at any time, also after a crash; an old one's mode stays.

    Raises:
        OSError: the disk is full or refuses to be written; the old file stays.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, name)
        else:
            os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _umask() -> int:
    mask = os.umask(0)  # it can only be read by being set
    os.umask(mask)
    return mask


def _partial(out: Path) -> Path:
    return out.with_name(out.name + ".partial")


def _files(folder: Path) -> list[str]:
    """All files and links below a folder, relative to it, in order; not the mark, nor what a desktop leaves."""
    return sorted(
        os.path.relpath(os.path.join(place, name), folder)
        for place, folders, files in os.walk(folder)
        for name in (*files, *(name for name in folders if os.path.islink(os.path.join(place, name))))
        if name not in CLUTTER
    )


def _write_mark(folder: Path, files: list[str]) -> None:
    mark = {"made_by": f"rsft {importlib.metadata.version('rsft')}", "files": files}
    replace_file(folder / MARK_FILE, json.dumps(mark, indent=1).encode())


def _check_ours(folder: Path, *, finished: bool) -> None:
    """Refuse to delete a folder that is not rsft's own, or in which somebody has put something of theirs."""
    if folder.is_symlink() or not folder.is_dir():
        raise InputError(f"'{folder}' is no folder of rsft's: it is not replaced. Choose another --out.")
    if not any(folder.iterdir()):
        return
    mark = _check_marked(folder, "replace")
    foreign = sorted(set(_files(folder)) - set(mark["files"])) if finished else []
    if foreign:
        raise InputError(
            f"'{folder}' holds {len(foreign)} files that rsft did not write there, such as '{foreign[0]}': move them "
            "away, or choose another --out."
        )


def _check_marked(folder: Path, verb: str) -> dict[str, list[str]]:
    try:
        mark: dict[str, list[str]] = json.loads((folder / MARK_FILE).read_text(encoding="utf-8"))
        listed = isinstance(mark["files"], list)
    except (OSError, ValueError, KeyError, TypeError):
        listed = False
    if not listed:
        raise InputError(
            f"'{folder}' was not written by rsft (it has no '{MARK_FILE}'), which will not {verb} it: choose another "
            "--out, or remove the folder yourself."
        )
    return mark


def _put_in_place(partial: Path, out: Path) -> None:
    """Rename the new folder to its place; the old one is moved aside first and deleted last."""
    if not out.exists():
        partial.rename(out)
        return
    aside = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.replaced-"))
    out.rename(aside / out.name)
    partial.rename(out)
    shutil.rmtree(aside, ignore_errors=True)


def _refused(partial: Path, error: OSError) -> RsftError:
    existing = next(parent for parent in partial.absolute().parents if parent.exists())
    free = shutil.disk_usage(existing).free / 2**20
    return RsftError(
        f"cannot write '{partial}': {error.strerror} ({free:.0f} MiB free). Make room or choose another --out, "
        "then run again with --resume."
    )
