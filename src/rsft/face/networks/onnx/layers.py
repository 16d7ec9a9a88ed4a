"""Operators with weights, normalisations and pools of ONNX as PyTorch modules."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsft.face.networks.onnx.operation import Made, Operation, UnsupportedError


class Apply(nn.Module):
    """Layer without weights that calls a function with fixed extra arguments.

    Args:
        function: Function of the input tensors and the extra arguments.
        *arguments: Positional arguments passed after the inputs.
        **options: Keyword arguments.
    """

    def __init__(self, function: Any, *arguments: Any, **options: Any) -> None:
        super().__init__()
        self.function, self.arguments, self.options = function, arguments, options

    def forward(self, *x: Tensor) -> Tensor:
        return self.function(*x, *self.arguments, **self.options)


def fill(layer: nn.Module, **tensors: Tensor | None) -> None:
    """Copy the tensors that are not None into a layer's state as float32."""
    state = {name: tensor.float() for name, tensor in tensors.items() if tensor is not None}
    layer.load_state_dict(state, strict=False)


def conv(op: Operation) -> nn.Module:
    """Convolution in two dimensions."""
    weight, bias = op.given(1), op.input(2)
    if weight.ndim != 4:
        raise UnsupportedError(f"only 2-D convolutions are supported, got a weight of shape {tuple(weight.shape)}")
    _same(op.get("kernel_shape"), weight.shape[2:], "kernel_shape")
    kernel = (weight.shape[2], weight.shape[3])
    strides, dilations = _pair(op.get("strides")), _pair(op.get("dilations"))
    groups, pads = op.get("group", 1), _pads(op, kernel, strides, dilations)
    is_even = pads[0] == pads[1] and pads[2] == pads[3]
    layer = nn.Conv2d(
        weight.shape[1] * groups,
        weight.shape[0],
        kernel,
        stride=strides,
        padding=(pads[2], pads[0]) if is_even else 0,
        dilation=dilations,
        groups=groups,
        bias=bias is not None,
    )
    fill(layer, weight=weight, bias=bias)
    return layer if is_even else nn.Sequential(nn.ConstantPad2d(pads, 0.0), layer)


def _same(stated: Any, found: Any, name: str) -> None:
    """Raise an error if an attribute is stated and contradicts the weights."""
    if stated is not None and tuple(stated) != tuple(found):
        raise UnsupportedError(f"its {name} {tuple(stated)} contradicts its weights {tuple(found)}")


def _pair(values: Any) -> tuple[int, int]:
    """Return two whole numbers; ones if nothing is stated."""
    first, second = values or (1, 1)
    return int(first), int(second)


def _pads(
    op: Operation, kernel: tuple[int, int], strides: tuple[int, int], dilations: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Return the pads of a convolution or pool as (left, right, top, bottom)."""
    automatic = op.get("auto_pad", "NOTSET")
    if automatic == "VALID":
        return 0, 0, 0, 0
    if automatic == "NOTSET":
        top, left, bottom, right = op.get("pads") or (0, 0, 0, 0)
        return left, right, top, bottom
    ends: list[tuple[int, int]] = []
    for size, width, stride, dilation in zip(op.given(0).shape[2:], kernel, strides, dilations, strict=True):
        total = max((math.ceil(size / stride) - 1) * stride + dilation * (width - 1) + 1 - size, 0)
        less, more = total // 2, total - total // 2
        ends.append((less, more) if automatic == "SAME_UPPER" else (more, less))
    return *ends[1], *ends[0]


def pool(kind: type[nn.MaxPool2d] | type[nn.AvgPool2d]) -> Any:
    """Return a builder of max or average pooling."""

    def build(op: Operation) -> nn.Module:
        kernel, strides = _pair(op.get("kernel_shape")), _pair(op.get("strides"))
        dilations, rounds_up = _pair(op.get("dilations")), bool(op.get("ceil_mode", 0))
        pads = _pads(op, kernel, strides, dilations)
        is_even = pads[0] == pads[1] and pads[2] == pads[3]
        if not is_even and rounds_up:
            raise UnsupportedError(f"ceil_mode with uneven pads {pads} is not supported")
        if kind is nn.MaxPool2d:
            op.get("storage_order")
            inside = is_even and 2 * pads[2] <= kernel[0] and 2 * pads[0] <= kernel[1]
            padding = (pads[2], pads[0]) if inside else 0
            layer = nn.MaxPool2d(kernel, strides, padding, dilations, ceil_mode=rounds_up)
            return layer if inside else nn.Sequential(nn.ConstantPad2d(pads, -math.inf), layer)
        counted = bool(op.get("count_include_pad", 0))
        if dilations != (1, 1) or not (is_even or counted):
            raise UnsupportedError(f"average pooling with uneven pads {pads} or dilations {dilations} is not supported")
        if not is_even:
            return nn.Sequential(nn.ConstantPad2d(pads, 0.0), nn.AvgPool2d(kernel, strides))
        return nn.AvgPool2d(kernel, strides, (pads[2], pads[0]), rounds_up, counted)

    return build


def batch_norm(op: Operation) -> nn.Module:
    """Batch normalisation with fixed statistics."""
    if op.get("training_mode", 0):
        raise UnsupportedError("it is in training mode: export the network in evaluation mode")
    op.get("momentum"), op.get("consumed_inputs")
    x, (scale, bias, mean, variance) = op.given(0), (op.given(index) for index in range(1, 5))
    if not op.get("spatial", 1) and x.ndim > 2:
        raise UnsupportedError("spatial = 0 with maps is not supported")
    kinds = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}
    if x.ndim not in kinds:
        raise UnsupportedError(f"its input has {x.ndim} dimensions; only 2 to 4 are supported")
    layer = kinds[x.ndim](len(scale), eps=op.get("epsilon", 1e-5))
    fill(layer, weight=scale, bias=bias, running_mean=mean, running_var=variance)
    return layer.eval()


def layer_norm(op: Operation) -> nn.Module:
    """Normalisation over the last dimensions."""
    x, scale = op.given(0), op.given(1)
    op.get("stash_type")
    shape = list(x.shape[op.get("axis", -1) :])
    if list(scale.shape) != shape:
        raise UnsupportedError(f"its scale {tuple(scale.shape)} must have the shape {tuple(shape)} that it normalises")
    bias = op.input(2)
    layer = nn.LayerNorm(shape, eps=op.get("epsilon", 1e-5), bias=bias is not None)
    fill(layer, weight=scale, bias=bias)
    return layer


def group_norm(op: Operation) -> nn.Module:
    """Normalisation over groups of channels; opset 18 has a scale for each group, opset 21 for each channel."""
    x, groups = op.given(0), op.get("num_groups")
    op.get("stash_type")
    times = x.shape[1] // groups if op.since < 21 else 1
    layer = nn.GroupNorm(groups, x.shape[1], eps=op.get("epsilon", 1e-5))
    fill(layer, weight=op.given(1).repeat_interleave(times), bias=op.given(2).repeat_interleave(times))
    return layer


def instance_norm(op: Operation) -> nn.Module:
    """Normalisation of each channel of each picture."""
    channels = len(op.given(1))
    layer = nn.GroupNorm(channels, channels, eps=op.get("epsilon", 1e-5))
    fill(layer, weight=op.given(1), bias=op.given(2))
    return layer


def prelu(op: Operation) -> nn.Module:
    """Leaky rectifier with one slope, or one for each channel."""
    x, slope = op.given(0), op.given(1)
    shape = (1,) * (x.ndim - slope.ndim) + tuple(slope.shape)
    if slope.numel() != 1 and (slope.ndim > x.ndim or shape[1:] != (x.shape[1], *(1,) * (x.ndim - 2))):
        raise UnsupportedError(f"its slopes {tuple(slope.shape)} are not one per channel of {tuple(x.shape)}")
    layer = nn.PReLU(slope.numel())
    fill(layer, weight=slope.flatten())
    return layer


def gemm(op: Operation) -> nn.Module:
    """Matrix product and bias."""
    if op.get("transA", 0):
        raise UnsupportedError("transA is not supported")
    weight, bias = op.given(1) * op.get("alpha", 1.0), op.input(2)
    weight = weight if op.get("transB", 0) else weight.T
    if bias is not None:
        bias = bias.flatten() * op.get("beta", 1.0)
    return _linear(weight, bias)


def matmul(op: Operation) -> Made:
    """Matrix product: a linear layer where the second factor is a constant matrix."""
    if op.batch[1] is None and op.given(1).ndim == 2:
        return _linear(op.given(1).T, None)
    return torch.matmul


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Build a linear layer from its weight (out, in) and bias."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    fill(layer, weight=weight, bias=None if bias is None else bias.expand(len(weight)))
    return layer


def global_average(op: Operation) -> nn.Module:
    """Mean over each map."""
    return nn.AdaptiveAvgPool2d(1)


def global_max(op: Operation) -> nn.Module:
    """Largest value of each map."""
    return nn.AdaptiveMaxPool2d(1)


def resize(op: Operation) -> nn.Module:
    """Resampling of maps, for the forms that PyTorch has."""
    x = op.given(0)
    mode, sizes = op.get("mode", "nearest"), op.input(3) if op.kind == "Resize" else None
    scales = op.input(2 if op.kind == "Resize" and op.since >= 11 else 1)
    if scales is None or not scales.numel():
        scales = None if op.get("scales") is None else torch.tensor(op.get("scales"))
    if sizes is not None and sizes.numel() == 4:
        size = [int(value) for value in sizes]
    elif scales is not None and scales.numel() == 4:
        size = [math.floor(length * float(scale)) for length, scale in zip(x.shape, scales, strict=True)]
    else:
        raise UnsupportedError("its sizes or scales must be four constants")
    if size[0] != x.shape[0] or size[1] != x.shape[1]:
        raise UnsupportedError("it resizes another dimension than height and width")
    whole = all(after % before == 0 for before, after in zip(x.shape[2:], size[2:], strict=True))
    place = op.get("coordinate_transformation_mode", "half_pixel" if op.since >= 11 else "asymmetric")
    op.get("cubic_coeff_a"), op.get("extrapolation_value")
    if mode == "nearest" and whole and (place != "asymmetric" or op.get("nearest_mode", "floor") == "floor"):
        op.get("nearest_mode")
        return Apply(F.interpolate, size=size[2:], mode="nearest")
    if mode == "linear" and place in ("half_pixel", "pytorch_half_pixel", "align_corners") and not op.get("antialias"):
        op.get("nearest_mode")
        return Apply(F.interpolate, size=size[2:], mode="bilinear", align_corners=place == "align_corners")
    raise UnsupportedError(f"mode {mode} with coordinates {place} from {tuple(x.shape)} to {size} is not supported")


class GridSample(nn.Module):
    """Resampling of maps (B, C, H, W) at the places of a grid (B, h, w, 2), between -1 and 1.

    Args:
        grid: The grid (1, h, w, 2) of every map; None if it is computed.
        **options: Keyword arguments of `torch.nn.functional.grid_sample`.
    """

    grid: Tensor | None

    def __init__(self, grid: Tensor | None, **options: Any) -> None:
        super().__init__()
        self.register_buffer("grid", grid, persistent=False)
        self.options = options

    def forward(self, x: Tensor, grid: Tensor | None = None) -> Tensor:
        if self.grid is not None:
            grid = self.grid.expand(x.shape[0], -1, -1, -1)
        assert grid is not None
        return F.grid_sample(x, grid, **self.options)


def grid_sample(op: Operation) -> nn.Module:
    """Resampling of maps at the places of a grid, computed or the same for every map."""
    mode, grid = str(op.get("mode", "linear")), op.given(1)
    constant = op.batch[1] is None
    if op.given(0).ndim != 4 or op.batch[0] is None or (constant and len(grid) != 1):
        raise UnsupportedError("it needs maps of pictures, and a constant grid must be that of one picture")
    return GridSample(
        grid.float() if constant else None,
        mode={"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode),
        padding_mode=op.get("padding_mode", "zeros"),
        align_corners=bool(op.get("align_corners", 0)),
    )
