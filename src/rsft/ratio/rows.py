"""Block-wise access to a table of features that may not fit in memory."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

Table = Tensor | np.ndarray | Sequence[Tensor | np.ndarray]

BLOCK_BYTES = 16 << 20  # of float32: fits any machine, and is large enough to make Python's overhead negligible


class Rows:
    """A table of (N, D) features that consists of one or several shards.

    Args:
        table: The features, of floating or integer dtype: a tensor, array or memory map, or a sequence of such shards,
            each (n, D), which are read as one table.
        call: Name of the argument in error messages.
        width: Required number of features D; None accepts any.

    Attributes:
        width: Number of features D.

    Raises:
        ValueError: If a shard is not (n, D), the widths differ, or there are no features.
    """

    def __init__(self, table: Table, call: str, width: int | None = None) -> None:
        self._call = call
        self._shards = [table] if isinstance(table, Tensor | np.ndarray) else list(table)
        for shard in self._shards:
            if shard.ndim != 2 or (width is not None and shard.shape[1] != width):
                expected = f"(n, {width})" if width is not None else "(n, D)"
                raise ValueError(
                    f"`{call}` needs features of shape {expected}, got {tuple(shard.shape)}. Were all embedded with "
                    "one model?"
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
            ValueError: If a feature is NaN or infinite. The message states the first such row of the block.
        """
        size = max(1, BLOCK_BYTES // (4 * self.width))
        for start, shard in zip(self._starts, self._shards, strict=False):
            for first in range(0, len(shard), size):
                block = _on_cpu(shard[first : first + size])
                rows = np.arange(start + first, start + first + len(block))
                yield int(rows[0]), self._checked(block, rows)

    def take(self, rows: np.ndarray) -> Tensor:
        """Return the rows with the given ascending numbers.

        Args:
            rows: (n,) integer row numbers in ascending order.

        Returns:
            (n, D) features, float32 or float64.

        Raises:
            ValueError: If a feature is NaN or infinite.
        """
        shard_of = np.searchsorted(self._starts, rows, side="right") - 1
        parts = [
            _on_cpu(shard[rows[shard_of == number] - start])
            for number, (start, shard) in enumerate(zip(self._starts, self._shards, strict=False))
        ]
        return self._checked(torch.cat(parts), rows)

    def _checked(self, block: Tensor, rows: np.ndarray) -> Tensor:
        """Return the block; raise ValueError if a feature is not finite."""
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


def _on_cpu(shard: Tensor | np.ndarray) -> Tensor:
    """Return the shard as a CPU tensor, float64 if it is float64 and float32 otherwise."""
    if isinstance(shard, np.ndarray):
        shard = torch.from_numpy(np.array(shard))  # copy, as torch warns about read-only memory maps
    shard = shard.detach().cpu()
    return shard if shard.dtype == torch.float64 else shard.float()
