"""Names of people kept out of what is handed on.

Where a run writes who was in its pictures, it writes hashes salted with a number of its own. The salt lies in a file of
its own: with it, and a name, it can be told whether a person was used; without it, nothing can.
"""

import hashlib
import os
import secrets
from pathlib import Path

SALT_FILE = "salt.txt"
SALT_BYTES = 16
HASH_DIGITS = 16


class Pseudonyms:
    """Hashes in place of names, the same for the same name within a run.

    Args:
        salt: of the run; None leaves names as they are.
    """

    def __init__(self, salt: str | None) -> None:
        self.salt = salt

    def __call__(self, name: str) -> str:
        """The first `HASH_DIGITS` hexadecimal digits of SHA-256 of salt and name."""
        if self.salt is None:
            return name
        return hashlib.sha256(f"{self.salt}/{name}".encode()).hexdigest()[:HASH_DIGITS]

    def save(self, folder: Path) -> None:
        """Write the salt into a folder, to be read by its owner only; nothing where names are left as they are."""
        if self.salt is None:
            (folder / SALT_FILE).unlink(missing_ok=True)
            return
        with open(os.open(folder / SALT_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(self.salt)


def new_pseudonyms(*, show: bool = False) -> Pseudonyms:
    """With a salt of their own; or names as they are, where they are to be shown."""
    return Pseudonyms(None if show else secrets.token_hex(SALT_BYTES))
