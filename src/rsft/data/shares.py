"""Shares of attribute values in the target, from a TOML file or a table."""

import os
import sys
import tomllib
from pathlib import Path

from rsft.data.table import TABLES, read_table
from rsft.data.text import read_text
from rsft.errors import InputError

ATTRIBUTE, VALUE, SHARE = "attribute", "value", "share"
MOST = sys.float_info.max


def read_shares(path: str | os.PathLike[str]) -> dict[str, dict[str, float]]:
    """Read the shares of attribute values in the target.

    Args:
        path: A TOML file with one table per attribute, such as `[light]` with `night = 0.7`; or a table with the
            columns `attribute,value,share`, see `rsft.data.table.read_table`.

    Returns:
        Attribute -> value -> its share of the target. The sum of the shares is not checked here.

    Raises:
        InputError: The file cannot be read, holds anything other than tables of numbers, or names a value twice.
    """
    path = Path(path)
    if path.suffix.lower() in TABLES:
        return _of_table(path)
    try:
        shares = tomllib.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"cannot read '{path}': {error}.") from error
    for name, table in shares.items():
        if not isinstance(table, dict) or not all(_is_share(share) for share in table.values()):
            raise InputError(f"'{path}' needs a table [{name}] of values and their shares, such as night = 0.7.")
    return shares


def _of_table(path: Path) -> dict[str, dict[str, float]]:
    """Read shares from a table."""
    table = read_table(path, [ATTRIBUTE, VALUE, SHARE])
    numbers, shares = table.numbers(SHARE).tolist(), dict[str, dict[str, float]]()
    for row, (name, value) in enumerate(zip(table.values(ATTRIBUTE), table.values(VALUE), strict=True)):
        if not name or not value or not _is_share(numbers[row]):
            raise InputError(f"{table.place(row)} needs an attribute, one of its values and its share, such as 0.7.")
        if value in shares.setdefault(name, {}):
            raise InputError(f"{table.place(row)} gives '{value}' of '{name}' a share again. Keep one.")
        shares[name][value] = numbers[row]
    return shares


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MOST
