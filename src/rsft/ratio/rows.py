"""A table of features read in blocks, so that it need not fit in memory."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

Table = Tensor | np.ndarray | Sequence[Tensor | np.ndarray]

BLOCK_BYTES = 16 << 20  # of float32: small enough for any machine, large enough that Python's share does not count


class Rows:
    """(N, D) features: one tensor, array or memory map, or a sequence of such shards, read as if they were one.

    Args:
        table: the features, of any floating type, or integers.
        call: names the argument in messages.
        width: D, where it is known.

    Raises:
        ValueError: a shard is not (n, D), or widths differ.
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
        """Yield the first row's number and the rows of every block, in order.

        Raises:
            ValueError: a feature is NaN or infinite; the message names the first such row.
        """
        size = max(1, BLOCK_BYTES // (4 * self.width))
        for start, shard in zip(self._starts, self._shards, strict=False):
            for first in range(0, len(shard), size):
                block = _on_cpu(shard[first : first + size])
                rows = np.arange(start + first, start + first + len(block))
                yield int(rows[0]), self._checked(block, rows)

    def take(self, rows: np.ndarray) -> Tensor:
        """Some rows, given by ascending number."""
        shard_of = np.searchsorted(self._starts, rows, side="right") - 1
        parts = [
            _on_cpu(shard[rows[shard_of == number] - start])
            for number, (start, shard) in enumerate(zip(self._starts, self._shards, strict=False))
        ]
        return self._checked(torch.cat(parts), rows)

    def _checked(self, block: Tensor, rows: np.ndarray) -> Tensor:
        # A sum is finite if all its terms are, and rarely otherwise not: one cheap look before the dear one.
        if not torch.isfinite(block.sum()):
            wrong = (~torch.isfinite(block)).any(1).nonzero().flatten()
            if len(wrong):
                raise ValueError(
                    f"`{self._call}` has NaN or infinite features in {len(wrong)} rows, the first at row "
                    f"{rows[int(wrong[0])]}: leave these items out or embed them again."
                )
        return block


def both_sides(pool: Table, target: Table) -> tuple[Rows, Rows]:
    """The two samples of a ratio, of one width.

    Raises:
        ValueError: see `Rows`.
    """
    rows = Rows(pool, "fit_ratio(pool=...)")
    return rows, Rows(target, "fit_ratio(target=...)", rows.width)


def _on_cpu(shard: Tensor | np.ndarray) -> Tensor:
    """As float32, or float64 where it is that."""
    if isinstance(shard, np.ndarray):
        shard = torch.from_numpy(np.array(shard))  # a copy: memory maps are often read-only, which torch warns of
    shard = shard.detach().cpu()
    return shard if shard.dtype == torch.float64 else shard.float()
