"""MobileFaceNet with the parameter names of insightface's `arcface_torch`.

Source: S. Chen et al., "MobileFaceNets", 2018, table 1, with twice the channels ("mbf").
"""

from torch import Tensor, nn

BLOCKS = (4, 6, 2)
SCALE = 2
FINAL_SIDE = 7


class Conv(nn.Module):
    """Convolution, batch normalisation and, unless `linear`, PReLU."""

    def __init__(
        self, in_channels: int, channels: int, kernel: int = 1, stride: int = 1, groups: int = 1, linear: bool = False
    ) -> None:
        super().__init__()
        padding = 1 if kernel == 3 else 0
        parts = [
            nn.Conv2d(in_channels, channels, kernel, stride=stride, padding=padding, groups=groups, bias=False),
            nn.BatchNorm2d(channels),
        ]
        self.layers = nn.Sequential(*parts, *([] if linear else [nn.PReLU(channels)]))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class DepthWise(nn.Module):
    """Pointwise, depthwise and linear pointwise convolution; adds the input if `residual`."""

    def __init__(self, in_channels: int, channels: int, inner: int, *, stride: int, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        self.layers = nn.Sequential(
            Conv(in_channels, inner),
            Conv(inner, inner, 3, stride, groups=inner),
            Conv(inner, channels, linear=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        return x + y if self.residual else y


class Residual(nn.Module):
    """Sequence of residual blocks with the same number of channels."""

    def __init__(self, channels: int, number: int, inner: int) -> None:
        super().__init__()
        blocks = [DepthWise(channels, channels, inner, stride=1, residual=True) for _ in range(number)]
        self.layers = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Embedding(nn.Module):
    """Global depthwise convolution and a linear map: (B, 512, 7, 7) -> (B, features)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Conv(512, 512, FINAL_SIDE, groups=512, linear=True),
            nn.Flatten(),
            nn.Linear(512, features, bias=False),
            nn.BatchNorm1d(features),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class MobileFaceNet(nn.Module):
    """Network from (B, 3, 112, 112) normalised chips to (B, features) embeddings, which are not normalised.

    Args:
        features: Width of the embedding.
    """

    def __init__(self, features: int = 512) -> None:
        super().__init__()
        narrow, wide = 64 * SCALE, 128 * SCALE
        self.layers = nn.Sequential(
            Conv(3, narrow, 3, 2),
            Conv(narrow, narrow, 3, groups=64),
            DepthWise(narrow, narrow, 128, stride=2, residual=False),
            Residual(narrow, BLOCKS[0], 128),
            DepthWise(narrow, wide, 256, stride=2, residual=False),
            Residual(wide, BLOCKS[1], 256),
            DepthWise(wide, wide, 512, stride=2, residual=False),
            Residual(wide, BLOCKS[2], 256),
        )
        self.conv_sep = Conv(wide, 512)
        self.features = Embedding(features)

    def forward(self, x: Tensor) -> Tensor:
        return self.features(self.conv_sep(self.layers(x)))
