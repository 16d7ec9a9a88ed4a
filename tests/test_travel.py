"""Everything public can be sent to another process, also a spawned one."""

import inspect
import pickle
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.utils.data import DataLoader

import rsft
from rsft.baselines import Method
from rsft.sampling.identities import FloorAcceptance
from rsft.tasks.classification import Classification
from rsft.tasks.compare import trainer

ITEMS = 400
GENERATOR = torch.Generator().manual_seed(0)
POOL = torch.randn(ITEMS, 2, generator=GENERATOR)
TARGET = torch.randn(100, 2, generator=GENERATOR) * 0.7 + 0.5
PEOPLE = torch.arange(ITEMS) // 4
ACCEPTANCE = torch.rand(ITEMS, generator=GENERATOR, dtype=torch.float64)


def score(items: np.ndarray) -> Tensor:
    return POOL[items]


def log_ratio(items: np.ndarray) -> Tensor:
    return ACCEPTANCE[items].log()


def half(*arguments: Any) -> float:
    return 0.5


def halves_of(inputs: Tensor, model: nn.Module) -> Tensor:
    return torch.full((len(inputs),), 0.5)


def halves(start: int, stop: int) -> np.ndarray:
    return np.full(stop - start, 0.5)


def train(batches: Any, learning_rate: float, seed: int) -> int:
    return len(list(batches))


def measure(model: Any) -> dict[str, np.ndarray]:
    return {"accuracy": np.arange(3.0)}


@cache
def planned() -> rsft.Plan:
    return rsft.plan(POOL, TARGET, envelope="max_tv=0.05", identities=PEOPLE)


@cache
def piloted() -> rsft.Plan:
    return rsft.plan_from_pilot(score, TARGET, items=ITEMS, sizes=(200,))


def sampler() -> rsft.RejectionSampler:
    return rsft.RejectionSampler(ACCEPTANCE, seed=3)


def tuned() -> rsft.TuningResult:
    return rsft.fine_tune(nn.Linear(2, 1), [(POOL, POOL[:, :1])], nn.functional.mse_loss, stop=rsft.Stopping(steps=1))


def compared() -> rsft.Comparison:
    methods = {"uniform": rsft.alternatives(planned())["uniform"]}
    return rsft.compare(train, measure, methods, start=0, steps=1, batch_size=4, learning_rates=[0.1], seeds=1)


# name of a class -> makers of its objects
MADE: dict[str, list[Callable[[], Any]]] = {
    "Comparison": [compared],
    "DensityRatio": [lambda: rsft.fit_ratio(POOL, TARGET), lambda: rsft.fit_ratio(POOL, TARGET, "least-squares")],
    "Envelope": [lambda: planned().envelope],
    "IdentityBatches": [lambda: rsft.IdentityBatches(sampler(), PEOPLE, identities=3, images=1)],
    "LazyRejectionSampler": [
        lambda: rsft.LazyRejectionSampler(log_ratio, 0.0, ITEMS),
        lambda: piloted().sampler(score=score),
    ],
    "MembershipRatio": [lambda: rsft.membership_ratio({"pixel": POOL.abs()}, {"pixel": {0: 0.6}})],
    "Method": [
        lambda: rsft.alternatives(planned())["rejection"],
        lambda: rsft.alternatives(planned())["weighted sampling"],
    ],
    "MinimumPerIdentity": [lambda: rsft.MinimumPerIdentity(ACCEPTANCE, PEOPLE, minimum=1)],
    "OnlineRejection": [lambda: rsft.OnlineRejection(halves_of, batch_size=4)],
    "Outcome": [lambda: planned().verdict.outcome],
    "Pilot": [lambda: piloted().pilot],
    "Plan": [planned, piloted, lambda: rsft.plan(POOL, TARGET, identities=PEOPLE, floor=2)],
    "Promise": [lambda: piloted().check_promise(torch.arange(ITEMS), torch.zeros(ITEMS))],
    "RejectionSampler": [
        sampler,
        lambda: rsft.RejectionSampler(halves, items=ITEMS),
        lambda: rsft.RejectionSampler(FloorAcceptance(ACCEPTANCE, PEOPLE, floor=2)),
    ],
    "RejectionStream": [lambda: rsft.RejectionStream(range(ITEMS), half)],
    "Stopping": [lambda: rsft.Stopping(steps=3)],
    "TuningResult": [tuned],
    "Verdict": [lambda: planned().verdict],
    "draw": [lambda: rsft.draw(9, Normal(0.5, 0.8), Normal(0.0, 1.0))],
    "trainer": [lambda: trainer(Classification(2), nn.Linear(2, 2), [(torch.rand(3, 4, 4), 0)])],
}


def told(thing: Any) -> Any:
    """Return what a thing says: what it yields, or its contents, with tensors as lists."""
    if isinstance(
        thing, rsft.IdentityBatches | rsft.RejectionSampler | rsft.LazyRejectionSampler | rsft.RejectionStream
    ):
        thing.set_epoch(2)
        return list(thing)
    if isinstance(thing, Method):
        return [items.tolist() for items, _ in thing.batches(3, 8, seed=1)]
    if isinstance(thing, Tensor | np.ndarray):
        return thing.tolist()
    if isinstance(thing, dict | list | tuple):
        return [told(value) for value in (thing.values() if isinstance(thing, dict) else thing)]
    return told(vars(thing)) if hasattr(thing, "__dict__") and not callable(thing) else repr(type(thing))


@pytest.mark.parametrize("name", sorted({*rsft.__all__, *MADE}))
def test_everything_public_survives_pickle(name: str) -> None:
    public = getattr(rsft, name, None)
    assert public is None or pickle.loads(pickle.dumps(public)) is public
    assert name in MADE or not inspect.isclass(public), f"add objects of {name} to MADE"
    for make in MADE.get(name, []):
        thing = make()
        assert told(pickle.loads(pickle.dumps(thing))) == told(thing)


def test_a_sampler_goes_on_where_it_was_when_it_was_sent() -> None:
    ours = sampler()
    ours.set_epoch(1)
    iterator = iter(ours)
    seen = [next(iterator) for _ in range(5)]
    other = pickle.loads(pickle.dumps(ours))
    other.load_state_dict(other.state_dict())
    assert seen + list(other) == list(sampler_at(1))


def sampler_at(epoch: int) -> rsft.RejectionSampler:
    ours = sampler()
    ours.set_epoch(epoch)
    return ours


def test_a_stream_yields_the_same_in_a_spawned_worker() -> None:
    stream = rsft.RejectionStream(range(ITEMS), partial(min, 0.5), seed=1)  # a spawned worker cannot import the tests
    stream.set_epoch(1)
    loader = DataLoader(stream, None, num_workers=1, multiprocessing_context="spawn")
    assert sorted(loader) == list(stream)
