"""In which epochs items are accepted, and with which seed a table was decided."""

import numpy as np
import pyarrow as pa

from rsft.errors import InputError
from rsft.sampling.acceptance import Stream, accept_epochs, uniforms_at
from rsft.sampling.stream import number_of_name
from rsft.scale.columns import ACCEPTANCE, ACCEPTED, ID, is_name

PROOF_BITS = 30.0  # decisions that another seed would give by chance once in 2^30 tell the seed
AT_ONCE = 1 << 22  # number of decisions in memory at a time


def accepted_in(ids: pa.Array, acceptance: np.ndarray, epochs: int, *, seed: int) -> np.ndarray:
    """Return in which of the first epochs items are accepted.

    Args:
        ids: (n,) int64 numbers, decided as `RejectionSampler` does; or names, as `RejectionStream(key=...)` does.
        acceptance: (n,) float64 acceptance probabilities in [0, 1].
        epochs: Number E of epochs.
        seed: Seed for the accept decisions.

    Returns:
        (n, E) bool.
    """
    if not is_name(ids.type):
        return accept_epochs(acceptance, ids.to_numpy(), epochs, seed=seed)
    numbers = np.array([number_of_name(name) for name in ids.to_pylist()], np.uint64)
    return np.stack([uniforms_at(seed, epoch, numbers, Stream.ITEM) < acceptance for epoch in range(epochs)], 1)


def written(batch: pa.RecordBatch, epochs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the decisions that stand in rows, for the first epochs: (k,) row and (k,) epoch of each acceptance."""
    lists = batch[ACCEPTED]
    row = np.repeat(np.arange(len(batch)), lists.value_lengths().to_numpy())
    epoch = lists.flatten().to_numpy()
    told = (epoch >= 0) & (epoch < epochs)
    return row[told], epoch[told]


class SeedCheck:
    """Whether the decisions of a table are those of a seed.

    Args:
        seed: The seed.
        epochs: Number of epochs whose decisions are compared.

    Attributes:
        seed: The seed.
        agrees: Whether all decisions so far are those of the seed.
        bits: Another seed would give the decisions of epoch 0 with a chance of 2^-bits.
    """

    COLUMNS = (ID, ACCEPTANCE, ACCEPTED)

    def __init__(self, seed: int, epochs: int) -> None:
        self.seed, self.agrees, self.bits = seed, True, 0.0
        self._epochs, self._rows = epochs, max(1, AT_ONCE // epochs)

    def see(self, batch: pa.RecordBatch) -> None:
        """Compare the decisions of rows with those of the seed."""
        for start in range(0, len(batch), self._rows) if self.agrees else ():
            part = batch.slice(start, self._rows)
            acceptance = part[ACCEPTANCE].to_numpy()
            decided = accepted_in(part[ID], acceptance, self._epochs, seed=self.seed)
            told = np.zeros_like(decided)
            told[written(part, self._epochs)] = True
            self.agrees &= bool((decided == told).all())
            self.bits -= float(np.log2(acceptance**2 + (1 - acceptance) ** 2).sum())

    @property
    def proven(self) -> bool:
        """Whether the decisions agree, and are too many to do so by chance."""
        return self.agrees and self.bits >= PROOF_BITS


def check_probabilities(where: object, acceptance: np.ndarray) -> None:
    """Raise an InputError if a value of a file is no probability."""
    wrong = acceptance[~((acceptance >= 0) & (acceptance <= 1))]
    if len(wrong):
        raise InputError(f"'{where}' has {wrong[0]} in '{ACCEPTANCE}', which needs 0 to 1: score the pool again.")
