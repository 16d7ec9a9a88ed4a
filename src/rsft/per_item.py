"""One value of each item, of any kind that users bring: labels, numbers, probabilities and log ratios."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rsft.errors import InputError
from rsft.missing import is_missing

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


def check_parts(given: Any, call: str, what: str, numbers: Sequence[int] = (2,)) -> None:
    """Raise an InputError unless an item or a batch is a tuple or list of so many parts.

    A tensor of two rows could be taken for a pair too, and would be, in silence.

    Args:
        given: The item or batch.
        call: Names the function in the message.
        what: What is needed, such as "items (input, target)".
        numbers: The numbers of parts that are allowed.

    >>> check_parts((1, 2), "collate", "items (input, target)")
    """
    if isinstance(given, tuple | list) and len(given) in numbers:
        return
    if isinstance(given, Mapping):
        found = f"a mapping of {', '.join(map(str, given))}: take the parts out of it"
    elif hasattr(given, "shape"):
        found = f"one {type(given).__name__} of shape {tuple(given.shape)}: put its target beside it"
    else:
        size = f" of {len(given)}" if hasattr(given, "__len__") else ""
        found = f"a {type(given).__name__}{size}"
    raise InputError(f"`{call}` needs {what}, got {found}.")


def as_numbers(values: Any, call: str) -> np.ndarray:
    """Return real numbers (N,) as an array; an array of them stays as it is.

    Args:
        values: (N,) tensor, array, column of a data frame or list.
        call: Names the argument in the messages.

    Raises:
        InputError: If the shape is another, or they are no real numbers.
    """
    array = np.asarray(values) if isinstance(values, list | tuple) else _as_array(values)
    if array.ndim != 1 or array.dtype.kind not in "fiub":
        raise InputError(f"`{call}` needs (N,) real numbers, got {array.dtype} of shape {array.shape}.")
    return array


def as_probabilities(acceptance: Any, call: str, start: int = 0) -> np.ndarray:
    """Return acceptance probabilities as a new array (N,) float64.

    Args:
        acceptance: (N,) tensor, array, column of a data frame or list.
        call: Names the argument in the messages.
        start: Row number of the first value.

    Raises:
        InputError: If the shape is another, or a value is no number in [0, 1].
    """
    array = as_numbers(acceptance, call).astype(np.float64)
    check_probabilities(array, call, start)
    return array


def check_probabilities(values: np.ndarray, call: str, start: int = 0) -> None:
    """Raise an InputError if a value is outside [0, 1] or NaN.

    Args:
        values: (n,) floating.
        call: Names the argument in the message.
        start: Row number of the first value.

    Raises:
        InputError: If a value is outside [0, 1] or NaN; the message states the first such row.
    """
    if len(values) == 0 or (values.min() >= 0 and values.max() <= 1):  # NaN fails both
        return
    wrong = ~((values >= 0) & (values <= 1))
    row = int(np.flatnonzero(wrong)[0])
    raise InputError(
        f"`{call}` needs probabilities in [0, 1]; {int(wrong.sum())} are not, the first at row {start + row}: "
        f"{values[row]}. Take them from `acceptance_probability`."
    )


def as_log_ratio(values: Any, call: str) -> Tensor:
    """Return log ratios as a tensor (N,), float64 if they are float64 and float32 otherwise.

    Args:
        values: (N,) floating: a tensor, an array, a column of a data frame or a list.
        call: Names the argument in the messages.

    Raises:
        InputError: If they are not floating or not (N,), or one is NaN or +inf.
    """
    if not isinstance(values, Tensor):
        array = np.asarray(values)
        if array.dtype.kind != "f":
            raise InputError(f"`{call}` needs floating (N,) numbers, got {array.dtype} of shape {array.shape}.")
        values = torch.from_numpy(array.astype(np.float32 if array.dtype == np.float16 else np.float64))
    if values.ndim != 1 or not values.is_floating_point():
        raise InputError(f"`{call}` needs a floating (N,) tensor, got {values.dtype} {tuple(values.shape)}.")
    log_ratio: Tensor = values if values.dtype == torch.float64 else values.float()
    wrong = torch.isnan(log_ratio) | torch.isposinf(log_ratio)
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise InputError(
            f"`{call}` has {int(wrong.sum())} values that are NaN or +inf, the first at row {row}: "
            "a ratio must be finite; check the features or densities of those items."
        )
    return log_ratio


def _as_array(labels: Any) -> np.ndarray:
    """Return the labels as an array, without making texts of numbers."""
    if isinstance(labels, Tensor):
        labels = labels.detach().cpu()
        return (labels.float() if labels.dtype == torch.bfloat16 else labels).numpy()
    if isinstance(labels, np.ma.MaskedArray):
        return np.array(labels.tolist(), object)
    if isinstance(labels, np.ndarray):
        return labels  # a memory map stays one
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
    missing = np.array([is_missing(label) for label in listed], bool)
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
