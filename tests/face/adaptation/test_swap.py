"""Networks side by side on the same pictures: paired intervals by a plain computation, and who counts as better."""

from collections.abc import Callable

import numpy as np
import pytest

from rsft.face.adaptation.alike import DRAWS, FMR, Compared, choose_compared
from rsft.face.adaptation.swap import MAX_USUAL_LOSS, ModelFigures, Swap, judge_models
from rsft.face.evaluation.bootstrap import ENDS, draw_identities
from rsft.face.evaluation.pairs import PairList
from rsft.types import Interval

PEOPLE, PICTURES, WIDTH = 30, 6, 16
ABOUT = {"licence": "CC0-1.0", "non_commercial": False, "milliseconds": 1.0}
Ends = tuple[float, float]


def networks(noise: float, other: float, seed: int = 0) -> tuple[Compared, dict[str, np.ndarray]]:
    """Return pictures, a third like the target, and their embeddings by two networks with noise of their own on these.

    The networks share what is hard about a picture, as networks do.
    """
    generator = np.random.default_rng(seed)
    people = np.repeat(np.arange(PEOPLE), PICTURES)
    alike = np.arange(len(people)) % 3 == 0
    compared = choose_compared(people, alike.astype(float), most_alike=40, most_usual=90, seed=seed)
    assert compared is not None
    own, hard = generator.normal(size=(PEOPLE, WIDTH))[people], generator.normal(size=(len(people), WIDTH))
    embeddings = {}
    for name, level in (("first", noise), ("second", other)):
        rows = own + np.where(alike, level, 0.5)[:, None] * (hard + 0.5 * generator.normal(size=hard.shape))
        embeddings[name] = rows[compared.rows]
    return compared, embeddings


def plain_tars(embeddings: np.ndarray, pairs: PairList, draws: np.ndarray) -> np.ndarray:
    """Return the TAR at `FMR` of each draw of people (1 + B, C), by sorting and counting."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    scores = np.einsum("pd,pd->p", unit[pairs.a], unit[pairs.b])
    first, second = pairs.identity[pairs.a], pairs.identity[pairs.b]
    same = first == second
    tars = []
    order = np.argsort(-scores[~same])
    for drawn in draws:
        false = (drawn[first] * drawn[second])[~same][order]
        threshold = scores[~same][order][np.flatnonzero(np.cumsum(false) > FMR * false.sum())[0]]
        tars.append(np.average(scores[same] > threshold, weights=drawn[first[same]]))
    return np.array(tars)


def draws_of(pairs: PairList, seed: int) -> np.ndarray:
    """Return how often each person is drawn: (1 + B, PEOPLE)."""
    counts = np.zeros((1 + DRAWS, PEOPLE))
    counts[:, pairs.people] = draw_identities(len(pairs.people), DRAWS, np.random.default_rng(seed))
    return counts


def paired(compared: Compared, embeddings: dict[str, np.ndarray]) -> Ends:
    (_, second) = judge_models(compared.verify(embeddings), {"first": ABOUT, "second": ABOUT})
    assert second.alike_gain is not None
    assert second.alike_gain.low is not None
    assert second.alike_gain.high is not None
    return second.alike_gain.low, second.alike_gain.high


def unpaired(compared: Compared, embeddings: dict[str, np.ndarray]) -> Ends:
    """Wrong: each network has its own draws of people."""
    pairs = compared.pairs["alike"]
    tars = [plain_tars(rows, pairs, draws_of(pairs, seed))[1:] for seed, rows in enumerate(embeddings.values())]
    return ends(tars[1] - tars[0])


def ends_apart(compared: Compared, embeddings: dict[str, np.ndarray]) -> Ends:
    """Wrong: the difference of the ends of two intervals."""
    reports = compared.verify(embeddings)["alike"]
    first, second = (reports.systems[name].tar_at_fmr[FMR] for name in embeddings)
    return (second.low or 0.0) - (first.high or 0.0), (second.high or 0.0) - (first.low or 0.0)


def pictures_drawn(compared: Compared, embeddings: dict[str, np.ndarray]) -> Ends:
    """Wrong: pictures are drawn as if they were people."""
    pairs = compared.pairs["alike"]
    generator = np.random.default_rng(0)
    drawn = []
    for _ in range(DRAWS):
        count = generator.multinomial(len(compared.rows), np.full(len(compared.rows), 1 / len(compared.rows)))
        weights = (count[pairs.a] * count[pairs.b]).astype(float)
        tars = []
        for rows in embeddings.values():
            unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
            scores, same = np.einsum("pd,pd->p", unit[pairs.a], unit[pairs.b]), pairs.genuine
            order = np.argsort(-scores[~same])
            false = weights[~same][order]
            threshold = scores[~same][order][np.flatnonzero(np.cumsum(false) > FMR * false.sum())[0]]
            tars.append(np.average(scores[same] > threshold, weights=weights[same]))
        drawn.append(tars[1] - tars[0])
    return ends(np.array(drawn))


def other_way(compared: Compared, embeddings: dict[str, np.ndarray]) -> Ends:
    """Wrong: the first network less the second."""
    low, high = paired(compared, embeddings)
    return -high, -low


def of_usual(compared: Compared, embeddings: dict[str, np.ndarray]) -> Ends:
    """Wrong: the usual pictures in place of those like the target."""
    alike, usual = compared.pairs["alike"], compared.pairs["usual"]
    return paired(Compared(compared.rows, compared.alike, {"alike": usual, "usual": alike}), embeddings)


def ends(draws: np.ndarray) -> Ends:
    low, high = np.quantile(draws, ENDS)
    return float(low), float(high)


def holds(rule: Callable[[Compared, dict[str, np.ndarray]], Ends]) -> bool:
    """Whether a rule gives the interval of the plain computation: the same draws of people for both networks."""
    compared, embeddings = networks(1.2, 0.8)
    pairs = compared.pairs["alike"]
    tars = [plain_tars(rows, pairs, draws_of(pairs, 0))[1:] for rows in embeddings.values()]
    return bool(np.allclose(rule(compared, embeddings), ends(tars[1] - tars[0]), atol=1e-6))


def test_the_interval_of_a_difference_is_paired() -> None:
    assert holds(paired)


@pytest.mark.parametrize("rule", [unpaired, ends_apart, pictures_drawn, other_way, of_usual])
def test_wrong_intervals_are_noticed(rule: Callable[[Compared, dict[str, np.ndarray]], Ends]) -> None:
    assert not holds(rule)


def test_a_better_network_is_found_and_an_equal_one_is_not() -> None:
    """One of twenty may be called better by chance, at 2.5 % each; four have a probability below 0.2 %."""

    def better(noise: float, other: float, seed: int) -> bool:
        compared, embeddings = networks(noise, other, seed)
        return judge_models(compared.verify(embeddings), {"first": ABOUT, "second": ABOUT})[1].is_better

    assert all(better(1.4, 0.7, seed) for seed in range(5))
    assert not any(better(0.7, 1.4, seed) for seed in range(5))
    assert sum(better(1.0, 1.0, seed) for seed in range(20)) < 4


def figures(
    alike_gain: tuple[float, float] | None, usual_gain: tuple[float, float] = (0.0, 0.0), alike: float = 0.5
) -> ModelFigures:
    none, value = Interval(None, None, None, "insufficient data"), Interval(alike, alike - 0.1, alike + 0.1)
    gain = none if alike_gain is None else Interval(sum(alike_gain) / 2, *alike_gain)
    usual = Interval(sum(usual_gain) / 2, *usual_gain)
    return ModelFigures(name="b", alike=value, usual=value, alike_gain=gain, usual_gain=usual, **ABOUT)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("gain", "usual", "better"),
    [
        ((0.01, 0.2), (-0.1, 0.1), True),
        ((0.01, 0.2), (-0.1, -MAX_USUAL_LOSS + 0.001), True),
        ((0.01, 0.2), (-0.1, -MAX_USUAL_LOSS - 0.001), False),  # clearly worse on usual pictures by more than a point
        ((-0.01, 0.2), (0.1, 0.2), False),
        (None, (0.1, 0.2), False),
    ],
)
def test_better_is_clear_of_zero_and_not_bought_on_usual_pictures(
    gain: tuple[float, float] | None, usual: tuple[float, float], better: bool
) -> None:
    assert figures(gain, usual).is_better == better


def test_the_best_is_that_with_the_highest_tar_among_the_better() -> None:
    some = [figures((0.1, 0.2), alike=0.6), figures((0.1, 0.2), alike=0.7), figures((-0.1, 0.2), alike=0.9)]
    assert Swap(some).best is some[1]
    assert Swap(some[2:]).best is None
    assert Swap().best is None
