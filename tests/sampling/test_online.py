import itertools
import math
import time

import pytest
import torch
from torch import Tensor, nn

from rsft import OnlineRejection
from rsft.errors import LowAcceptanceError
from rsft.sampling.acceptance import Stream, uniforms


def stream(n: int, size: int) -> list[tuple[Tensor, Tensor]]:
    x = torch.rand(n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return list(zip(x.split(size), torch.arange(n).split(size), strict=True))


def by_first(inputs: Tensor, model: nn.Module) -> Tensor:
    return inputs[:, 0]


@pytest.mark.parametrize("size", [1, 7, 64])
def test_decisions_do_not_depend_on_the_batch_size_of_the_stream(size: int) -> None:
    online = OnlineRejection(by_first, batch_size=10, seed=3)
    labels = torch.cat([labels for _, labels in online(stream(500, size), nn.Identity())])
    p = torch.cat([inputs for inputs, _ in stream(500, size)])[:, 0].numpy()
    assert labels.tolist() == (uniforms(3, 0, 0, 500, Stream.ONLINE) < p).nonzero()[0].tolist()


def test_batches_are_full_and_accepted_samples_have_the_right_mean() -> None:
    online = OnlineRejection(by_first, batch_size=32)
    sizes, total = [], torch.zeros(0)
    for inputs, _ in online(stream(40_000, 100), nn.Identity()):
        sizes.append(len(inputs))
        total = torch.cat([total, inputs[:, 0]])
    assert set(sizes[:-1]) == {32}
    # a uniform x that is accepted with probability x has density 2 x, mean 2/3 and variance 1/18
    assert abs(total.mean() - 2 / 3) < 5 * math.sqrt(1 / 18 / len(total))
    assert (online.seen, online.accepted) == (40_000, len(total))


def test_computing_probabilities_changes_neither_statistics_nor_random_state() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.5)).double()
    before = model.get_buffer("0.running_mean").clone()
    online = OnlineRejection(lambda x, m: m(x)[:, 0].sigmoid() * torch.rand(len(x)).clamp(0, 1), batch_size=4)
    state = torch.get_rng_state()
    next(online(stream(64, 16), model))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(model.get_buffer("0.running_mean"), before)
    assert model.training


def test_epochs_accept_different_samples() -> None:
    online = OnlineRejection(by_first, batch_size=10)
    draws = []
    for epoch in (0, 1):
        online.set_epoch(epoch)
        draws.append([labels.tolist() for _, labels in online(stream(100, 10), nn.Identity())])
    assert draws[0] != draws[1]


def test_low_acceptance_raises_a_clear_error() -> None:
    online = OnlineRejection(lambda x, m: torch.zeros(len(x)), batch_size=4, max_seconds=0.0)
    with pytest.raises(LowAcceptanceError, match="0 of 10 samples"):
        next(online(stream(100, 10), nn.Identity()))


@pytest.mark.parametrize("wrong", [lambda x, m: x[:, 0] + 1, lambda x, m: x, lambda x, m: x[:, 0] * math.nan])
def test_values_that_are_not_probabilities_are_rejected(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"values in \[0, 1\]"):
        next(OnlineRejection(wrong, batch_size=4)(stream(10, 10), nn.Identity()))  # type: ignore[arg-type]


def with_ids(n: int, size: int) -> list[tuple[Tensor, ...]]:
    return [(*batch, batch[1] * 10) for batch in stream(n, size)]


@pytest.mark.parametrize("reuse", [1, 3])
def test_a_probability_is_reused_for_reuse_epochs_and_then_computed_again(reuse: int) -> None:
    computed: list[int] = []

    def compute(inputs: Tensor, model: nn.Module) -> Tensor:
        computed.append(len(inputs))
        return inputs[:, 0]

    online = OnlineRejection(compute, batch_size=10, seed=3, reuse_epochs=reuse)
    fresh = OnlineRejection(by_first, batch_size=10, seed=3)
    for epoch in range(2 * reuse + 3):
        online.set_epoch(epoch)
        fresh.set_epoch(epoch)
        computed.clear()
        # half of the pool occurs in every epoch, the other half only in the first and the last
        everything = epoch in (0, 2 * reuse + 2)
        batches = with_ids(200, 50)[: None if everything else 2]
        accepted = [labels.tolist() for _, labels in online(batches, nn.Identity())]
        assert accepted == [labels.tolist() for _, labels in fresh([b[:2] for b in batches], nn.Identity())]
        assert sum(computed) == (200 if everything else 100) * (epoch % (reuse + 1) == 0)


def test_a_reused_probability_is_that_of_the_earlier_model() -> None:
    model = nn.Linear(2, 1).double()
    online = OnlineRejection(lambda x, m: m(x)[:, 0].clamp(0, 1), batch_size=1000, reuse_epochs=1)
    nn.init.constant_(model.weight, 0)
    nn.init.constant_(model.bias, 1)
    assert len(next(online(with_ids(100, 50), model))[1]) == 100
    nn.init.constant_(model.bias, 0)
    online.set_epoch(1)
    assert len(next(online(with_ids(100, 50), model))[1]) == 100
    online.set_epoch(2)
    assert list(online(with_ids(100, 50), model)) == []


def test_reuse_needs_ids() -> None:
    with pytest.raises(ValueError, match="ids"):
        next(OnlineRejection(by_first, batch_size=4, reuse_epochs=1)(stream(10, 10), nn.Identity()))
    with pytest.raises(ValueError, match="at least 0"):
        OnlineRejection(by_first, batch_size=4, reuse_epochs=-1)


def test_an_endless_stream_of_rejected_samples_ends_after_max_seconds() -> None:
    online = OnlineRejection(lambda x, m: torch.zeros(len(x)), batch_size=4, max_seconds=0.3)
    endless = (batch for _ in itertools.count() for batch in stream(10, 10))
    started = time.monotonic()
    with pytest.raises(LowAcceptanceError, match=r"no full batch of 4 in 0\.3 s"):
        list(online(endless, nn.Identity()))
    assert 0.3 <= time.monotonic() - started < 5
