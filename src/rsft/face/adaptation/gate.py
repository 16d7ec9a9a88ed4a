"""The gate: it chooses how far to go from the pretrained to the tuned weights, by scores on held-out identities."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rsft.face.evaluation.bootstrap import draw_identities, interval_around, pair_counts
from rsft.face.evaluation.pairs import PairList
from rsft.face.evaluation.verification import tar_in_order
from rsft.types import Interval

# Pairs like the target may be few, so their FMRs span a wide range. The other pairs use the FMRs that are reported.
TARGET_FMRS = tuple(np.logspace(-3, 0, 30, endpoint=False))
OTHERS_FMRS = tuple(np.logspace(-3, -2, 10))
MIN_PEOPLE = 5.0
ROUNDING = 1e-9  # a gain above 0 by less is one of rounding
# Number of impostor comparisons that the intervals use in each fold: 30 false matches at the smallest FMR.
MAX_IMPOSTORS = 30_000
# Number of draws from the impostor comparisons of two pictures like the target, and the least weight that they need.
ALIKE_IMPOSTORS, MIN_ALIKE_IMPOSTORS = 10_000, 100.0
DRAWS = 200


@dataclass(frozen=True)
class PathPoint:
    """Validation scores at one point of the line from the pretrained to the tuned weights.

    Attributes:
        share: Share of the way to the tuned weights, in [0, 1].
        target: Mean TAR over `TARGET_FMRS` of genuine pairs, each weighted by how much at least one picture looks like
            the target. It is the mean of two: with impostor pairs weighted likewise, and weighted by how much both
            pictures do.
        others: Mean TAR over `OTHERS_FMRS`, with each pair weighted by how much neither picture looks like the target;
            over all pairs if too few people have such pairs.
        people: Effective number of people in `target`; see `worth_in_people`.
    """

    share: float
    target: float
    others: float
    people: float


@dataclass(frozen=True)
class Gate:
    """Decision of the gate, and the scores that it is based on.

    Attributes:
        share: Chosen share of the way to the tuned weights, in [0, 1]. 0 keeps the pretrained weights.
        candidate: `share`, or the best of the other shares if `share` is 0.
        effects: Share -> (gain, loss) against the pretrained weights, with intervals over held-out identities. The gain
            is the rise of `PathPoint.target`, the loss is the fall of `PathPoint.others`.
        allowed: Shares whose gain is clearly above 0 and whose loss is within the bound.
        reason: Reason of the decision, as part of a sentence.
        path: Validation scores at each share.
        retention: (share, loss) of each share that was tried on a retention set, in this order.
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
        """Gain of the candidate."""
        return self.effects[self.candidate][0]

    @property
    def loss(self) -> Interval:
        """Loss of the candidate."""
        return self.effects[self.candidate][1]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable dictionary, without the path."""
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
    """Scores of one fold of held-out identities, by a network that was tuned without them.

    Attributes:
        path: Validation scores at each share, over all pairs.
        pairs: The P pairs that the intervals use: all genuine ones, at most `MAX_IMPOSTORS` impostor ones, and
            `ALIKE_IMPOSTORS` draws from the impostor pairs of two pictures like the target.
        weights: (3, P) weights of these pairs, see `pair_weights`. An impostor pair that was drawn has weight in the
            third row alone, and the others have none there.
        scores: Share -> (P,) scores of these pairs.
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
    """Score each share on all pairs of held-out pictures, and keep some pairs for the intervals.

    Args:
        pairs: The P pairs of the held-out pictures.
        weights: (3, P) weights of the pairs, see `pair_weights`.
        score: Function from a share to the scores (P,) of all pairs.
        shares: Shares of the way to the tuned weights, in [0, 1]; 0 must be one of them.
        seed: Seed for the choice of impostor pairs.
    """
    genuine, people = pairs.genuine, worth_in_people(pairs, weights[0])
    generator = np.random.default_rng(seed)
    impostors = np.flatnonzero(~genuine)
    both = weights[2, impostors]
    drawn = generator.choice(impostors, ALIKE_IMPOSTORS, p=both / both.sum()) if both.any() else impostors[:0]
    if len(impostors) > MAX_IMPOSTORS:
        impostors = generator.choice(impostors, MAX_IMPOSTORS, replace=False)
    every = np.flatnonzero(genuine)
    kept = np.concatenate([every, impostors, drawn])
    of_kept = weights[:, kept]
    of_kept[2, len(every) :] = 0.0
    of_kept[:, len(kept) - len(drawn) :] = [[0.0], [0.0], [1.0]]
    path, scores = [], {}
    for share in shares:
        of_all = score(share)
        path.append(PathPoint(share, *pair_scores(pairs, weights, of_all), people))
        scores[share] = of_all[kept]
    some = PairList(pairs.a[kept], pairs.b[kept], pairs.identity)
    return HeldOut(path, some, of_kept, scores)


def pair_weights(pairs: PairList, likeness: np.ndarray) -> np.ndarray:
    """Weight each pair by how much one picture looks like the target, by how much none does, and by how much both do.

    A pair with one picture like the target counts for the target. If few pictures of a pool look like the target, there
    are many more of these pairs than of pairs in which both pictures do. But where such pictures come from a source of
    their own, impostors of that source are needed as well: a network that tells the sources apart, and the people of
    one source no longer, gains on pairs across sources only.

    Args:
        pairs: P pairs between N pictures.
        likeness: (N,) probability that each picture is accepted for the target alone, in [0, 1].

    Returns:
        (3, P) weights in [0, 1], for `PathPoint.target`, for `PathPoint.others`, and again for the former. The second
        are all 1 if the pairs unlike the target are equivalent to fewer than `MIN_PEOPLE` people. The third equal the
        first for genuine pairs, and for all pairs if the impostor pairs of two pictures like the target weigh less than
        `MIN_ALIKE_IMPOSTORS`.
    """
    neither = (1 - likeness[pairs.a]) * (1 - likeness[pairs.b])
    told = worth_in_people(pairs, neither) >= MIN_PEOPLE
    both = np.where(pairs.genuine, 0.0, likeness[pairs.a] * likeness[pairs.b])
    enough = both.sum() >= MIN_ALIKE_IMPOSTORS
    third = np.where(pairs.genuine | (not enough), 1 - neither, both)
    return np.stack([1 - neither, neither if told else np.ones_like(neither), third])


def worth_in_people(pairs: PairList, weights: np.ndarray) -> float:
    """Return the effective number of people in weighted genuine pairs.

    This is (sum w)^2 / sum w^2, but at most sum w, where w is the sum of the weights of each person's genuine pairs.

    Args:
        pairs: P pairs.
        weights: (P,) weights of the pairs.

    >>> pairs = PairList(np.array([0, 2]), np.array([1, 3]), np.array([7, 7, 8, 8]))
    >>> worth_in_people(pairs, np.array([1.0, 1.0])), worth_in_people(pairs, np.array([1.0, 0.0]))
    (2.0, 1.0)
    """
    genuine, identity = pairs.genuine, np.unique(pairs.identity, return_inverse=True)[1]
    of_each = np.bincount(identity[pairs.a[genuine]], weights[genuine])
    total, squares = float(of_each.sum()), float((of_each**2).sum())
    return min(total, total**2 / squares) if squares else 0.0


def pair_scores(pairs: PairList, weights: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """Compute `PathPoint.target` and `PathPoint.others`; NaN without weight on genuine or on impostor pairs.

    Args:
        pairs: P pairs.
        weights: (3, P) weights of the pairs, see `pair_weights`.
        scores: (P,) scores of the pairs.
    """
    order = np.argsort(-scores, kind="stable")
    return _tars(pairs.genuine[order], weights[:, order])


def _tars(genuine: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Return the two scores of pairs in the order of descending scores: (P,) bool, and (3, P) weights."""
    one, others, both = weights
    target = (tar_in_order(genuine, one, TARGET_FMRS) + tar_in_order(genuine, both, TARGET_FMRS)) / 2
    return target, tar_in_order(genuine, others, OTHERS_FMRS)


def decide(folds: Sequence[HeldOut], max_loss: float, *, seed: int) -> Gate:
    """Choose the share with the largest mean gain over the folds, among those that gain clearly and meet the bound.

    A share gains clearly if the 95 % interval of its gain lies above 0. If no share qualifies, or the pairs like the
    target are equivalent to fewer than `MIN_PEOPLE` people, the pretrained weights are kept. The intervals are not
    corrected for comparing several shares.

    Args:
        folds: Scores of each fold, at least one.
        max_loss: Largest allowed fall of `PathPoint.others`.
        seed: Seed for the bootstrap.
    """
    path = [mean_point(points) for points in zip(*(fold.path for fold in folds), strict=True)]
    start = next(point for point in path if point.share == 0)
    effects = _effects(folds, path, start, seed)
    better = [point for point in path if point.target > start.target]
    bounded = [point for point in better if point.others >= start.others - max_loss]
    allowed = [point for point in bounded if (effects[point.share][0].low or 0) > ROUNDING]
    if start.people < MIN_PEOPLE:
        allowed = []
        reason = (
            f"the held-out pictures that look like the target are equivalent to {start.people:.0f} people, and "
            f"{MIN_PEOPLE:.0f} are needed; add such pictures of more people to the pool"
        )
    elif allowed:
        reason = "it gains the most of the shares that meet the bound"
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
    """Step back through the allowed shares until the loss on a retention set is within the bound.

    If no allowed share meets the bound, the pretrained weights are kept.

    Args:
        gate: Decision on the held-out identities of the pool.
        loss_at: Function from a share to its loss on the retention set, or to None if the set is too small to measure
            it. In that case, the gate is returned unchanged.
        max_loss: Largest allowed loss.
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
    reason = f"every share that gained lost more than {max_loss:g} on the retention set"
    return replace(gate, share=0.0, retention=tried, reason=reason)


def mean_point(points: Sequence[PathPoint]) -> PathPoint:
    """Average the scores of one share over the folds, and sum the people.

    A score that is NaN in a fold is left out of its mean, which is 0 if no fold has the score.
    """
    scores = np.ma.masked_invalid([(point.target, point.others) for point in points]).mean(0)
    target, others = np.ma.filled(scores, 0.0).tolist()
    return PathPoint(points[0].share, target, others, sum(point.people for point in points))


def _effects(
    folds: Sequence[HeldOut], path: Sequence[PathPoint], start: PathPoint, seed: int
) -> dict[float, tuple[Interval, Interval]]:
    """Return share -> (gain, loss): the values from the path, with intervals from paired draws of identities."""
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
    """Return the differences of the draws from the first value, without draws that could not be scored."""
    around: np.ndarray = (draws[1:] - draws[0]).compressed()
    return around


def _draws(fold: HeldOut, shares: Sequence[float], seed: int) -> np.ndarray:
    """Return the mean TAR (2, shares, 1 + B) of pairs like the target and of others, for the data and for each draw.

    An identity that is drawn k times counts k times in its genuine pairs. Two identities that are drawn k and l times
    count k * l times in their impostor pairs.
    """
    pairs, genuine = fold.pairs, fold.pairs.genuine
    identity = np.unique(pairs.identity, return_inverse=True)[1]
    people = int(identity.max()) + 1
    counts = draw_identities(people, DRAWS, np.random.default_rng(seed))
    a, b = identity[pairs.a], identity[pairs.b]
    tars = np.empty((2, len(shares), len(counts)))
    for place, share in enumerate(shares):
        order = np.argsort(-fold.scores[share], kind="stable")
        same, first, second, weights = genuine[order], a[order], b[order], fold.weights[:, order]
        for draw, count in enumerate(counts):
            tars[:, place, draw] = _tars(same, pair_counts(same, count[first], count[second]) * weights)
    return tars
