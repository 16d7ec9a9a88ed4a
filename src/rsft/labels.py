"""Labels of items, such as identities and groups, as numbers 0 ... C - 1."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from rsft.errors import InputError

WHOLE = 2.0**53  # floats up to here are told apart


def codes_of(labels: Any, call: str, items: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Number labels of any size and kind, in ascending order.

    Args:
        labels: (N,) integers, texts, booleans, dates, or floats with whole values: a tensor, an array, a column of a
            data frame or a sequence.
        call: Names the argument in the messages.
        items: The N that is required; None accepts any.

    Returns:
        (C,) the different labels, ascending, and (N,) int64 the number of that of each item.

    Raises:
        InputError: If the shape is another, or a label is missing or of another kind.

    >>> codes_of([10_000_000, -5, 10_000_000], "plan(identities=...)")[1]
    array([1, 0, 1])
    """
    array = _as_array(labels)
    if array.ndim != 1 or (items is not None and len(array) != items):
        wanted = "a label of each item, (N,)" if items is None else f"one label for each of {items} items"
        raise InputError(f"`{call}` needs {wanted}, got shape {array.shape}.")
    if array.dtype.kind == "O":
        array = _of_one_kind(array, call)
    if array.dtype.kind not in "iubUSMf":
        raise InputError(f"`{call}` needs integers or texts, got {array.dtype}.")
    missing = array != array  # NaN and NaT
    if missing.any():
        _refuse_missing(call, missing)
    if array.dtype.kind == "f" and ((array != np.floor(array)) | (np.abs(array) > WHOLE)).any():
        row = int(np.flatnonzero((array != np.floor(array)) | (np.abs(array) > WHOLE))[0])
        raise InputError(f"`{call}` needs integers or texts, got {array[row]} at row {row}.")
    names, codes = np.unique(array, return_inverse=True)
    return names, codes.astype(np.int64)


def _as_array(labels: Any) -> np.ndarray:
    """Return the labels as an array, without making texts of numbers."""
    if isinstance(labels, torch.Tensor):
        labels = labels.detach().cpu()
        return (labels.float() if labels.dtype == torch.bfloat16 else labels).numpy()
    if isinstance(labels, np.ma.MaskedArray):
        return np.array(labels.tolist(), object)
    if isinstance(labels, Sequence) and not isinstance(labels, str | bytes):
        kinds = {type(label) for label in labels}
        if len(kinds) > 1:
            array = np.empty(len(labels), object)
            array[:] = labels
            return array
    return np.asarray(labels)


def _of_one_kind(array: np.ndarray, call: str) -> np.ndarray:
    """Return (N,) objects as an array of integers or of texts; raise InputError if they are neither."""
    listed = array.tolist()
    missing = np.array([label is None or label != label for label in listed], bool)
    if missing.any():
        _refuse_missing(call, missing)
    kinds = {
        str if isinstance(label, str) else int if isinstance(label, int | np.integer) else type(label)
        for label in listed
    }
    if kinds <= {int} or kinds <= {str}:
        return np.array(listed) if listed else np.empty(0, np.int64)
    raise InputError(f"`{call}` needs integers, or texts, got {' and '.join(sorted(kind.__name__ for kind in kinds))}.")


def _refuse_missing(call: str, missing: np.ndarray) -> None:
    raise InputError(
        f"`{call}` has no label for {int(missing.sum())} items, the first at row {int(np.flatnonzero(missing)[0])}: "
        "leave these items out, or name them."
    )
