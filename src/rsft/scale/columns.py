"""The columns of a table of scored items, and what they may hold."""

from enum import StrEnum

import pyarrow as pa

from rsft.errors import InputError

ID, LOG_RATIO, ACCEPTANCE, ACCEPTED, EPOCHS, OUTCOME, PLAN = (
    "id",
    "log_ratio",
    "acceptance",
    "accepted_epochs",
    "epochs",
    "outcome",
    "plan",
)
# Constants stand in columns, as engines drop the metadata of a schema. Parquet keeps them in a few bytes.
TYPES = {
    LOG_RATIO: pa.float64(),
    ACCEPTANCE: pa.float64(),
    ACCEPTED: pa.list_(pa.int32()),
    EPOCHS: pa.int32(),
    OUTCOME: pa.string(),
    PLAN: pa.string(),
}


class RowOutcome(StrEnum):
    """What became of a row; only a scored one can be accepted."""

    SCORED = "scored"
    UNUSABLE = "unusable"  # the features function said so
    NOT_FINITE = "features not finite"


def is_name(kind: pa.DataType) -> bool:
    """Return whether ids of this type are names, and not numbers."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def id_type(kind: pa.DataType, column: str, where: str) -> pa.DataType:
    """Return the type in which ids are kept: int64 for numbers, string for names.

    Args:
        kind: Type of the column.
        column: Its name.
        where: Names what holds it, for the message.

    Raises:
        InputError: If it holds neither integers nor texts.
    """
    if is_name(kind):
        return pa.string()
    if pa.types.is_integer(kind):
        return pa.int64()
    raise InputError(
        f"{where}: the column '{column}' holds {kind}, and an id is an integer, the item's number in the pool, or a "
        "text, its name."
    )
