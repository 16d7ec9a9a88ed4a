"""The folder a command writes: made aside and renamed when whole, so that what stands there is never half-written."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rsft.errors import InputError, RsftError

REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM)


@contextmanager
def writing(out: Path, *, overwrite: bool = False, resume: bool = False) -> Iterator[Path]:
    """Give a folder to write into, `OUT.partial`, and rename it to `out` if all went well.

    After an interruption the partial folder stays, and `resume` continues with what is in it. Until the rename, an
    existing `out` is untouched.

    Args:
        out: the folder to make.
        overwrite: replace an existing `out`.
        resume: keep what an interrupted run left.

    Raises:
        InputError: `out` exists and is not to be overwritten.
        RsftError: the disk is full or refuses to be written.
    """
    partial = out.with_name(out.name + ".partial")
    if out.exists() and not overwrite:
        advice = "it is already whole, nothing to resume" if resume else "pass --overwrite to replace it"
        raise InputError(f"the output folder '{out}' exists: {advice}, or choose another --out.")
    try:
        if partial.exists() and not resume:
            shutil.rmtree(partial)
        partial.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _refused(partial, error) from error
    try:
        yield partial
        replaced = out.with_name(out.name + ".replaced")
        if out.exists():
            out.rename(replaced)
        partial.rename(out)
        shutil.rmtree(replaced, ignore_errors=True)
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        raise _refused(partial, error) from error
    finally:
        with suppress(OSError):
            partial.rmdir()  # only goes if it is empty: then there is nothing to resume


def make_folder(path: Path) -> None:
    """Make a folder that is added to, if it is not there.

    Raises:
        InputError: a file stands in its place.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(
            f"cannot make the folder '{path}': there is a file of this name. Choose another --out."
        ) from error


def replace_file(path: Path, content: bytes) -> None:
    """Write a file that is the old one or the new one at any time, also after a crash; its mode stays.

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
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _refused(partial: Path, error: OSError) -> RsftError:
    existing = next(parent for parent in partial.absolute().parents if parent.exists())
    free = shutil.disk_usage(existing).free / 2**20
    return RsftError(
        f"cannot write '{partial}': {error.strerror} ({free:.0f} MiB free). Make room or choose another --out, "
        "then run again with --resume."
    )
