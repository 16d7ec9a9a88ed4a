"""Inception-ResNet v1 with the parameter names of facenet-pytorch's published weights.

Source: C. Szegedy et al., "Inception-v4, Inception-ResNet and the impact of residual connections on learning", 2016, as
implemented in D. Sandberg's facenet.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Size = int | tuple[int, int]


class Conv(nn.Module):
    """Convolution, batch normalisation and ReLU."""

    def __init__(self, in_channels: int, channels: int, kernel: Size, stride: int = 1, padding: Size = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel, stride=stride, padding=padding, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class Residual(nn.Module):
    """Parallel branches that are concatenated, mixed by a 1 x 1 convolution, scaled and added to the input."""

    def __init__(self, channels: int, scale: float, *branches: list[Conv], relu: bool = True) -> None:
        super().__init__()
        self.scale, self.relu = scale, relu
        for index, branch in enumerate(branches):
            self.add_module(f"branch{index}", nn.Sequential(*branch) if len(branch) > 1 else branch[0])
        joined = sum(branch[-1].conv.out_channels for branch in branches)
        self.conv2d = nn.Conv2d(joined, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        branches = [module(x) for name, module in self.named_children() if name != "conv2d"]
        y = self.conv2d(torch.cat(branches, 1)) * self.scale + x
        return F.relu(y) if self.relu else y


class Reduction(nn.Module):
    """Parallel branches and a max pooling, concatenated; halves height and width."""

    def __init__(self, *branches: list[Conv]) -> None:
        super().__init__()
        for index, branch in enumerate(branches):
            self.add_module(f"branch{index}", nn.Sequential(*branch) if len(branch) > 1 else branch[0])
        self.pool = nn.MaxPool2d(3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([module(x) for module in self.children()], 1)


def _block35() -> Residual:
    """Build a residual block for maps of 256 channels."""
    return Residual(
        256,
        0.17,
        [Conv(256, 32, 1)],
        [Conv(256, 32, 1), Conv(32, 32, 3, padding=1)],
        [Conv(256, 32, 1), Conv(32, 32, 3, padding=1), Conv(32, 32, 3, padding=1)],
    )


def _block17() -> Residual:
    """Build a residual block for maps of 896 channels."""
    row, column = Conv(128, 128, (1, 7), padding=(0, 3)), Conv(128, 128, (7, 1), padding=(3, 0))
    return Residual(896, 0.10, [Conv(896, 128, 1)], [Conv(896, 128, 1), row, column])


def _block8(scale: float, relu: bool) -> Residual:
    """Build a residual block for maps of 1792 channels."""
    row, column = Conv(192, 192, (1, 3), padding=(0, 1)), Conv(192, 192, (3, 1), padding=(1, 0))
    return Residual(1792, scale, [Conv(1792, 192, 1)], [Conv(1792, 192, 1), row, column], relu=relu)


class InceptionResnetV1(nn.Module):
    """Network from (B, 3, 160, 160) normalised RGB chips to (B, 512) embeddings of unit length."""

    def __init__(self) -> None:
        super().__init__()
        self.conv2d_1a = Conv(3, 32, 3, 2)
        self.conv2d_2a = Conv(32, 32, 3)
        self.conv2d_2b = Conv(32, 64, 3, padding=1)
        self.maxpool_3a = nn.MaxPool2d(3, stride=2)
        self.conv2d_3b = Conv(64, 80, 1)
        self.conv2d_4a = Conv(80, 192, 3)
        self.conv2d_4b = Conv(192, 256, 3, 2)
        self.repeat_1 = nn.Sequential(*(_block35() for _ in range(5)))
        self.mixed_6a = Reduction(
            [Conv(256, 384, 3, 2)], [Conv(256, 192, 1), Conv(192, 192, 3, padding=1), Conv(192, 256, 3, 2)]
        )
        self.repeat_2 = nn.Sequential(*(_block17() for _ in range(10)))
        self.mixed_7a = Reduction(
            [Conv(896, 256, 1), Conv(256, 384, 3, 2)],
            [Conv(896, 256, 1), Conv(256, 256, 3, 2)],
            [Conv(896, 256, 1), Conv(256, 256, 3, padding=1), Conv(256, 256, 3, 2)],
        )
        self.repeat_3 = nn.Sequential(*(_block8(0.20, True) for _ in range(5)))
        self.block8 = _block8(1.0, False)
        self.last_linear = nn.Linear(1792, 512, bias=False)
        self.last_bn = nn.BatchNorm1d(512, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool_3a(self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(x))))
        x = self.repeat_1(self.conv2d_4b(self.conv2d_4a(self.conv2d_3b(x))))
        x = self.repeat_3(self.mixed_7a(self.repeat_2(self.mixed_6a(x))))
        x = self.last_linear(self.block8(x).mean((2, 3)))
        return F.normalize(self.last_bn(x), dim=1)
