"""The residual network of ArcFace, with the parameter names of insightface's `arcface_torch`.

Source: J. Deng et al., "ArcFace", 2019, section 3.1; I. C. Duta et al., "Improved residual networks", 2020.
"""

import torch
from torch import Tensor, nn

LAYERS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3)}
WIDTHS = (64, 128, 256, 512)
FINAL_SIDE = 7  # side of the last feature map for chips of 112 px


class Block(nn.Module):
    """Residual block: batch norm, convolution, batch norm, PReLU, strided convolution and batch norm, plus shortcut."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.prelu = nn.PReLU(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.downsample = (
            nn.Sequential(nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels))
            if stride > 1
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return self.bn3(self.conv2(y)) + self.downsample(x)


class IResNet(nn.Module):
    """Network from (B, 3, 112, 112) normalised chips to (B, features) embeddings, which are not normalised.

    Args:
        depth: Number of layers: 18, 34, 50 or 100.
        features: Width of the embedding.
    """

    def __init__(self, depth: int, features: int = 512) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.prelu = nn.PReLU(WIDTHS[0])
        layers, in_channels = [], WIDTHS[0]
        for channels, blocks in zip(WIDTHS, LAYERS[depth], strict=True):
            rest = [Block(channels, channels, 1) for _ in range(blocks - 1)]
            layers.append(nn.Sequential(Block(in_channels, channels, 2), *rest))
            in_channels = channels
        self.layer1, self.layer2, self.layer3, self.layer4 = layers
        self.bn2 = nn.BatchNorm2d(in_channels)
        self.fc = nn.Linear(in_channels * FINAL_SIDE**2, features)
        self.features = nn.BatchNorm1d(features)

    def forward(self, x: Tensor) -> Tensor:
        x = self.prelu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.features(self.fc(torch.flatten(self.bn2(x), 1)))
