"""A reader for TOML files that state the shares of attribute values in the target."""

import os
import tomllib
from pathlib import Path

from rsft.errors import InputError


def read_shares(path: str | os.PathLike[str]) -> dict[str, dict[str, float]]:
    """Read the shares of attribute values in the target from a TOML file.

    Args:
        path: The file, with one table per attribute, such as `[light]` with `night = 0.7`.

    Returns:
        Attribute -> value -> its share of the target. The range and the sum of the shares are not checked here.

    Raises:
        InputError: The file cannot be read, or holds anything other than tables of numbers.
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
