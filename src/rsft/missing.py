"""What stands for a value that is missing."""

import re
from collections.abc import Sequence
from typing import Any

# The texts that pandas reads as missing. A person may be named Na, Nan or Null, but hardly NA, nan or NULL.
MARKS = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip
NO_LABEL = "-1"  # Hugging Face's number, and that of most lists, for an item that has no label
WHOLE = re.compile(r"(-?\d+)\.0+")  # a whole number as programs write it that keep numbers as floating point


def is_missing(value: Any) -> bool:
    """Return whether a value of an attribute is missing: None, not a number, or one of `MARKS`.

    >>> [is_missing(value) for value in (None, float("nan"), " ", "NA", "day", 0, False)]
    [True, True, True, True, False, False, False]
    """
    if isinstance(value, str):
        return value.strip() in MARKS
    return value is None or str(value) in (*MARKS, "NaT")


def label_name(value: Any, names: Sequence[str] | None = None) -> str:
    """Return the name that a label stands for, or an empty text if the item has no label.

    Numbers are named as text names them, so that 1, 1.0 and "1" are one person. -1 is no label.

    Args:
        value: The label.
        names: Names of the classes, if the label may be the number of one.

    >>> label_name(1.0), label_name("ann"), label_name(0, ["ann"]), label_name(-1), label_name(float("nan"))
    ('1', 'ann', 'ann', '', '')
    """
    text = "" if is_missing(value) else str(value).strip()
    found = WHOLE.fullmatch(text)
    text = found[1] if found else text
    if names is not None and text.isdecimal() and not isinstance(value, str) and int(text) < len(names):
        return str(names[int(text)])
    return "" if text == NO_LABEL else text
