"""Who may read what is written: biometric data only their owner, everything else whom the umask allows.

Biometric data are embeddings, activations, covariates and pictures of people. The weights of a model are not counted
among them: they are made to be handed on.
"""

import os
from pathlib import Path

PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700


def make_private(path: Path) -> None:
    """Let only the owner read a file, or a folder with all that is in it."""
    if not path.is_dir():
        path.chmod(PRIVATE_FILE)
        return
    path.chmod(PRIVATE_FOLDER)
    for place, folders, files in os.walk(path):
        for name in folders:
            os.chmod(os.path.join(place, name), PRIVATE_FOLDER)
        for name in files:
            os.chmod(os.path.join(place, name), PRIVATE_FILE)


def make_usual(path: Path) -> None:
    """Give a file or folder the mode that the umask gives to new ones; some libraries write with other modes."""
    path.chmod((0o777 if path.is_dir() else 0o666) & ~_umask())


def _umask() -> int:
    """Return the umask of this process."""
    mask = os.umask(0o077)  # the umask can only be read by setting it
    os.umask(mask)
    return mask
