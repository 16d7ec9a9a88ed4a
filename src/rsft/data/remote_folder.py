"""Folders in buckets: listing one, and looking for the files that a manifest names."""

import numpy as np

from rsft.data.columns import Strings, folder_part, rows_like
from rsft.data.listing import Listing, picture_rows, text_column
from rsft.data.passed_over import HIDDEN, IN_SYSTEM, Tally, place_passed_over
from rsft.data.remote import RemotePath
from rsft.data.sources import Files


def list_remote_folder(root: RemotePath) -> Listing:
    """List the pictures below a folder of a bucket, by the rules of `list_folder`.

    Args:
        root: The folder.

    Raises:
        OSError: The store cannot be asked.
    """
    names, tally = text_column(root.files_below(), root), Tally()
    hidden = np.union1d(rows_like(names, HIDDEN), rows_like(names, IN_SYSTEM))
    for reason, where in filter(None, {place_passed_over(name) for name in names.take(hidden)}):
        tally.add(reason, where)
    seen = names.take(np.setdiff1d(np.arange(len(names)), hidden, assume_unique=True))
    pictures = picture_rows(seen)
    for name in seen.take(np.setdiff1d(np.arange(len(seen)), pictures, assume_unique=True)):
        tally.add_file(name)
    ids = seen.take(pictures)
    folders = {name.partition("/")[0] for name in seen if "/" in name} - {item.partition("/")[0] for item in ids}
    return Listing(ids, Files(root, ids), passed_over=tally.told(folders))


def absent_remote_files(root: RemotePath, paths: Strings) -> np.ndarray:
    """Return the rows of paths at which there is no file; each folder is listed once.

    A web server lists no folders, so none is absent there until it is read.

    Args:
        root: The folder that the paths are relative to.
        paths: (N,) paths with "/" between the parts.

    Raises:
        OSError: The store cannot be asked.
    """
    if root.is_web:
        return np.zeros(0, np.int64)
    folders = paths.coded(folder_part)
    there: set[str] = set()
    for folder in folders.names:
        there.update(f"{folder}/{path.name}" if folder else path.name for path in (root / folder).iterdir())
    return np.array([row for row, path in enumerate(paths) if path not in there], np.int64)
