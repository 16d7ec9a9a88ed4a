"""Acceptance computed while training, from each batch and the model as it is, as in the textbook loop."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rsft.acceptance import Stream, uniforms
from rsft.errors import LowAcceptanceError
from rsft.tuning.freezing import evaluating

ComputeAcceptance = Callable[[Any, nn.Module], Tensor]


class OnlineRejection:
    """Accepts or rejects each sample of a stream of batches, and refills the accepted into full batches.

    The decision for the i-th sample of the stream is `u(seed, epoch, i) < p_i`. The probabilities are computed in
    evaluation mode, without gradients and without moving torch's random state, so looking at a sample changes nothing.

    With `reuse_epochs` the batches are (inputs, labels, ids), and the probability of an id serves for so many epochs
    after the one it was computed in. It then is that of an earlier model: the fewer forwards, the staler the target.

    Args:
        compute_acceptance_probability: (inputs, model) -> (B,) in [0, 1], each from its own row of the inputs alone.
        batch_size: of what is given out; the last batch of an epoch may be smaller.
        seed: of the decisions.
        max_seconds: longest wait for one full batch.
        reuse_epochs: for how many epochs a probability is used again, at least 0.

    Raises:
        ValueError: `reuse_epochs` is negative.

    >>> online = OnlineRejection(lambda inputs, model: inputs[:, 0], batch_size=2)
    >>> batches = [(torch.tensor([[1.0], [0.0], [1.0]]), torch.tensor([7, 8, 9]))]
    >>> [labels.tolist() for _, labels in online(batches, nn.Identity())]
    [[7, 9]]
    """

    def __init__(
        self,
        compute_acceptance_probability: ComputeAcceptance,
        *,
        batch_size: int,
        seed: int = 0,
        max_seconds: float = 60.0,
        reuse_epochs: int = 0,
    ) -> None:
        if reuse_epochs < 0:
            raise ValueError(f"`OnlineRejection(reuse_epochs=...)` needs at least 0, got {reuse_epochs}.")
        self._compute = compute_acceptance_probability
        self.batch_size = batch_size
        self.seed = seed
        self.max_seconds = max_seconds
        self.reuse_epochs = reuse_epochs
        self._known: dict[int, tuple[int, float]] = {}  # id -> epoch, probability
        self._epoch = 0
        self.seen = 0
        self.accepted = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, which decides the draws."""
        self._epoch = epoch

    def __call__(self, batches: Iterable[tuple[Tensor, ...]], model: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of accepted (inputs, labels) from one pass over `batches`; see the class for ids.

        Raises:
            ValueError: a probability is outside [0, 1], or there is not one for each sample.
            LowAcceptanceError: a batch was not full after `max_seconds`.
        """
        waiting: list[tuple[Tensor, Tensor]] = []
        position, started = 0, time.monotonic()
        for inputs, labels, *ids in batches:
            probability = self._reused(inputs, ids, model) if self.reuse_epochs else self._probability(inputs, model)
            kept = uniforms(self.seed, self._epoch, position, position + len(probability), Stream.ONLINE) < probability
            position += len(probability)
            self.seen += len(kept)
            self.accepted += int(kept.sum())
            keep = torch.from_numpy(kept)
            waiting.append((inputs[keep.to(inputs.device)], labels[keep.to(labels.device)]))
            while sum(len(part) for _, part in waiting) >= self.batch_size:
                batch, rest = _split(waiting, self.batch_size)
                waiting = [rest]
                yield batch
                started = time.monotonic()
            if time.monotonic() - started > self.max_seconds:
                raise LowAcceptanceError(
                    f"no full batch of {self.batch_size} in {self.max_seconds:g} s: {self.accepted} of {self.seen} "
                    "samples were accepted so far. Lower the envelope, or raise `max_seconds`."
                )
        if any(len(part) for _, part in waiting):
            yield _split(waiting, self.batch_size)[0]

    def _reused(self, inputs: Tensor, ids: list[Tensor], model: nn.Module) -> np.ndarray:
        """(B,) probabilities, computed for those without one that is recent enough."""
        if len(ids) != 1 or ids[0].shape != (len(inputs),):
            raise ValueError(
                f"`OnlineRejection(reuse_epochs={self.reuse_epochs})` needs batches (inputs, labels, ids) with an id "
                f"for each of {len(inputs)} samples, got {[tuple(part.shape) for part in ids]} after the labels."
            )
        names: list[int] = ids[0].tolist()
        oldest = self._epoch - self.reuse_epochs
        # what a later epoch computed does not serve an earlier one that is run again
        stale = [
            row
            for row, name in enumerate(names)
            if name not in self._known or not oldest <= self._known[name][0] <= self._epoch
        ]
        if stale:
            for row, value in zip(stale, self._probability(inputs[stale], model).tolist(), strict=True):
                self._known[names[row]] = self._epoch, value
        return np.array([self._known[name][1] for name in names])

    def _probability(self, inputs: Tensor, model: nn.Module) -> np.ndarray:
        with evaluating(model), torch.random.fork_rng():
            probability = self._compute(inputs, model).detach().to("cpu", torch.float64)
        if probability.shape != (len(inputs),) or not bool(((probability >= 0) & (probability <= 1)).all()):
            raise ValueError(
                f"`compute_acceptance_probability` needs to return ({len(inputs)},) values in [0, 1], got "
                f"{tuple(probability.shape)} between {probability.min():g} and {probability.max():g}."
            )
        return probability.numpy()


def _split(parts: list[tuple[Tensor, Tensor]], size: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    inputs, labels = (torch.cat(list(part)) for part in zip(*parts, strict=True))
    return (inputs[:size], labels[:size]), (inputs[size:], labels[size:])
