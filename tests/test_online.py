import math

import pytest
import torch
from torch import Tensor, nn

from rsft import OnlineRejection
from rsft.acceptance import Stream, uniforms
from rsft.errors import LowAcceptanceError


def stream(n: int, size: int) -> list[tuple[Tensor, Tensor]]:
    x = torch.rand(n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return list(zip(x.split(size), torch.arange(n).split(size), strict=True))


def by_first(inputs: Tensor, model: nn.Module) -> Tensor:
    return inputs[:, 0]


@pytest.mark.parametrize("size", [1, 7, 64])
def test_decisions_do_not_depend_on_the_batches_they_came_in(size: int) -> None:
    online = OnlineRejection(by_first, batch_size=10, seed=3)
    labels = torch.cat([labels for _, labels in online(stream(500, size), nn.Identity())])
    p = torch.cat([inputs for inputs, _ in stream(500, size)])[:, 0].numpy()
    assert labels.tolist() == (uniforms(3, 0, 0, 500, Stream.ONLINE) < p).nonzero()[0].tolist()


def test_batches_are_full_and_the_law_holds() -> None:
    online = OnlineRejection(by_first, batch_size=32)
    sizes, total = [], torch.zeros(0)
    for inputs, _ in online(stream(40_000, 100), nn.Identity()):
        sizes.append(len(inputs))
        total = torch.cat([total, inputs[:, 0]])
    assert set(sizes[:-1]) == {32}
    # accepted with probability x, uniform x has density 2 x: mean 2/3, variance 1/18
    assert abs(total.mean() - 2 / 3) < 5 * math.sqrt(1 / 18 / len(total))
    assert (online.seen, online.accepted) == (40_000, len(total))


def test_looking_changes_neither_statistics_nor_random_state() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.5)).double()
    before = model.get_buffer("0.running_mean").clone()
    online = OnlineRejection(lambda x, m: m(x)[:, 0].sigmoid() * torch.rand(len(x)).clamp(0, 1), batch_size=4)
    state = torch.get_rng_state()
    next(online(stream(64, 16), model))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(model.get_buffer("0.running_mean"), before)
    assert model.training


def test_epochs_draw_anew() -> None:
    online = OnlineRejection(by_first, batch_size=10)
    draws = []
    for epoch in (0, 1):
        online.set_epoch(epoch)
        draws.append([labels.tolist() for _, labels in online(stream(100, 10), nn.Identity())])
    assert draws[0] != draws[1]


def test_too_little_acceptance_ends_with_a_clear_error() -> None:
    online = OnlineRejection(lambda x, m: torch.zeros(len(x)), batch_size=4, max_seconds=0.0)
    with pytest.raises(LowAcceptanceError, match="0 of 10 samples"):
        next(online(stream(100, 10), nn.Identity()))


@pytest.mark.parametrize("wrong", [lambda x, m: x[:, 0] + 1, lambda x, m: x, lambda x, m: x[:, 0] * math.nan])
def test_what_is_no_probability_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"values in \[0, 1\]"):
        next(OnlineRejection(wrong, batch_size=4)(stream(10, 10), nn.Identity()))  # type: ignore[arg-type]
