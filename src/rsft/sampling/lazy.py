"""LazyRejectionSampler: accepted items of a pool whose ratios are computed only when an item is reached."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rsft.errors import LowAcceptanceError
from rsft.sampling.acceptance import accept_at, acceptance_probability
from rsft.sampling.sequence import GlobalSequence
from rsft.sampling.walk import BLOCK_ITEMS, random_order, walk

PROBES = 8
TOLERANCE = 1e-3
MAX_BARREN = 1_000_000

# (n,) ascending items -> (n,) log ratio of each, -inf for an item that cannot be used
LogRatio = Callable[[np.ndarray], Tensor]


class LazyRejectionSampler(GlobalSequence[int]):
    """Sampler of the indices of accepted items, for a pool that nobody has looked at.

    Item i is accepted in epoch e by the rule of `RejectionSampler`: if and only if `u(seed, e, i) < min(1, r(i) / M)`.
    So the accepted set is the one that `RejectionSampler` draws when all ratios are known. The ratio of an item is
    computed when a pass reaches it, block by block, and kept for later passes and in `state_dict`. The order of a pass
    is that of `walk`. It depends on (seed, epoch) alone, and ranks divide it as `GlobalSequence` describes. Every rank
    computes the ratios of the blocks that it passes.

    `len` computes the ratio of every item that a pass reaches.

    Args:
        log_ratio: Function from (n,) int64 items, ascending, to their (n,) log ratios log target - log pool. -inf marks
            an item that cannot be used. Its values must not change.
        log_m: Log of the envelope M.
        items: Number N of items of the pool.
        seed: Integer in [0, 2^64).
        reach: Number of items that the passes visit, the same in all epochs; see `walk`. None for the whole pool.
        block: Number of items whose ratios are computed together.
        chunk: Number of neighbouring items that are visited together; see `walk`.
        balanced: If True, the numbers u of an item over epochs are its own low-discrepancy sequence; see `accept_at`.
        known: (k,) int64 items whose log ratio is known already, and these (k,) values, which `log_ratio` need not
            return again; None for none.
        max_barren: Largest number of items in a row of which none is accepted.
        rank: Number of this process. The default is that of `torch.distributed` if initialised, 0 otherwise.
        world_size: Number of processes. The default is that of `torch.distributed` if initialised, 1 otherwise.
        pad: If True, an incomplete last step (one item per process) is filled by repeating its items; otherwise it is
            left out.

    Raises:
        ValueError: If a number of items is not positive, `block` is below `chunk`, or `log_m` is not finite. When
            iterated, if a ratio is NaN or +inf, or `log_ratio` gives another number of values.
        LowAcceptanceError: When iterated, if none of `max_barren` items in a row is accepted.

    >>> sampler = LazyRejectionSampler(lambda items: torch.zeros(len(items)), 0.0, 4)
    >>> sorted(sampler)
    [0, 1, 2, 3]
    """

    def __init__(
        self,
        log_ratio: LogRatio,
        log_m: float,
        items: int,
        *,
        seed: int = 0,
        reach: int | None = None,
        block: int = BLOCK_ITEMS,
        chunk: int = 1,
        balanced: bool = True,
        known: tuple[Any, Any] | None = None,
        max_barren: int = MAX_BARREN,
        rank: int | None = None,
        world_size: int | None = None,
        pad: bool = False,
    ) -> None:
        super().__init__(rank, world_size, pad)
        if min(items, chunk, max_barren, items if reach is None else reach) < 1 or block < chunk:
            raise ValueError(
                "`LazyRejectionSampler` needs items, reach, chunk and max_barren of 1 or more, and a block of at least "
                f"one chunk, got {items}, {reach}, {chunk}, {max_barren}, {block}."
            )
        if not math.isfinite(log_m):
            raise ValueError(f"`LazyRejectionSampler(log_m=...)` needs a finite number, got {log_m}.")
        self._log_ratio, self.log_m, self.items, self.seed = log_ratio, log_m, items, seed
        self.reach, self._block, self._chunk, self._balanced = min(reach or items, items), block, chunk, balanced
        self._max_barren = max_barren
        given = ((), ()) if known is None else (np.asarray(values).tolist() for values in known)
        self._known: dict[int, float] = dict(zip(*given, strict=True))
        self._given = sorted(self._known)

    @property
    def scored(self) -> tuple[Tensor, Tensor]:
        """The items whose ratio has been computed, (n,) int64 ascending, and their log ratios, (n,) float64."""
        items = sorted(self._known)
        values = torch.tensor([self._known[item] for item in items], dtype=torch.float64)
        return torch.tensor(items, dtype=torch.int64), values

    def accepted(self, epoch: int | None = None) -> Tensor:
        """Return all items accepted in an epoch, over all ranks: (n,) int64, ascending.

        This computes the ratio of every item that a pass reaches.

        Args:
            epoch: Epoch to draw; the default is the current one.
        """
        return self._joined(self.epoch if epoch is None else epoch).sort().values

    def sequence(self) -> Tensor:
        """Return the accepted items of the current epoch in order, before ranks divide them: (n,) int64."""
        return self._joined(self.epoch)

    def _joined(self, epoch: int) -> Tensor:
        return torch.from_numpy(np.concatenate([np.empty(0, np.int64), *self._pass(epoch)]))

    def _parts(self) -> Iterator[np.ndarray]:
        return self._pass(self.epoch)

    def _pass(self, epoch: int) -> Iterator[np.ndarray]:
        """Yield the accepted items of each block in the order of the epoch."""
        barren = 0
        for items in walk(
            self.items, seed=self.seed, epoch=epoch, reach=self.reach, block=self._block, chunk=self._chunk
        ):
            acceptance = acceptance_probability(self._ratios(items), self.log_m).numpy()
            kept = items[accept_at(acceptance, items, seed=self.seed, epoch=epoch, balanced=self._balanced)]
            barren = 0 if len(kept) else barren + len(items)
            if barren >= self._max_barren:
                raise LowAcceptanceError(
                    f"none of the last {barren} items was accepted; the mean acceptance probability of the "
                    f"{len(self._known)} items met is {float(self._mean_acceptance()):.2g}. Lower the envelope, or "
                    "retain more of the pool."
                )
            yield kept[random_order(kept, seed=self.seed, epoch=epoch)]

    def _ratios(self, items: np.ndarray) -> Tensor:
        """Return the log ratios (n,) float64, and compute those that are not known."""
        new = np.array([item for item in items.tolist() if item not in self._known], np.int64)
        if len(new):
            self._known.update(zip(new.tolist(), self._computed(new).tolist(), strict=True))
        return torch.tensor([self._known[item] for item in items.tolist()], dtype=torch.float64)

    def _computed(self, items: np.ndarray) -> Tensor:
        values = torch.as_tensor(self._log_ratio(items)).detach().cpu()
        if values.is_complex():
            raise ValueError("`LazyRejectionSampler(log_ratio=...)` needs real numbers, got complex ones.")
        values = values.double()
        if values.shape != (len(items),):
            raise ValueError(
                f"`LazyRejectionSampler(log_ratio=...)` needs ({len(items)},) values for the items from {items[0]} to "
                f"{items[-1]}, got {tuple(values.shape)}."
            )
        wrong = torch.isnan(values) | torch.isposinf(values)
        if wrong.any():
            place = int(wrong.nonzero()[0])
            raise ValueError(
                f"`LazyRejectionSampler(log_ratio=...)` gave {values[place]:g} for item {items[place]}: a ratio must "
                "be finite, or -inf for an item that cannot be used."
            )
        return values

    def _mean_acceptance(self) -> Tensor:
        return acceptance_probability(self.scored[1], self.log_m).mean()

    def _count(self) -> int:
        return sum(map(len, self._parts()))

    def _has_left(self, rows: int) -> bool:
        end = self._start + rows
        for part in self._parts():
            end -= len(part)
            if end <= 0:
                return True
        return False

    def _choose(self, epoch: int) -> None:
        """Do nothing: an epoch is drawn when it is iterated."""

    def _contents(self) -> dict[str, Any]:
        items, values = self.scored
        given = torch.tensor(self._given, dtype=torch.int64)
        return {"seed": self.seed, "order": self._order(), "scored": [items, values], "given": given}

    def _order(self) -> list[Any]:
        return [self.items, self.reach, self._block, self._chunk, self._balanced, self.log_m]

    def _restore(self, state: Mapping[str, Any]) -> None:
        if state["order"] != self._order():
            raise ValueError(
                "`load_state_dict` got the state of another run: items, reach, block, chunk, balanced and log_m are "
                f"{state['order']} there and {self._order()} here. Resume with those of the original run."
            )
        items, values = state["scored"]
        computed = torch.isin(items, state["given"], invert=True).nonzero().flatten()
        probes = computed[torch.linspace(0, max(0, len(computed) - 1), min(PROBES, len(computed))).long()]
        again = self._computed(items[probes].numpy()) if len(probes) else values[probes]
        changed = ~torch.isclose(again, values[probes], rtol=TOLERANCE, atol=TOLERANCE)
        if changed.any():
            probe = int(probes[changed][0])
            raise ValueError(
                f"`load_state_dict`: the log ratio of item {items[probe]} was {values[probe]:g} and is now "
                f"{again[changed][0]:g}. The pool or the function has changed: start a new run."
            )
        self.seed = state["seed"]
        self._known = dict(zip(items.tolist(), values.tolist(), strict=True))
        self._given = state["given"].tolist()
