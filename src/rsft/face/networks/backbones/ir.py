"""The residual network of AdaFace and CVLface, with the parameter names of their checkpoints.

It differs from `IResNet` in two points. Where a block keeps the number of channels, its shortcut subsamples pixels
instead of convolving, and the normalisation of the embedding has no scale and shift.

Source: M. Kim et al., "AdaFace", 2022, and its code.
"""

from torch import Tensor, nn

from rsft.face.networks.backbones.iresnet import FINAL_SIDE, LAYERS, WIDTHS


class Block(nn.Module):
    """Residual block: two convolutions with batch normalisation and PReLU, plus the shortcut."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        if in_channels != channels:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.Conv2d(in_channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.PReLU(channels),
            nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.res_layer(x) + self.shortcut_layer(x)


class IR(nn.Module):
    """Network from (B, 3, 112, 112) normalised chips to (B, features) embeddings, which are not normalised.

    Args:
        depth: Number of layers: 18, 34, 50 or 100 (called "ir_101" in checkpoints).
        features: Width of the embedding.
    """

    def __init__(self, depth: int, features: int = 512) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False), nn.BatchNorm2d(WIDTHS[0]), nn.PReLU(WIDTHS[0])
        )
        blocks, in_channels = [], WIDTHS[0]
        for channels, number in zip(WIDTHS, LAYERS[depth], strict=True):
            blocks += [Block(in_channels, channels, 2), *(Block(channels, channels, 1) for _ in range(number - 1))]
            in_channels = channels
        self.body = nn.Sequential(*blocks)
        # the dropout has no weights, but it counts in the names of the layers after it
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.Dropout(0.4),
            nn.Flatten(),
            nn.Linear(in_channels * FINAL_SIDE**2, features),
            nn.BatchNorm1d(features, affine=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.output_layer(self.body(self.input_layer(x)))
