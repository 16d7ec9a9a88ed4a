"""Inputs of every kind that users bring: they work, or one message names the argument and what is wrong with it."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest
import torch
from torch import nn

import rsft
from rsft.ratio.rows import Rows
from rsft.sampling.acceptance import accept
from rsft.sampling.identities import FloorAcceptance, IdentityAcceptance, identity_log_ratio
from rsft.tasks.classification import Classification
from rsft.tasks.segmentation import Segmentation

N = 60
GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(N, 3, generator=GENERATOR)
LOG_RATIO = torch.randn(N, generator=GENERATOR, dtype=torch.float64)
ACCEPTANCE = (LOG_RATIO - LOG_RATIO.max()).exp()
PEOPLE = np.arange(N) // 3


@pytest.mark.parametrize(
    "table",
    [X, X.numpy(), X.tolist(), list(X), pd.DataFrame(X.numpy()), [X[:20], X[20:].numpy()], X.numpy().astype(">f4")],
    ids=["tensor", "array", "lists", "rows", "data frame", "shards", "big endian"],
)
def test_tables_of_every_form_are_read_alike(table: Any) -> None:
    rows = Rows(table, "plan(pool=...)")
    assert (len(rows), rows.width) == (N, 3)
    assert torch.equal(torch.cat([block for _, block in rows.blocks()]).float(), X)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, bool, np.float16, np.int32, np.int64, np.uint32, np.float64])
def test_numbers_of_every_kind_keep_their_digits(kind: Any) -> None:
    top = 2**53 if np.dtype(kind) in (np.int64, np.float64) else np.iinfo(kind).max if kind in (np.int32,) else 1
    table = np.array([[top], [top - 1]]).astype(kind)
    assert Rows(table, "x").take(np.arange(2)).double().tolist() == table.astype(float).tolist()


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (X[:, 0], r"\(n, D\), got \(60,\). One feature of n items has the shape \(n, 1\)"),
        (X[None], r"got \(1, 60, 3\)"),
        (X + 1j, "real numbers, got torch.complex64"),
        (X.numpy() + 1j, "real numbers, got complex"),
        (np.full((N, 3), "a"), "real numbers, got <U1"),
        (np.full((N, 3), None), "real numbers, got object"),
        (np.zeros((N, 3), "M8[s]"), "give times in seconds"),
        (pd.DataFrame({"age": [1.0], "name": ["ann"]}), r"got column name \("),
        ({"x": X}, "got a dict"),
        ([[1.0], [1.0, 2.0]], "rows of one length"),
        ([], "has no features"),
        (None, "got a NoneType"),
        (np.ma.masked_less(X.numpy(), 0), "NaN or infinite features"),
        (np.array([[2**53 + 2]]), r"beyond 2\^53.*row 0: subtract a constant"),
        (X.to_sparse(), "dense real numbers"),
    ],
)
def test_tables_of_another_kind_are_refused_by_name(table: Any, words: str) -> None:
    with pytest.raises(ValueError, match=rf"`plan\(pool=\.\.\.\)`.*{words}"):
        list(Rows(table, "plan(pool=...)").blocks())


@pytest.mark.parametrize("kind", [np.int64, np.float64])
def test_a_shift_in_large_integers_is_seen(kind: Any) -> None:
    """Times as digits within an hour are one value in float32."""
    generator = np.random.default_rng(0)
    hour = 20240101120000
    pool, target = generator.integers(0, 5959, (2000, 1)) + hour, generator.integers(5000, 5959, (300, 1)) + hour
    assert rsft.plan(pool.astype(kind), target.astype(kind)).verdict.outcome == rsft.Outcome.WORTH_TRYING


LABELLED: dict[str, Callable[[Any], Any]] = {
    "IdentityBatches(labels=": lambda labels: list(
        rsft.IdentityBatches(rsft.RejectionSampler(ACCEPTANCE), labels, identities=2, images=1)
    ),
    "MinimumPerIdentity(labels=": lambda labels: (
        rsft.MinimumPerIdentity(ACCEPTANCE, labels, minimum=1).accepted(0, 0).tolist()
    ),
    "FloorAcceptance(identities=": lambda labels: FloorAcceptance(ACCEPTANCE, labels, floor=2).accepted(0, 0).tolist(),
    "IdentityAcceptance(identities=": lambda labels: (
        IdentityAcceptance(torch.full((N,), 0.5), labels).accepted(0, 0).tolist()
    ),
    "identity_log_ratio(identities=": lambda labels: identity_log_ratio(LOG_RATIO, labels).tolist(),
    "plan(identities=": lambda labels: rsft.plan_from_ratio(LOG_RATIO, identities=labels, floor=2).inclusion().tolist(),
    "fit_ratio(groups=": lambda labels: rsft.fit_ratio(X, X + 1, groups=labels, folds=3).pool_log_ratio.tolist(),
    "fit_ratio(target_groups=": lambda labels: rsft.fit_ratio(
        X, X + 1, target_groups=labels, folds=3
    ).pool_log_ratio.tolist(),
}


@pytest.mark.parametrize("call", LABELLED)
def test_labels_of_any_size_and_kind_are_numbered(call: str) -> None:
    """No array is as long as the largest label: 10^15 would ask for petabytes."""
    expected = LABELLED[call](PEOPLE)
    names = np.array([f"p{person:02}" for person in PEOPLE])
    for labels in (torch.from_numpy(PEOPLE) * 10**15 - 7, PEOPLE.tolist(), names, names.tolist(), pd.Series(names)):
        assert LABELLED[call](labels) == expected


@pytest.mark.parametrize("call", LABELLED)
@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (PEOPLE[1:], r"60 items, got shape \(59,\)"),
        (PEOPLE[:, None], r"60 items, got shape \(60, 1\)"),
        (np.where(PEOPLE == 1, np.nan, PEOPLE), "no label for 3 items, the first at row 3"),
        ([None, *PEOPLE[1:].tolist()], "no label for 1 items, the first at row 0"),
        (pd.Series([pd.NA, *PEOPLE[1:]], dtype=object), "no label for 1 items"),
        (PEOPLE + 0.5, "integers or texts, got 0.5 at row 0"),
        (PEOPLE + 1j, "integers or texts, got complex"),
        (["a", 1] * (N // 2), "integers, or texts, got int and str"),
    ],
)
def test_labels_of_another_length_or_kind_are_refused(call: str, labels: Any, words: str) -> None:
    with pytest.raises(ValueError, match=rf"`{call.replace('(', '.')}.*{words}"):
        LABELLED[call](labels)


RATIOS: dict[str, Callable[[Any], Any]] = {
    "plan_from_ratio": lambda ratio: rsft.plan_from_ratio(ratio, envelope="log_m=2").acceptance,
    "choose_envelope": lambda ratio: rsft.choose_envelope(ratio).acceptance_rate,
    "acceptance_probability": lambda ratio: rsft.acceptance_probability(ratio, 2.0),
    "pareto_k": rsft.pareto_k,
    "largest_ratio": lambda ratio: rsft.largest_ratio(ratio, 1000).high,
    "product_ratio": lambda ratio: rsft.product_ratio(ratio, ratio),
    "mixture_ratio": lambda ratio: rsft.mixture_ratio([ratio], [1.0]),
    "retain_pool": lambda ratio: rsft.retain_pool(ratio, 0.5),
}


@pytest.mark.parametrize("call", RATIOS)
def test_ratios_of_every_form_give_the_same(call: str) -> None:
    expected = RATIOS[call](LOG_RATIO)
    for ratio in (LOG_RATIO.numpy(), LOG_RATIO.tolist(), pd.Series(LOG_RATIO.numpy())):
        assert np.array_equal(RATIOS[call](ratio), expected)
    for half in (torch.float16, torch.bfloat16):
        rounded = LOG_RATIO.to(half)
        torch.testing.assert_close(RATIOS[call](rounded), RATIOS[call](rounded.float()), rtol=0, atol=0)


@pytest.mark.parametrize("call", RATIOS)
@pytest.mark.parametrize(
    "ratio", [LOG_RATIO + 1j, LOG_RATIO[:, None], LOG_RATIO.long(), ["a"] * N, None, LOG_RATIO * math.inf]
)
def test_what_is_no_ratio_is_refused(call: str, ratio: Any) -> None:
    with pytest.raises(ValueError, match=r"floating|NaN or \+inf"):
        RATIOS[call](ratio)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_small_probability_from_half_precision_is_exact(dtype: torch.dtype) -> None:
    log_ratio = torch.full((4,), -14.0, dtype=dtype)  # float16 would make 8.3e-7 of it, and 0 of less than 6e-8
    assert rsft.acceptance_probability(log_ratio, 2.0).tolist() == pytest.approx([math.exp(-16)] * 4, rel=1e-6)


def test_probabilities_of_every_form_are_drawn_alike_or_refused() -> None:
    makers: list[Callable[[Any], Any]] = [
        lambda p: rsft.RejectionSampler(p, shuffle=False, balanced=False).accepted().tolist(),
        lambda p: np.flatnonzero(accept(p, seed=0)).tolist(),
    ]
    for make in makers:
        for given in (ACCEPTANCE, ACCEPTANCE.tolist(), pd.Series(ACCEPTANCE.numpy())):
            assert make(given) == make(ACCEPTANCE.numpy())
        for wrong in (ACCEPTANCE + 1j, ACCEPTANCE + 1, ACCEPTANCE * math.nan, [None] * N, ["a"] * N, ACCEPTANCE[None]):
            with pytest.raises(ValueError, match=r"real numbers|probabilities"):
                make(wrong)
    for tilt in (rsft.exponential_tilt, rsft.percentile_tilt):
        assert torch.equal(tilt(LOG_RATIO.tolist(), 1.0), tilt(LOG_RATIO, 1.0))
        with pytest.raises(ValueError, match=r"tilt\(score"):
            tilt(LOG_RATIO + 1j, 1.0)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["day", None], "1 of 2 have none, the first is item 1 with None"),
        ([1.0, math.nan], "the first is item 1 with nan"),
        ([["day"], ["night"]], "texts, numbers or tuples of these, got a list at row 0"),
        (np.zeros((2, 1)), "one value for each item"),
        ("day", "one value for each item"),
    ],
)
def test_attributes_that_are_none_are_refused(labels: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        rsft.attribute_ratio(labels, {"day": 1.0})
    with pytest.raises(ValueError, match="same items, got lengths"):
        rsft.raked_ratio({"a": [1, 2], "b": [1, 2, 2]}, {"a": {1: 0.5, 2: 0.5}, "b": {1: 0.5, 2: 0.5}})


def test_covariates_counts_and_numbers_of_trainings_are_checked() -> None:
    for wrong, words in ((LOG_RATIO[1:], "each of 60 items, got 59"), (LOG_RATIO + 1j, "real numbers, got complex")):
        with pytest.raises(ValueError, match=rf"`plan\(covariates=\.\.\.\)\['light'\]`.*{words}"):
            rsft.plan(X, X + 1, folds=3, covariates=({"light": wrong.numpy()}, {"light": LOG_RATIO.numpy()}))
    counts, shares = [[1.0, 2.0], [2.0, 1.0]], {"pixel": {0: 0.5}}
    listed = rsft.membership_ratio({"pixel": counts}, shares)  # type: ignore[dict-item]
    assert torch.equal(listed.log_ratio, rsft.membership_ratio({"pixel": torch.tensor(counts)}, shares).log_ratio)
    with pytest.raises(ValueError, match="real numbers"):
        rsft.membership_ratio({"pixel": torch.tensor(counts) + 1j}, shares)
    with pytest.raises(ValueError, match="seeds and workers of at least 1"):
        rsft.compare(max, max, {}, start=0, steps=1, batch_size=1, learning_rates=[1.0])


def test_a_target_that_most_of_the_pool_is_not_like_has_a_plan() -> None:
    log_ratio = rsft.attribute_ratio(["day"] * 950 + ["night"] * 50, {"night": 1.0})
    made = rsft.plan_from_ratio(log_ratio)
    assert (made.verdict.outcome, made.envelope.acceptance_rate) == (rsft.Outcome.WORTH_TRYING, pytest.approx(0.05))


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (torch.randn(2, 2), r"got one Tensor of shape \(2, 2\): put its target beside it"),
        ({"x": X, "y": X}, "got a mapping of x, y"),
        ((X,), "got a tuple of 1"),
    ],
)
def test_batches_that_are_no_pairs_are_refused(batch: Any, words: str) -> None:
    """A tensor of two rows was taken for a pair."""
    with pytest.raises(ValueError, match=words):
        rsft.fine_tune(nn.Linear(2, 2), [batch], nn.functional.mse_loss, stop=rsft.Stopping(steps=1))
    with pytest.raises(ValueError, match=words):
        next(rsft.OnlineRejection(lambda x, model: x[:, 0] > 0, batch_size=1)([batch], nn.Identity()))


@pytest.mark.parametrize("task", [Classification(2), Segmentation(2)])
def test_items_that_are_no_pairs_are_refused(task: Any) -> None:
    picture = torch.rand(3, 4, 4)
    good = (picture, torch.zeros(4, 4) if isinstance(task, Segmentation) else 1)
    for wrong in (torch.rand(2, 3, 4, 4), {"image": picture, "label": 1}, (picture,), picture):
        with pytest.raises(ValueError, match=r"items \(input, target\); item 1 of the batch is none, got"):
            task.collate([good, wrong])
    for label in (0.5, math.nan, None, "1", torch.full((4, 4), 0.5)):
        with pytest.raises(ValueError, match=r"integer classes; item 1 of the batch has"):
            task.collate([good, (picture, label)])
    with pytest.raises(ValueError, match="at least one item"):
        task.collate([])
    with pytest.raises(ValueError, match=r"tensors \(C, H, W\); item 0 of the batch is a ndarray"):
        task.collate([(picture.numpy(), good[1])])
