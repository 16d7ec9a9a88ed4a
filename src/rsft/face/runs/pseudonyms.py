"""Salted hashes in place of the names of pictures and people.

A run writes hashes in place of names, with a random salt of its own in a separate file. With the salt and a name one
can test whether a person was used; without the salt one cannot.
"""

import hashlib
import os
import secrets
from pathlib import Path

from rsft.data.regular import read_regular
from rsft.errors import InputError

SALT_FILE = "salt.txt"
SALT_BYTES = 16
HASH_DIGITS = 16


class Pseudonyms:
    """A mapping from names to salted hashes. The same name has the same hash within a run.

    Args:
        salt: Salt of the run. None leaves names unchanged.
    """

    def __init__(self, salt: str | None) -> None:
        self.salt = salt

    def __call__(self, name: str) -> str:
        """Return the first `HASH_DIGITS` hexadecimal digits of SHA-256 of salt and name; without a salt, the name."""
        if self.salt is None:
            return name
        return hashlib.sha256(f"{self.salt}/{name}".encode()).hexdigest()[:HASH_DIGITS]

    @classmethod
    def of_run(cls, folder: Path, *, hashed: bool) -> "Pseudonyms":
        """Return the pseudonyms of a run.

        Args:
            folder: The run folder.
            hashed: Whether the run names pictures by hashes.

        Raises:
            InputError: It does, and its salt cannot be read.
        """
        try:
            return cls(read_regular(folder / SALT_FILE).decode() if hashed else None)
        except (OSError, ValueError) as error:
            raise InputError(
                f"'{folder}' names people by salted hashes, and its {SALT_FILE} cannot be read: {error}."
            ) from error

    def save(self, folder: Path) -> None:
        """Write the salt into a folder, readable by its owner only; without a salt, remove an old one."""
        if self.salt is None:
            (folder / SALT_FILE).unlink(missing_ok=True)
            return
        with open(os.open(folder / SALT_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(self.salt)


def new_pseudonyms(*, show: bool = False, salt: str | None = None) -> Pseudonyms:
    """Return pseudonyms with a salt, by default a new random one; if `show` is set, ones that leave names unchanged."""
    return Pseudonyms(None if show else salt or secrets.token_hex(SALT_BYTES))
