"""A network becomes an equivalent sequence of stages."""

import pytest
import torch
from torch import Tensor, nn

from rsft.errors import InputError
from rsft.face.networks.backbones.iresnet import IResNet
from rsft.face.networks.stages import in_stages


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.first, self.second = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(torch.relu(self.first(self.norm(x))))


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.shift = nn.Parameter(torch.rand(4, 1, 1))
        self.blocks = nn.ModuleList([Residual(), Residual()])
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x)) + self.shift
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)).reshape(x.shape[0], -1))


def test_stages_end_between_residual_blocks_and_keep_names_and_weights() -> None:
    network = Network().eval()
    example = torch.rand(2, 3, 8, 8)
    stages = in_stages(network, example)
    names = ["shift stem", "blocks.0", "blocks.1", "head"]
    assert [" ".join(dict.fromkeys(_owner(key) for key, _ in stage.named_parameters())) for stage in stages] == names
    torch.testing.assert_close(stages(example), network(example), rtol=0, atol=0)
    torch.testing.assert_close(stages[2:](stages[:2](example)), network(example), rtol=0, atol=0)
    assert {p.data_ptr() for p in stages.parameters()} == {p.data_ptr() for p in network.parameters()}


def _owner(key: str) -> str:
    parts = key.split(".")
    return ".".join(parts[:2]) if parts[0] == "blocks" else parts[0]


def test_a_published_network_has_one_stage_per_block() -> None:
    """The stages are the stem, 2 + 2 + 2 + 2 blocks and the embedding."""
    stages = in_stages(IResNet(18, 16).eval(), torch.zeros(1, 3, 112, 112))
    assert len(stages) == 10
    assert [next(iter(stage.state_dict())).split(".")[0] for stage in stages][:2] == ["conv1", "layer1"]


def test_inputs_after_the_first_keep_their_defaults() -> None:
    """An input such as the mask of a vision transformer must stay None, and a switch must stay off."""

    class Switched(Network):
        def forward(self, x: Tensor, mask: Tensor | None = None, double: bool = False) -> Tensor:
            x = super().forward(x)
            x = x if mask is None else x * mask
            return 2 * x if double else x

    network, example = Switched().eval(), torch.rand(2, 3, 8, 8)
    stages = in_stages(network, example)
    assert len(stages) == 4
    assert {key.split(".", 1)[1] for key in stages.state_dict()} == set(network.state_dict())
    torch.testing.assert_close(stages(example), network(example), rtol=0, atol=0)


def test_a_network_that_cannot_be_traced_is_refused_and_a_sequence_is_not_traced() -> None:
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(InputError, match=r"cannot trace 'Branching'.*nn\.Sequential"):
        in_stages(Branching(), torch.zeros(1, 3))
    sequence = nn.Sequential(Branching(), nn.Linear(3, 2))
    assert in_stages(sequence, torch.zeros(1, 3)) is sequence
