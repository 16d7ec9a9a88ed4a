"""Acceptance computed during training, from each batch and the current model, as in the textbook loop."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rsft.errors import LowAcceptanceError
from rsft.per_item import as_numbers, check_parts
from rsft.sampling.acceptance import Stream, uniforms
from rsft.tuning.freezing import evaluating

VALUES = "the values in [0, 1] of compute_acceptance_probability"
ComputeAcceptance = Callable[[Any, nn.Module], Tensor]


class OnlineRejection:
    """Accept or reject each sample of a stream of batches, and regroup the accepted samples into full batches.

    Sample i of the stream is accepted if `u(seed, epoch, i) < p_i`, where u is uniform on [0, 1). The probabilities p_i
    are computed in evaluation mode, without gradients, and torch's random state is restored afterwards, so computing
    them has no side effect on training.

    With `reuse_epochs` the batches are (inputs, labels, ids), and the probability of an id is reused for `reuse_epochs`
    epochs after the one in which it was computed. It then comes from an earlier model: more reuse saves forward passes,
    but the target is staler.

    Args:
        compute_acceptance_probability: Function (inputs, model) -> (B,) probabilities in [0, 1]. Each may depend only
            on its own row of the inputs.
        batch_size: Size of the batches that are yielded; the last batch of an epoch may be smaller.
        seed: Seed for the decisions.
        max_seconds: Longest wait for one full batch, in seconds.
        reuse_epochs: Number of epochs for which a probability is reused, at least 0.

    Attributes:
        seen: Number of samples seen so far.
        accepted: Number of samples accepted so far.

    Raises:
        ValueError: If `reuse_epochs` is negative.

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
        """Set the epoch; every epoch has its own random numbers."""
        self._epoch = epoch

    def __call__(self, batches: Iterable[tuple[Tensor, ...]], model: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of accepted (inputs, labels) from one epoch of `batches`.

        Args:
            batches: (inputs, labels) pairs, or (inputs, labels, ids) with `reuse_epochs`, where ids is (B,) int64.
            model: Passed to `compute_acceptance_probability`.

        Raises:
            ValueError: If a probability is outside [0, 1], there is not one probability per sample, or `reuse_epochs`
                is set and the batches have no ids.
            LowAcceptanceError: If a batch is not full after `max_seconds`.
        """
        waiting: list[tuple[Tensor, Tensor]] = []
        position, started = 0, time.monotonic()
        for batch in batches:
            check_parts(batch, "OnlineRejection(batches)", "batches (inputs, labels) or (inputs, labels, ids)", (2, 3))
            inputs, labels, *ids = batch
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
        """Return (B,) probabilities; compute those that are missing or too old."""
        if len(ids) != 1 or ids[0].shape != (len(inputs),):
            raise ValueError(
                f"`OnlineRejection(reuse_epochs={self.reuse_epochs})` needs batches (inputs, labels, ids) with an id "
                f"for each of {len(inputs)} samples, got {[tuple(part.shape) for part in ids]} after the labels."
            )
        names: list[int] = ids[0].tolist()
        oldest = self._epoch - self.reuse_epochs
        # a probability computed in a later epoch is not reused if an earlier epoch is run again
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
            probability = as_numbers(self._compute(inputs, model), VALUES).astype(np.float64)
        if len(probability) != len(inputs) or not ((probability >= 0) & (probability <= 1)).all():
            ends = f" between {probability.min():g} and {probability.max():g}" if len(probability) else ""
            raise ValueError(
                f"`compute_acceptance_probability` needs to return ({len(inputs)},) values in [0, 1], got "
                f"{probability.shape}{ends}."
            )
        return probability


def _split(parts: list[tuple[Tensor, Tensor]], size: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    inputs, labels = (torch.cat(list(part)) for part in zip(*parts, strict=True))
    return (inputs[:size], labels[:size]), (inputs[size:], labels[size:])
