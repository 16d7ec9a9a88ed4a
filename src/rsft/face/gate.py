"""The gate: how far to go from the pretrained to the tuned weights, by gain and loss on held-out identities."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rsft.face.verification import Comparisons, tar_in_order
from rsft.types import CONFIDENCE, Interval

# of pairs like the target there may be few, so wide; the others are held to the FMRs that are reported
TARGET_FMRS = tuple(np.logspace(-3, 0, 30, endpoint=False))
OTHERS_FMRS = tuple(np.logspace(-3, -2, 10))
MIN_GENUINE = 10.0
# So many impostor comparisons of a fold are drawn for the intervals: at the smallest FMR, 30 false matches.
MAX_IMPOSTORS = 30_000
DRAWS = 200


@dataclass(frozen=True)
class PathPoint:
    """Validation scores at one point of the line from the pretrained to the tuned weights, in [0, 1].

    Attributes:
        share: of the tuned weights.
        target: over pairs weighted by how much one picture or both look like the target.
        others: over pairs weighted by how much neither does.
        genuine: how many equally weighted genuine pairs the first is worth, (sum w)^2 / sum w^2.
    """

    share: float
    target: float
    others: float
    genuine: float


@dataclass(frozen=True)
class Gate:
    """What was decided, and on what.

    Attributes:
        share: of the tuned weights that is kept; 0 where the pretrained are.
        candidate: the share that `gain` and `loss` are of: `share`, or the best of the others where that is 0.
        gain: of `PathPoint.target` over the pretrained weights, with its interval over held-out identities.
        loss: of `PathPoint.others` from the pretrained weights, likewise; below 0 where it rose.
        reason: of the decision, as part of a sentence.
        path: what the choice was made from.
        retention: what shares lost on a retention set, where one was given: (share, loss) in the order they were tried.
    """

    share: float
    candidate: float
    gain: Interval
    loss: Interval
    reason: str
    path: Sequence[PathPoint]
    retention: Sequence[tuple[float, float]] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "share": self.share,
            "candidate": self.candidate,
            "gain": self.gain.to_dict(),
            "loss": self.loss.to_dict(),
            "reason": self.reason,
            "retention": [list(tried) for tried in self.retention],
        }


@dataclass(frozen=True)
class HeldOut:
    """One fold of identities, scored along the line by a network tuned without them.

    Attributes:
        path: scores of each share.
        comparisons: some of those scored, all genuine ones among them.
        likeness: (P,) `pair_likeness` of these.
        scores: for each share, (P,).
    """

    path: Sequence[PathPoint]
    comparisons: Comparisons
    likeness: np.ndarray
    scores: Mapping[float, np.ndarray]


def hold_out(
    comparisons: Comparisons,
    likeness: np.ndarray,
    score: Callable[[float], np.ndarray],
    shares: Sequence[float],
    *,
    seed: int,
) -> HeldOut:
    """Score each share on all comparisons, and keep some for the intervals.

    Args:
        comparisons: of the held-out pictures.
        likeness: (P,) `pair_likeness`.
        score: share -> (P,) scores of all comparisons.
        shares: from 0 to 1.
        seed: of which impostor comparisons are kept.
    """
    genuine = comparisons.genuine
    worth = float(likeness[genuine].sum() ** 2 / max((likeness[genuine] ** 2).sum(), np.finfo(float).tiny))
    impostors = np.flatnonzero(~genuine)
    if len(impostors) > MAX_IMPOSTORS:
        impostors = np.random.default_rng(seed).choice(impostors, MAX_IMPOSTORS, replace=False)
    kept = np.concatenate([np.flatnonzero(genuine), impostors])
    path, scores = [], {}
    for share in shares:
        every = score(share)
        path.append(PathPoint(share, *pair_scores(comparisons, likeness, every), worth))
        scores[share] = every[kept]
    some = Comparisons(comparisons.a[kept], comparisons.b[kept], comparisons.identity)
    return HeldOut(path, some, likeness[kept], scores)


def pair_likeness(comparisons: Comparisons, likeness: np.ndarray) -> np.ndarray:
    """(P,) in [0, 1], how much one picture of a pair or both look like the target.

    There are many more of these than of pairs in which both do, where few pictures of a pool look like the target.

    Args:
        comparisons: between N pictures.
        likeness: (N,) in [0, 1], how much each looks like the target.
    """
    return 1 - (1 - likeness[comparisons.a]) * (1 - likeness[comparisons.b])


def pair_scores(comparisons: Comparisons, likeness: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """`PathPoint.target` and `PathPoint.others` of all comparisons; NaN where they cannot be told.

    Args:
        comparisons: P of them.
        likeness: (P,) `pair_likeness`.
        scores: (P,).
    """
    order = np.argsort(-scores, kind="stable")
    genuine, likeness = comparisons.genuine[order], likeness[order]
    return tar_in_order(genuine, likeness, TARGET_FMRS), tar_in_order(genuine, 1 - likeness, OTHERS_FMRS)


def decide(folds: Sequence[HeldOut], max_loss: float, *, seed: int) -> Gate:
    """Choose the share by all folds together, and say what it gains and loses; 0 unless the gain is clear of zero.

    Args:
        folds: at least one.
        max_loss: how much the score over the other pairs may fall.
        seed: of the bootstrap.
    """
    path = [mean_point(points) for points in zip(*(fold.path for fold in folds), strict=True)]
    share = choose_share(path, max_loss)
    start, *others = sorted(path, key=lambda point: (point.share != 0, -point.target))
    chosen = next((point for point in others if point.share == (share or point.share)), start)
    gain, loss = _intervals(folds, chosen, start, seed)
    if share and (gain.low or 0) > 0:
        reason = "it gains most of those that meet the bound"
    elif share:
        share, reason = 0.0, "on held-out identities the gain is not clear of zero"
    elif start.genuine < MIN_GENUINE:
        reason = (
            f"with {start.genuine:.0f} genuine pairs of held-out identities that look like the target nothing can be "
            "told; add pool pictures of the same people"
        )
    elif chosen.target > start.target:
        reason = f"on held-out identities every gain costs more than {max_loss:g} on pairs that look unlike the target"
    else:
        reason = "on held-out identities no tuned weights did better on pairs that look like the target"
    return Gate(share, chosen.share, gain, loss, reason, path)


def within_bound(gate: Gate, loss_at: Callable[[float], float | None], max_loss: float) -> Gate:
    """Step back along the path until a retention set loses at most so much; to the pretrained weights if need be.

    Args:
        gate: what held-out identities of the pool decided.
        loss_at: share -> what the retention set loses by it, or None where it is too small to tell: no change then.
        max_loss: the bound.
    """
    if gate.share == 0:
        return gate
    tried: list[tuple[float, float]] = []
    for share in sorted((point.share for point in gate.path if 0 < point.share <= gate.share), reverse=True):
        loss = loss_at(share)
        if loss is None:
            return gate
        tried.append((share, loss))
        if loss <= max_loss:
            return replace(gate, share=share, retention=tried)
    return replace(
        gate, share=0.0, retention=tried, reason=f"all that gained lost more than {max_loss:g} on the retention set"
    )


def choose_share(path: Sequence[PathPoint], max_retention_loss: float) -> float:
    """The share with the best target score among those that lose at most so much on the others; 0 if none is better.

    With fewer than `MIN_GENUINE` pairs nothing can be told, and it is 0.

    >>> path = [PathPoint(0.0, 0.5, 0.9, 99.0), PathPoint(0.5, 0.6, 0.895, 99.0), PathPoint(1.0, 0.7, 0.8, 99.0)]
    >>> choose_share(path, max_retention_loss=0.01)
    0.5
    """
    start = next(point for point in path if point.share == 0)
    if start.genuine < MIN_GENUINE:
        return 0.0
    least = start.others - max_retention_loss
    allowed = [point for point in path if point.others >= least and point.target > start.target]
    return max(allowed, key=lambda point: point.target, default=start).share


def mean_point(points: Sequence[PathPoint]) -> PathPoint:
    """The mean over the folds that have pairs of both kinds, 0 if none has; and the number of pairs of all folds."""
    scores = np.ma.masked_invalid([(point.target, point.others) for point in points]).mean(0)
    target, others = np.ma.filled(scores, 0.0).tolist()
    return PathPoint(points[0].share, target, others, sum(point.genuine for point in points))


def _intervals(folds: Sequence[HeldOut], chosen: PathPoint, start: PathPoint, seed: int) -> tuple[Interval, Interval]:
    """Gain and loss of a point: the values of the path, and the spread of paired draws of identities around them."""
    draws = np.ma.masked_invalid([_draws(fold, chosen.share, seed + number) for number, fold in enumerate(folds)])
    spread = draws.mean(0)  # (2, 1 + B)
    values = chosen.target - start.target, start.others - chosen.others
    intervals = []
    for value, drawn in zip(values, spread, strict=True):
        around = (drawn[1:] - drawn[0]).compressed()
        if not len(around):
            intervals.append(Interval(None, None, None, "insufficient data"))
            continue
        low, high = np.quantile(around, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        intervals.append(Interval(float(value), float(value + low), float(value + high)))
    return intervals[0], intervals[1]


def _draws(fold: HeldOut, share: float, seed: int) -> np.ndarray:
    """(2, 1 + B): gain of pairs like the target and loss of others; first of the data, then of drawn identities.

    An identity drawn k times counts k times in its genuine comparisons, a pair of them k * l times as impostors.
    """
    comparisons, genuine = fold.comparisons, fold.comparisons.genuine
    identity = np.unique(comparisons.identity, return_inverse=True)[1]
    people = int(identity.max()) + 1
    counts = np.random.default_rng(seed).multinomial(people, np.full(people, 1 / people), size=DRAWS)
    counts = np.concatenate([np.ones((1, people), int), counts])
    a, b = identity[comparisons.a], identity[comparisons.b]
    tars = np.empty((2, 2, len(counts)))  # weighting, whether tuned, draw
    for tuned, at in enumerate((0.0, share)):
        order = np.argsort(-fold.scores[at], kind="stable")
        same, first, second = genuine[order], a[order], b[order]
        likeness = fold.likeness[order]
        for draw, count in enumerate(counts):
            times = np.where(same, count[first], count[first] * count[second])
            tars[0, tuned, draw] = tar_in_order(same, times * likeness, TARGET_FMRS)
            tars[1, tuned, draw] = tar_in_order(same, times * (1 - likeness), OTHERS_FMRS)
    return np.stack([tars[0, 1] - tars[0, 0], tars[1, 0] - tars[1, 1]])
