"""`cut` splits a model where training starts, the parts equal the model, and errors state the reason."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsft.tuning.cut import cut
from rsft.tuning.freezing import train_from

X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.norm(self.conv(x)))


class Net(nn.Module):
    """Two tensors cross the cut if training starts at the second block, and `forward` reads a size."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.first, self.second = Residual(6), Residual(6)
        self.scale = nn.Parameter(torch.full((6, 1, 1), 2.0))
        self.head = nn.Linear(6 * 64, 5)

    def forward(self, x: Tensor) -> Tensor:
        early = self.stem(x) * self.scale
        middle = self.first(early)
        late = self.second(middle) + early
        return self.head(late.view(late.size(0), -1))


def net(*trained: str) -> Net:
    torch.manual_seed(0)
    model = Net()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(any(name.startswith(start) for start in trained))
    return model


@pytest.mark.parametrize(
    ("trained", "shapes"),
    [
        (("head",), [(4, 384)]),
        (("second", "head"), [(4, 6, 8, 8), (4, 6, 8, 8)]),
        (("first",), [(4, 6, 8, 8)]),
        (("second.norm",), [(4, 6, 8, 8)] * 3),
        (("scale",), [(4, 6, 8, 8)]),
    ],
)
def test_prefix_and_suffix_together_equal_the_model(trained: tuple[str, ...], shapes: list[tuple[int, ...]]) -> None:
    model = net(*trained)
    prefix, suffix = cut(model, X)
    assert [tuple(tensor.shape) for tensor in prefix(X)] == shapes
    model.eval()
    more = torch.randn(7, 3, 8, 8)
    assert torch.equal(suffix(prefix(more)), model(more))
    assert not any(parameter.requires_grad for parameter in prefix.parameters())
    trained_names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name for name, parameter in suffix.named_parameters() if parameter.requires_grad} == trained_names


def test_gradients_equal_those_of_the_model() -> None:
    model = net("second", "head")
    model(X).square().sum().backward()
    expected = {
        name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None
    }
    model.zero_grad()
    prefix, suffix = cut(model, X)
    with torch.no_grad():
        crossing = prefix(X)
    suffix(crossing).square().sum().backward()
    for name, gradient in expected.items():
        found = model.get_parameter(name).grad
        assert found is not None
        torch.testing.assert_close(found, gradient)


def test_modules_that_cannot_be_traced_are_kept_whole() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x) if x.isfinite().all() else x

    model = nn.Sequential(Branching(), Branching(), Branching())
    train_from(model, 2)
    _, suffix = cut(model, torch.randn(3, 4))
    assert [name for name, _ in suffix.named_parameters()] == ["2.linear.weight", "2.linear.bias"]
    model[1].linear.weight.requires_grad_(True)  # type: ignore[union-attr]
    with pytest.raises(ValueError, match=r"`torch.fx` cannot follow it"):
        cut(model, torch.randn(3, 4))


def test_a_model_that_cannot_be_cut_raises_with_the_reason() -> None:
    class Random(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.rand_like(x)

    class Mixing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x - x.mean(0)

    class OwnDropout(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4).requires_grad_(False), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(F.dropout(self.a(x), training=self.training))

    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4).requires_grad_(False), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(x + self.a(torch.ones(1, 4)))

    frozen, trained = nn.Linear(4, 4).requires_grad_(False), nn.Linear(4, 4)
    for model, reason in (
        (nn.Sequential(frozen), "0 of 2 parameters train"),
        (nn.Sequential(trained), "2 of 2 parameters train"),
        (nn.Sequential(trained, frozen), "training starts at the input"),
        (nn.Sequential(frozen, Random(), trained), "frozen part is random"),
        (nn.Sequential(frozen, Mixing(), trained), "mixes the items of a batch"),
        (OwnDropout(), "depends on the training mode"),
    ):
        with pytest.raises(ValueError, match=reason):
            cut(model, torch.randn(3, 4))
    prefix, suffix = cut(Constant(), torch.randn(3, 4))
    assert suffix(prefix(torch.randn(2, 4))).shape == (2, 4)
