"""The gate: how far to go from the pretrained to the tuned weights, by gain and loss on held-out identities."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rsft.face.evaluation.bootstrap import draw_identities, interval_around, pair_counts
from rsft.face.evaluation.pairs import PairList
from rsft.face.evaluation.verification import tar_in_order
from rsft.types import Interval

# of pairs like the target there may be few, so wide; the others are held to the FMRs that are reported
TARGET_FMRS = tuple(np.logspace(-3, 0, 30, endpoint=False))
OTHERS_FMRS = tuple(np.logspace(-3, -2, 10))
MIN_PEOPLE = 5.0
# So many impostor comparisons of a fold are drawn for the intervals: at the smallest FMR, 30 false matches.
MAX_IMPOSTORS = 30_000
DRAWS = 200


@dataclass(frozen=True)
class PathPoint:
    """Validation scores at one point of the line from the pretrained to the tuned weights, in [0, 1].

    Attributes:
        share: of the tuned weights.
        target: over pairs weighted by how much one picture or both look like the target.
        others: over pairs weighted by how much neither does; over all pairs where too few people have such.
        people: how many equally weighted people the first is worth, (sum w)^2 / sum w^2, but at most sum w.
    """

    share: float
    target: float
    others: float
    people: float


@dataclass(frozen=True)
class Gate:
    """What was decided, and on what.

    Attributes:
        share: of the tuned weights that is kept; 0 where the pretrained are.
        candidate: `share`, or the best of the others where that is 0.
        effects: of each share, the gain in `PathPoint.target` over the pretrained weights and the loss of
            `PathPoint.others`, below 0 where it rose, with intervals over held-out identities.
        allowed: the shares that gain clearly and meet the bound.
        reason: of the decision, as part of a sentence.
        path: what the choice was made from.
        retention: what shares lost on a retention set, where one was given: (share, loss) in the order they were tried.
    """

    share: float
    candidate: float
    effects: Mapping[float, tuple[Interval, Interval]]
    allowed: Sequence[float]
    reason: str
    path: Sequence[PathPoint]
    retention: Sequence[tuple[float, float]] = ()

    @property
    def gain(self) -> Interval:
        """Of the candidate."""
        return self.effects[self.candidate][0]

    @property
    def loss(self) -> Interval:
        """Of the candidate."""
        return self.effects[self.candidate][1]

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
        pairs: some of those scored, all genuine ones among them.
        weights: (2, P) `pair_weights` of these.
        scores: for each share, (P,).
    """

    path: Sequence[PathPoint]
    pairs: PairList
    weights: np.ndarray
    scores: Mapping[float, np.ndarray]


def hold_out(
    pairs: PairList,
    weights: np.ndarray,
    score: Callable[[float], np.ndarray],
    shares: Sequence[float],
    *,
    seed: int,
) -> HeldOut:
    """Score each share on all comparisons, and keep some for the intervals.

    Args:
        pairs: of the held-out pictures.
        weights: (2, P) `pair_weights`.
        score: share -> (P,) scores of all comparisons.
        shares: from 0 to 1.
        seed: of which impostor comparisons are kept.
    """
    genuine, people = pairs.genuine, worth_in_people(pairs, weights[0])
    impostors = np.flatnonzero(~genuine)
    if len(impostors) > MAX_IMPOSTORS:
        impostors = np.random.default_rng(seed).choice(impostors, MAX_IMPOSTORS, replace=False)
    kept = np.concatenate([np.flatnonzero(genuine), impostors])
    path, scores = [], {}
    for share in shares:
        every = score(share)
        path.append(PathPoint(share, *pair_scores(pairs, weights, every), people))
        scores[share] = every[kept]
    some = PairList(pairs.a[kept], pairs.b[kept], pairs.identity)
    return HeldOut(path, some, weights[:, kept], scores)


def pair_weights(pairs: PairList, likeness: np.ndarray) -> np.ndarray:
    """(2, P) in [0, 1]: of each pair in `PathPoint.target` and in `PathPoint.others`.

    Pairs with one picture like the target count for it. Where few pictures of a pool look like the target there are
    many more of these than of pairs in which both do.

    Args:
        pairs: between N pictures.
        likeness: (N,) in [0, 1], how much each looks like the target.
    """
    neither = (1 - likeness[pairs.a]) * (1 - likeness[pairs.b])
    told = worth_in_people(pairs, neither) >= MIN_PEOPLE
    return np.stack([1 - neither, neither if told else np.ones_like(neither)])


def worth_in_people(pairs: PairList, weights: np.ndarray) -> float:
    """How many equally weighted people the genuine comparisons are worth, with (P,) weights of all.

    >>> pairs = PairList(np.array([0, 2]), np.array([1, 3]), np.array([7, 7, 8, 8]))
    >>> worth_in_people(pairs, np.array([1.0, 1.0])), worth_in_people(pairs, np.array([1.0, 0.0]))
    (2.0, 1.0)
    """
    genuine, identity = pairs.genuine, np.unique(pairs.identity, return_inverse=True)[1]
    of_each = np.bincount(identity[pairs.a[genuine]], weights[genuine])
    total, squares = float(of_each.sum()), float((of_each**2).sum())
    return min(total, total**2 / squares) if squares else 0.0


def pair_scores(pairs: PairList, weights: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """`PathPoint.target` and `PathPoint.others` of all comparisons; NaN where they cannot be told.

    Args:
        pairs: P of them.
        weights: (2, P) `pair_weights`.
        scores: (P,).
    """
    order = np.argsort(-scores, kind="stable")
    genuine, (alike, others) = pairs.genuine[order], weights[:, order]
    return tar_in_order(genuine, alike, TARGET_FMRS), tar_in_order(genuine, others, OTHERS_FMRS)


def decide(folds: Sequence[HeldOut], max_loss: float, *, seed: int) -> Gate:
    """Choose the share that gains most by all folds together, of those that gain clearly and meet the bound.

    Where there is none the pretrained weights are kept.

    Args:
        folds: at least one.
        max_loss: how much the score over the other pairs may fall.
        seed: of the bootstrap.
    """
    path = [mean_point(points) for points in zip(*(fold.path for fold in folds), strict=True)]
    start = next(point for point in path if point.share == 0)
    effects = _effects(folds, path, start, seed)
    better = [point for point in path if point.target > start.target]
    bounded = [point for point in better if point.others >= start.others - max_loss]
    allowed = [point for point in bounded if (effects[point.share][0].low or 0) > 0]
    if start.people < MIN_PEOPLE:
        allowed = []
        reason = (
            f"held-out pictures that look like the target are worth those of {start.people:.0f} people: nothing can be "
            "told; add such pictures of more people to the pool"
        )
    elif allowed:
        reason = "it gains most of those that meet the bound"
    elif bounded:
        reason = "on held-out identities the gain is not clear of zero"
    elif better:
        reason = f"on held-out identities every gain costs more than {max_loss:g} on pairs that look unlike the target"
    else:
        reason = "on held-out identities no tuned weights did better on pairs that look like the target"
    tuned = [point for point in path if point.share]
    best = max(allowed or bounded or better or tuned or path, key=lambda point: point.target)
    return Gate(best.share if allowed else 0.0, best.share, effects, [p.share for p in allowed], reason, path)


def within_bound(gate: Gate, loss_at: Callable[[float], float | None], max_loss: float) -> Gate:
    """Step back through the allowed shares until a retention set loses at most so much; to the pretrained weights else.

    Args:
        gate: what held-out identities of the pool decided.
        loss_at: share -> what the retention set loses by it, or None where it is too small to tell: no change then.
        max_loss: the bound.
    """
    tried: list[tuple[float, float]] = []
    for share in sorted((share for share in gate.allowed if share <= gate.share), reverse=True):
        loss = loss_at(share)
        if loss is None:
            return gate
        tried.append((share, loss))
        if loss <= max_loss:
            return replace(gate, share=share, candidate=share, retention=tried)
    if not tried:
        return gate
    return replace(
        gate, share=0.0, retention=tried, reason=f"all that gained lost more than {max_loss:g} on the retention set"
    )


def mean_point(points: Sequence[PathPoint]) -> PathPoint:
    """The mean over the folds that have pairs of both kinds, 0 if none has; and the number of people of all folds."""
    scores = np.ma.masked_invalid([(point.target, point.others) for point in points]).mean(0)
    target, others = np.ma.filled(scores, 0.0).tolist()
    return PathPoint(points[0].share, target, others, sum(point.people for point in points))


def _effects(
    folds: Sequence[HeldOut], path: Sequence[PathPoint], start: PathPoint, seed: int
) -> dict[float, tuple[Interval, Interval]]:
    """Gain and loss of each point: the values of the path, and the spread of paired draws of identities around them."""
    shares = [point.share for point in path]
    tars = np.ma.masked_invalid([_draws(fold, shares, seed + number) for number, fold in enumerate(folds)])
    changes = (tars - tars[:, :, [shares.index(0.0)]]).mean(0)  # (2, shares, 1 + B)
    return {
        point.share: (
            interval_around(point.target - start.target, _compressed(changes[0, place])),
            interval_around(start.others - point.others, _compressed(-changes[1, place])),
        )
        for place, point in enumerate(path)
    }


def _compressed(draws: np.ma.MaskedArray) -> np.ndarray:
    """Return how far the draws lie from their first, without those that could not be scored."""
    around: np.ndarray = (draws[1:] - draws[0]).compressed()
    return around


def _draws(fold: HeldOut, shares: Sequence[float], seed: int) -> np.ndarray:
    """(2, shares, 1 + B) TAR of pairs like the target and of others; first of the data, then of drawn identities.

    An identity drawn k times counts k times in its genuine comparisons, a pair of them k * l times as impostors.
    """
    pairs, genuine = fold.pairs, fold.pairs.genuine
    identity = np.unique(pairs.identity, return_inverse=True)[1]
    people = int(identity.max()) + 1
    counts = draw_identities(people, DRAWS, np.random.default_rng(seed))
    a, b = identity[pairs.a], identity[pairs.b]
    tars = np.empty((2, len(shares), len(counts)))
    for place, share in enumerate(shares):
        order = np.argsort(-fold.scores[share], kind="stable")
        same, first, second = genuine[order], a[order], b[order]
        alike, others = fold.weights[:, order]
        for draw, count in enumerate(counts):
            times = pair_counts(same, count[first], count[second])
            tars[0, place, draw] = tar_in_order(same, times * alike, TARGET_FMRS)
            tars[1, place, draw] = tar_in_order(same, times * others, OTHERS_FMRS)
    return tars
