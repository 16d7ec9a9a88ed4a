"""What is written is on the disk, and not only in the memory of the system, before it gets its final name.

After a loss of power a file could otherwise be whole by its name and empty, or a rename be undone that later writes
rely on.
"""

import os
from contextlib import suppress
from pathlib import Path


def to_disk(path: Path) -> None:
    """Write a file, or the names in a folder, from memory to the disk; do nothing where the system cannot."""
    with suppress(PermissionError):  # of another user's folder, or of any on Windows
        descriptor = os.open(path, os.O_RDONLY)
        try:
            with suppress(OSError):  # file systems without it
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def tree_to_disk(folder: Path) -> None:
    """Write a folder and all that is below it to the disk."""
    for place, _, files in os.walk(folder, topdown=False):
        for name in files:
            if not os.path.islink(os.path.join(place, name)):
                to_disk(Path(place, name))
        to_disk(Path(place))


def rename_durably(old: Path, new: Path) -> None:
    """Rename a folder or file that is on the disk; the rename is on the disk too when this function returns."""
    old.rename(new)
    to_disk(new.parent)
    if old.parent != new.parent:
        to_disk(old.parent)
