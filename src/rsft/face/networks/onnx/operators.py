"""PyTorch counterparts of the ONNX operators.

A builder takes the attributes and the inputs of a node. Each input is a tensor: a constant, or the value computed for
an example batch of one picture. It is None where an optional input is absent. The builder returns a module, which is
called with the inputs that are not constants, or a function, which is called with all inputs.

Source: the ONNX operator specification, opset 21.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Attributes = Mapping[str, Any]
Inputs = Sequence[Tensor | None]
Made = nn.Module | Callable[..., Tensor]
Builder = Callable[[Attributes, Inputs], Made]


class UnsupportedError(Exception):
    """Raised for a form of an operator that has no counterpart here."""


class Apply(nn.Module):
    """Layer without weights that calls a function with fixed extra arguments.

    Args:
        function: Function of the input tensors and the extra arguments.
        *arguments: Positional arguments passed after the inputs.
        **options: Keyword arguments.
    """

    def __init__(self, function: Callable[..., Tensor], *arguments: Any, **options: Any) -> None:
        super().__init__()
        self.function, self.arguments, self.options = function, arguments, options

    def forward(self, *x: Tensor) -> Tensor:
        return self.function(*x, *self.arguments, **self.options)


def _conv(attributes: Attributes, inputs: Inputs) -> nn.Module:
    weight, bias = _given(inputs, 1), inputs[2] if len(inputs) > 2 else None
    if weight.ndim != 4:
        raise UnsupportedError(f"only 2-D convolutions are supported, got a weight of shape {tuple(weight.shape)}")
    groups, pads = attributes.get("group", 1), _pads(attributes)
    is_even = pads[0] == pads[1] and pads[2] == pads[3]
    layer = nn.Conv2d(
        weight.shape[1] * groups,
        weight.shape[0],
        (weight.shape[2], weight.shape[3]),
        stride=tuple(attributes.get("strides", (1, 1))),
        padding=(pads[2], pads[0]) if is_even else 0,
        dilation=tuple(attributes.get("dilations", (1, 1))),
        groups=groups,
        bias=bias is not None,
    )
    _fill(layer, weight=weight, bias=bias)
    return layer if is_even else nn.Sequential(nn.ConstantPad2d(pads, 0.0), layer)


def _pads(attributes: Attributes) -> tuple[int, int, int, int]:
    """Return the explicit pads of a node as (left, right, top, bottom)."""
    if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID") or attributes.get("ceil_mode", 0):
        raise UnsupportedError("auto_pad and ceil_mode are not supported: export with explicit pads")
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    return left, right, top, bottom


def _batch_norm(attributes: Attributes, inputs: Inputs) -> nn.Module:
    if attributes.get("training_mode", 0):
        raise UnsupportedError("it is in training mode: export the network in evaluation mode")
    scale, bias, mean, variance = (_given(inputs, index) for index in range(1, 5))
    kinds = {2: nn.BatchNorm1d, 4: nn.BatchNorm2d}
    x = _given(inputs, 0)
    if x.ndim not in kinds:
        raise UnsupportedError(f"its input has {x.ndim} dimensions; only 2 and 4 are supported")
    layer = kinds[x.ndim](len(scale), eps=attributes.get("epsilon", 1e-5))
    _fill(layer, weight=scale, bias=bias, running_mean=mean, running_var=variance)
    return layer.eval()


def _prelu(attributes: Attributes, inputs: Inputs) -> nn.Module:
    x, slope = _given(inputs, 0), _given(inputs, 1)
    if slope.numel() not in (1, x.shape[1]) or (slope.numel() > 1 and slope.shape[-(x.ndim - 1)] != slope.numel()):
        raise UnsupportedError(f"its slopes {tuple(slope.shape)} are not one per channel of {tuple(x.shape)}")
    layer = nn.PReLU(slope.numel())
    _fill(layer, weight=slope.flatten())
    return layer


def _gemm(attributes: Attributes, inputs: Inputs) -> nn.Module:
    if attributes.get("transA", 0):
        raise UnsupportedError("transA is not supported")
    weight = _given(inputs, 1) * attributes.get("alpha", 1.0)
    bias = inputs[2] if len(inputs) > 2 else None
    if bias is not None:
        bias = bias.flatten() * attributes.get("beta", 1.0)
    return _linear(weight if attributes.get("transB", 0) else weight.T, bias)


def _matmul(attributes: Attributes, inputs: Inputs) -> nn.Module:
    weight = _given(inputs, 1)
    if weight.ndim != 2:
        raise UnsupportedError(f"its second input must be a matrix, got shape {tuple(weight.shape)}")
    return _linear(weight.T, None)


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Build a linear layer from its weight (out, in) and bias."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    _fill(layer, weight=weight, bias=None if bias is None else bias.expand(len(weight)))
    return layer


def _clip(attributes: Attributes, inputs: Inputs) -> nn.Module:
    bounds = [attributes.get("min"), attributes.get("max")]  # attributes up to opset 10, inputs since
    for index in (1, 2):
        if len(inputs) > index and inputs[index] is not None:
            bounds[index - 1] = _given(inputs, index).item()
    return Apply(torch.clamp, *bounds)


def _pool(kind: type[nn.MaxPool2d] | type[nn.AvgPool2d]) -> Builder:
    """Return a builder of max or average pooling."""

    def build(attributes: Attributes, inputs: Inputs) -> nn.Module:
        kernel, strides = tuple(attributes["kernel_shape"]), tuple(attributes.get("strides", (1, 1)))
        pads = _pads(attributes)
        if kind is nn.MaxPool2d:
            layer = nn.MaxPool2d(kernel, strides, dilation=tuple(attributes.get("dilations", (1, 1))))
            return nn.Sequential(nn.ConstantPad2d(pads, -math.inf), layer) if any(pads) else layer
        counted = bool(attributes.get("count_include_pad", 0))
        if pads[0] != pads[1] or pads[2] != pads[3]:
            raise UnsupportedError(f"average pooling with uneven pads {pads} is not supported")
        return nn.AvgPool2d(kernel, strides, padding=(pads[2], pads[0]), count_include_pad=counted)

    return build


def _global_pool(attributes: Attributes, inputs: Inputs) -> nn.Module:
    return nn.AdaptiveAvgPool2d(1)


def _flatten(attributes: Attributes, inputs: Inputs) -> nn.Module:
    if attributes.get("axis", 1) != 1:
        raise UnsupportedError(f"axis {attributes['axis']} changes the batch dimension; only axis 1 is supported")
    return nn.Flatten(1)


def reshape(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Reshape each item of a batch (B, ...) to (B, *shape)."""
    return x.reshape(len(x), *shape)


def _reshape(attributes: Attributes, inputs: Inputs) -> nn.Module:
    x, shape = _given(inputs, 0), [int(size) for size in _given(inputs, 1)]
    if attributes.get("allowzero", 0) == 0:
        shape = [x.shape[index] if size == 0 else size for index, size in enumerate(shape)]
    # the example is a batch of one: the first size is the batch size if the other sizes hold exactly one item
    if math.prod(shape[1:]) != x[0].numel() and shape[0] != 1:
        raise UnsupportedError(f"the shape {shape} changes the batch dimension")
    return Apply(reshape, tuple(shape[1:]))


def _transpose(attributes: Attributes, inputs: Inputs) -> nn.Module:
    x = _given(inputs, 0)
    order = tuple(attributes.get("perm", reversed(range(x.ndim))))
    if order[0] != 0:
        raise UnsupportedError(f"the order {order} moves the batch dimension")
    return Apply(torch.permute, order)


def _axes(attributes: Attributes, inputs: Inputs) -> tuple[int, ...]:
    """Return the axes of a node: an attribute up to opset 12, an input since opset 13."""
    axes = inputs[1] if len(inputs) > 1 else None
    found = tuple(int(axis) for axis in (attributes.get("axes", ()) if axes is None else axes))
    dimensions = _given(inputs, 0).ndim
    if not found or any(axis % dimensions == 0 for axis in found):
        raise UnsupportedError(f"its axes must be stated and must not include the batch, got {found}")
    return found


def _squeeze(attributes: Attributes, inputs: Inputs) -> nn.Module:
    return Apply(torch.squeeze, _axes(attributes, inputs))


def unsqueeze(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Insert dimensions of size 1 at the given axes of the result."""
    shape = iter(x.shape)
    dimensions = x.ndim + len(axes)
    places = {axis % dimensions for axis in axes}
    return x.reshape([1 if index in places else next(shape) for index in range(dimensions)])


def _unsqueeze(attributes: Attributes, inputs: Inputs) -> nn.Module:
    return Apply(unsqueeze, _axes(attributes, inputs))


def _reduce(function: Callable[..., Tensor]) -> Builder:
    """Return a builder of a reduction over axes other than the batch."""

    def build(attributes: Attributes, inputs: Inputs) -> nn.Module:
        return Apply(function, _axes(attributes, inputs), bool(attributes.get("keepdims", 1)))

    return build


def norm(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    """Return the Euclidean norm along the given axes."""
    return torch.linalg.vector_norm(x, dim=axes, keepdim=keepdim)


def concatenate(*tensors: Tensor, axis: int) -> Tensor:
    """Concatenate tensors along an axis."""
    return torch.cat(tensors, axis)


def _concat(attributes: Attributes, inputs: Inputs) -> nn.Module:
    if attributes["axis"] % _given(inputs, 0).ndim == 0:
        raise UnsupportedError("it concatenates along the batch dimension")
    return Apply(concatenate, axis=attributes["axis"])


def _pad(attributes: Attributes, inputs: Inputs) -> nn.Module:
    if attributes.get("mode", b"constant") != b"constant" or (len(inputs) > 3 and inputs[3] is not None):
        raise UnsupportedError("only constant padding without an axes input is supported")
    pads = attributes.get("pads") if len(inputs) < 2 else [int(size) for size in _given(inputs, 1)]
    value = attributes.get("value", 0.0) if len(inputs) < 3 or inputs[2] is None else _given(inputs, 2).item()
    if pads is None:
        raise UnsupportedError("its pads are missing")
    dimensions = len(pads) // 2
    if pads[0] or pads[dimensions]:
        raise UnsupportedError("it pads the batch dimension")
    each = [size for axis in reversed(range(dimensions)) for size in (pads[axis], pads[axis + dimensions])]
    return Apply(F.pad, tuple(each), "constant", value)


def _layer(make: Callable[[Attributes], nn.Module]) -> Builder:
    """Return a builder that needs the attributes only."""
    return lambda attributes, inputs: make(attributes)


def _function(function: Callable[..., Tensor]) -> Builder:
    """Return a builder that always returns this function."""
    return lambda attributes, inputs: function


def _given(inputs: Inputs, index: int) -> Tensor:
    """Return an input that must be present."""
    value = inputs[index]
    if value is None:
        raise UnsupportedError(f"its input {index} is missing")
    return value


def _fill(layer: nn.Module, **tensors: Tensor | None) -> None:
    """Copy the tensors that are not None into a layer's state as float32."""
    state = {name: tensor.float() for name, tensor in tensors.items() if tensor is not None}
    layer.load_state_dict(state, strict=False)


OPERATORS: dict[str, Builder] = {
    "Add": _function(torch.add),
    "AveragePool": _pool(nn.AvgPool2d),
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Div": _function(torch.div),
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_pool,
    "LeakyRelu": _layer(lambda a: nn.LeakyReLU(a.get("alpha", 0.01))),
    "MatMul": _matmul,
    "MaxPool": _pool(nn.MaxPool2d),
    "Mul": _function(torch.mul),
    "PRelu": _prelu,
    "Pad": _pad,
    "ReduceL2": _reduce(norm),
    "ReduceMean": _reduce(torch.mean),
    "Relu": _layer(lambda a: nn.ReLU()),
    "Reshape": _reshape,
    "Sigmoid": _layer(lambda a: nn.Sigmoid()),
    "Squeeze": _squeeze,
    "Sub": _function(torch.sub),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
# Indices of the inputs that become trainable parameters; constants at other inputs are not trained.
PARAMETERS = {"Conv": (1, 2), "BatchNormalization": (1, 2), "PRelu": (1,), "Gemm": (1, 2), "MatMul": (1,)}
# Indices of the inputs that must be constants.
FIXED = {
    "Conv": (1, 2),
    "BatchNormalization": (1, 2, 3, 4),
    "PRelu": (1,),
    "Gemm": (1, 2),
    "MatMul": (1,),
    "Clip": (1, 2),
    "Reshape": (1,),
    "Squeeze": (1,),
    "Unsqueeze": (1,),
    "ReduceL2": (1,),
    "ReduceMean": (1,),
    "Pad": (1, 2, 3),
}
