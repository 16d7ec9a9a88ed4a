"""What a table of scored items says of itself."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from rsft.errors import InputError
from rsft.scale.columns import ACCEPTANCE, LOG_RATIO, OUTCOME
from rsft.scale.decisions import SeedCheck, check_probabilities, written
from rsft.scale.table import AGAIN, Listener, ScoredTable, silent

TOLERANCE = 1e-9  # of an acceptance probability


@dataclass(frozen=True)
class Summary:
    """Figures of a table, each of them read in its rows.

    Attributes:
        items: Number of items.
        named: Whether items have names. Otherwise they have numbers, 0 to `items` - 1.
        partitions: Number of files that have rows.
        empty_partitions: Number of files that have none.
        plan: Fingerprint of the plan.
        epochs: Number of epochs whose accept decisions are in all rows.
        seed: The seed that was asked about, if all decisions are its own and too many to be so by chance; else None.
        seed_agrees: Whether all decisions are those of the seed that was asked about.
        log_m: Log of the envelope M, from a row that has a probability between 0 and 1; None if there is no such row.
        expected: Number of items that an epoch accepts on average: the sum of the probabilities.
        accepted: Number of items that are accepted in each epoch.
        ever_accepted: Number of items that are accepted in at least one of these epochs.
        certain: Number of items whose probability is 1.
        clipped_mass: As of `Envelope`, on the items of the table; None if M is not known or all ratios are 0.
        without_ratio: Number of items whose ratio is not a positive finite number, so that they cannot be accepted.
        outcomes: Number of items of each `RowOutcome`.
    """

    items: int
    named: bool
    partitions: int
    empty_partitions: int
    plan: str
    epochs: int
    seed: int | None
    seed_agrees: bool
    log_m: float | None
    expected: float
    accepted: list[int]
    ever_accepted: int
    certain: int
    clipped_mass: float | None
    without_ratio: int
    outcomes: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values, for JSON."""
        return asdict(self)


def summarise(table: ScoredTable, *, seed: int = 0, listener: Listener = silent) -> Summary:
    """Return what a table says of itself. All of its rows are read, part by part.

    Args:
        table: The table.
        seed: Seed to compare the decisions with.
        listener: Function that is told (stage, done, total), in rows.

    Raises:
        InputError: If a probability is outside [0, 1] or is not that of its ratio.
    """
    found = _Found(np.zeros(table.epochs, np.int64))
    check, log_m = SeedCheck(seed, table.epochs), _log_m(table)
    for path, batch in table.told("rows", [*SeedCheck.COLUMNS, LOG_RATIO, OUTCOME], listener):
        log_ratio, acceptance = batch[LOG_RATIO].to_numpy(), batch[ACCEPTANCE].to_numpy()
        check_probabilities(path, acceptance)
        _check_ratios(path, log_ratio, acceptance, log_m)
        check.see(batch)
        found.see(log_ratio, acceptance, *written(batch, table.epochs))
        found.outcomes.update({one["values"]: one["counts"] for one in batch[OUTCOME].value_counts().to_pylist()})
    return Summary(
        items=table.items,
        named=table.named,
        partitions=len(table.files),
        empty_partitions=table.empty,
        plan=table.plan,
        epochs=table.epochs,
        seed=seed if check.proven else None,
        seed_agrees=check.agrees,
        log_m=log_m,
        expected=found.expected,
        accepted=found.accepted.tolist(),
        ever_accepted=found.ever,
        certain=found.certain,
        clipped_mass=_clipped_mass(table, log_m, found, listener),
        without_ratio=found.without,
        outcomes=dict(found.outcomes),
    )


@dataclass
class _Found:
    """Sums over the rows that were read."""

    accepted: np.ndarray
    ever: int = 0
    certain: int = 0
    without: int = 0
    expected: float = 0.0
    log_total: float = -np.inf  # log of the sum of the ratios
    outcomes: Counter[str] = field(default_factory=Counter)

    def see(self, log_ratio: np.ndarray, acceptance: np.ndarray, row: np.ndarray, epoch: np.ndarray) -> None:
        """Add rows, with the row and the epoch of each acceptance."""
        self.accepted += np.bincount(epoch, minlength=len(self.accepted))
        self.ever += len(np.unique(row))
        self.certain += int((acceptance == 1).sum())
        self.without += int((~np.isfinite(log_ratio)).sum())
        self.expected += float(acceptance.sum())
        self.log_total = float(np.logaddexp(self.log_total, np.logaddexp.reduce(log_ratio)))


def _log_m(table: ScoredTable) -> float | None:
    """Return log M, from the first rows that tell it: those with a probability between 0 and 1."""
    for path, batch in table.batches([LOG_RATIO, ACCEPTANCE]):
        log_ratio, acceptance = batch[LOG_RATIO].to_numpy(), batch[ACCEPTANCE].to_numpy()
        check_probabilities(path, acceptance)
        inside = np.where(acceptance < 1, acceptance, 0.0)
        row = int(inside.argmax())
        if inside[row]:
            return float(log_ratio[row] - np.log(inside[row]))
    return None


def _check_ratios(path: object, log_ratio: np.ndarray, acceptance: np.ndarray, log_m: float | None) -> None:
    """Raise an InputError if a probability is not min(1, ratio / M)."""
    if log_m is None:
        return
    wrong = np.flatnonzero(~(np.abs(np.exp(np.minimum(log_ratio - log_m, 0)) - acceptance) <= TOLERANCE))
    if len(wrong):
        row = int(wrong[0])
        raise InputError(
            f"'{path}' has probability {acceptance[row]} for log ratio {log_ratio[row]}, and other rows tell log M = "
            f"{log_m:.6g}, which gives another: {AGAIN}."
        )


def _clipped_mass(table: ScoredTable, log_m: float | None, found: _Found, listener: Listener) -> float | None:
    """Return the total variation distance between r / sum r and min(r, M) / sum min(r, M), as of `Envelope`.

    An item loses mass only if r / sum r > M / sum min(r, M).
    """
    if log_m is None or not found.expected:
        return None
    lost = 0.0
    loses = found.log_total - np.log(found.expected)  # the log ratio above which an item loses mass
    for _, batch in table.told("clipped mass", [LOG_RATIO], listener) if found.certain else ():
        above = batch[LOG_RATIO].to_numpy()
        above = above[above > loses]
        lost += float((np.exp(above - found.log_total) - 1 / found.expected).sum())
    return max(0.0, lost)
