"""Block-wise access to a table of features that may not fit in memory."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

# A tensor or array (N, D), a data frame of N rows, a sequence of N rows, or a sequence of shards (n, D) of any of these
Table = Tensor | np.ndarray | Sequence[Any] | Any

LARGEST_WHOLE = 2.0**53  # float64 tells integers apart up to here
BLOCK_BYTES = 16 << 20  # of float32: fits any machine, and is large enough to make Python's overhead negligible


class Rows:
    """A table of (N, D) features that consists of one or several shards.

    Args:
        table: The features, of floating or integer dtype: a tensor, array or memory map, a data frame or a list of
            rows; or a sequence of such shards, each (n, D), which are read as one table.
        call: Name of the argument in error messages.
        width: Required number of features D; None accepts any.

    Attributes:
        width: Number of features D.

    Raises:
        ValueError: If the table holds other things than real numbers, a shard is not (n, D), the widths differ, or
            there are no features.
    """

    def __init__(self, table: Table, call: str, width: int | None = None) -> None:
        self._call = call
        self._shards = [_checked_kind(shard, call) for shard in _shards_of(table, call)]
        for shard in self._shards:
            if shard.ndim != 2 or (width is not None and shard.shape[1] != width):
                expected = f"(n, {width})" if width is not None else "(n, D)"
                raise ValueError(
                    f"`{call}` needs features of shape {expected}, got {tuple(shard.shape)}. "
                    + (
                        "One feature of n items has the shape (n, 1)."
                        if shard.ndim == 1
                        else "Were all embedded with one model, with a row for each item?"
                    )
                )
            width = shard.shape[1]
        if not width:
            raise ValueError(f"`{call}` has no features.")
        self.width: int = width
        self._starts = np.cumsum([0, *(len(shard) for shard in self._shards)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        """Yield the blocks in order, each as its first row number and its rows (n, D), float32 or float64.

        Raises:
            ValueError: If a feature is NaN or infinite, or an integer beyond 2^53. The message states the first such
                row of the block.
        """
        size = max(1, BLOCK_BYTES // (4 * self.width))
        for start, shard in zip(self._starts, self._shards, strict=False):
            for first in range(0, len(shard), size):
                part = shard[first : first + size]
                yield int(start + first), self._read(part, np.arange(start + first, start + first + len(part)))

    def take(self, rows: np.ndarray) -> Tensor:
        """Return the rows with the given ascending numbers.

        Args:
            rows: (n,) integer row numbers in ascending order.

        Returns:
            (n, D) features, float32 or float64.

        Raises:
            ValueError: If a feature is NaN or infinite, or an integer beyond 2^53.
        """
        shard_of = np.searchsorted(self._starts, rows, side="right") - 1
        parts = [
            self._read(shard[rows[shard_of == number] - start], rows[shard_of == number])
            for number, (start, shard) in enumerate(zip(self._starts, self._shards, strict=False))
        ]
        return torch.cat(parts)

    def _read(self, part: Tensor | np.ndarray, rows: np.ndarray) -> Tensor:
        """Return rows as a CPU tensor; raise ValueError if a feature is not finite or cannot be held."""
        block, exact = _on_cpu(part)
        if not exact.all():
            raise ValueError(
                f"`{self._call}` has integers beyond 2^53, which no float tells apart, the first at row "
                f"{rows[int((~exact).nonzero()[0])]}: subtract a constant, or divide by one."
            )
        # The sum is finite only if all its terms are. This check is cheaper than one of each element.
        if not torch.isfinite(block.sum()):
            wrong = (~torch.isfinite(block)).any(1).nonzero().flatten()
            if len(wrong):
                raise ValueError(
                    f"`{self._call}` has NaN or infinite features in {len(wrong)} rows, the first at row "
                    f"{rows[int(wrong[0])]}: leave these items out or embed them again."
                )
        return block


def both_sides(pool: Table, target: Table) -> tuple[Rows, Rows]:
    """Return the pool and the target as tables of one width.

    Raises:
        ValueError: If a shard is not (n, D), the widths differ, or there are no features.
    """
    rows = Rows(pool, "fit_ratio(pool=...)")
    return rows, Rows(target, "fit_ratio(target=...)", rows.width)


def _shards_of(table: Table, call: str) -> list[Any]:
    """Return the shards of a table, each still as it was given."""
    if isinstance(table, str | bytes | Mapping) or not (hasattr(table, "__iter__") or hasattr(table, "__array__")):
        raise ValueError(
            f"`{call}` needs a table of numbers (N, D), a row for each item, got a {type(table).__name__}."
        )
    if hasattr(table, "shape") or hasattr(table, "__array__"):
        return [table]
    parts = list(table)
    if any(np.ndim(part) == 2 for part in parts if hasattr(part, "shape")):
        return parts
    if parts and all(isinstance(part, Tensor) for part in parts):
        parts = [part.detach().cpu().double().numpy() for part in parts]
    try:
        return [np.asarray(parts)] if parts else []
    except ValueError:
        raise ValueError(
            f"`{call}` needs rows of one length, got a list of {len(parts)} of different lengths."
        ) from None


def _checked_kind(shard: Any, call: str) -> Tensor | np.ndarray:
    """Return a shard as a tensor or an array; raise ValueError if it holds other things than real numbers."""
    if isinstance(shard, Tensor):
        if shard.is_complex() or shard.layout != torch.strided:
            raise ValueError(f"`{call}` needs dense real numbers, got {shard.dtype} ({shard.layout}).")
        return shard
    if isinstance(shard, np.ma.MaskedArray):
        shard = np.ma.filled(shard.astype(np.float64), np.nan)
    array = shard if isinstance(shard, np.ndarray) else np.asarray(shard)
    if array.dtype.kind not in "fiub":
        columns = [
            f"{name} ({dtype})"
            for name, dtype in zip(getattr(shard, "columns", ()), getattr(shard, "dtypes", ()), strict=False)
            if getattr(dtype, "kind", "O") not in "fiub"
        ]
        what = f"column {columns[0]}" if columns else f"{array.dtype} of shape {array.shape}"
        advice = "give times in seconds" if array.dtype.kind in "mM" else "give each item numbers only"
        raise ValueError(f"`{call}` needs real numbers, got {what}: {advice}.")
    return array


def _on_cpu(part: Tensor | np.ndarray) -> tuple[Tensor, Tensor]:
    """Return rows as a CPU tensor, and whether a float can tell their values from their neighbours: (n, D), (n,) bool.

    The tensor is float64 for float64 and for integers that float32 cannot hold, and float32 otherwise.
    """
    whole = part.dtype.kind in "iu" if isinstance(part, np.ndarray) else not part.is_floating_point()
    wide = part.dtype.itemsize >= (4 if whole else 8)
    if isinstance(part, np.ndarray):  # a copy, as torch warns about read-only memory maps
        block = torch.from_numpy(np.array(part, np.float64 if wide else np.float32))
    else:
        block = part.detach().cpu().to(torch.float64 if wide else torch.float32)
    exact = (block.abs() <= LARGEST_WHOLE).all(1) if whole else torch.ones(len(block), dtype=torch.bool)
    return block, exact
