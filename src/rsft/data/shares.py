"""Shares of the target, as a TOML file states them."""

import os
import tomllib
from pathlib import Path

from rsft.errors import InputError


def read_shares(path: str | os.PathLike[str]) -> dict[str, dict[str, float]]:
    """Attribute -> value -> its share of the target.

    Raises:
        InputError: it cannot be read, or is not tables of numbers.
    """
    try:
        shares = tomllib.loads(Path(path).read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"cannot read '{path}': {error}.") from error
    for name, table in shares.items():
        numbers = isinstance(table, dict) and all(isinstance(share, int | float) for share in table.values())
        if not numbers:
            raise InputError(f"'{path}' needs a table [{name}] of values and their shares, such as night = 0.7.")
    return shares
