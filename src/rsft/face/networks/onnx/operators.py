"""The ONNX operators that have a counterpart in PyTorch.

A builder takes the `Operation` and returns a module, which is called with the inputs that are not constants, or a
function, which is called with all inputs. Defaults and forms are those of the opset that the file states.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from rsft.face.networks.onnx import layers, shapes
from rsft.face.networks.onnx.layers import Apply
from rsft.face.networks.onnx.operation import Made, Operation

Builder = Callable[[Operation], Made]


def _function(function: Callable[..., Tensor]) -> Builder:
    """Return a builder that always returns this function."""
    return lambda op: function


def total(*tensors: Tensor) -> Tensor:
    """Return the sum of the tensors."""
    result = tensors[0]
    for tensor in tensors[1:]:
        result = result + tensor
    return result


def smallest(*tensors: Tensor) -> Tensor:
    """Return the elementwise minimum of the tensors."""
    result = tensors[0]
    for tensor in tensors[1:]:
        result = torch.minimum(result, tensor)
    return result


def largest(*tensors: Tensor) -> Tensor:
    """Return the elementwise maximum of the tensors."""
    result = tensors[0]
    for tensor in tensors[1:]:
        result = torch.maximum(result, tensor)
    return result


def hard_sigmoid(x: Tensor, slope: float, middle: float) -> Tensor:
    """Return the line `slope * x + middle`, cut at 0 and 1."""
    return (x * slope + middle).clamp(0, 1)


def _clip(op: Operation) -> nn.Module:
    bounds = [op.get("min"), op.get("max")]  # attributes up to opset 10, inputs since
    for index in (1, 2):
        value = op.input(index)
        if value is not None:
            bounds[index - 1] = value.item()
    return Apply(torch.clamp, *bounds) if bounds != [None, None] else nn.Identity()


def _gelu(op: Operation) -> nn.Module:
    return nn.GELU(op.get("approximate", "none"))


OPERATORS: dict[str, Builder] = {
    "Abs": _function(torch.abs),
    "Add": _function(torch.add),
    "AveragePool": layers.pool(nn.AvgPool2d),
    "BatchNormalization": layers.batch_norm,
    "Clip": _clip,
    "Concat": shapes.concat,
    "Conv": layers.conv,
    "Div": _function(torch.div),
    "Elu": lambda op: nn.ELU(op.get("alpha", 1.0)),
    "Erf": _function(torch.erf),
    "Exp": _function(torch.exp),
    "Expand": shapes.expand,
    "Flatten": shapes.flatten,
    "Gather": shapes.gather,
    "Gelu": _gelu,
    "Gemm": layers.gemm,
    "GlobalAveragePool": layers.global_average,
    "GlobalMaxPool": layers.global_max,
    "GridSample": layers.grid_sample,
    "GroupNormalization": layers.group_norm,
    "HardSigmoid": lambda op: Apply(hard_sigmoid, op.get("alpha", 0.2), op.get("beta", 0.5)),
    "HardSwish": lambda op: nn.Hardswish(),
    "InstanceNormalization": layers.instance_norm,
    "LayerNormalization": layers.layer_norm,
    "LeakyRelu": lambda op: nn.LeakyReLU(op.get("alpha", 0.01)),
    "Log": _function(torch.log),
    "LpNormalization": shapes.lp_normalised,
    "MatMul": layers.matmul,
    "Max": _function(largest),
    "MaxPool": layers.pool(nn.MaxPool2d),
    "Min": _function(smallest),
    "Mul": _function(torch.mul),
    "Neg": _function(torch.neg),
    "PRelu": layers.prelu,
    "Pad": shapes.pad,
    "Pow": _function(torch.pow),
    "Reciprocal": _function(torch.reciprocal),
    "ReduceL1": shapes.reduce(shapes.absolute_sum),
    "ReduceL2": shapes.reduce(shapes.norm),
    "ReduceMax": shapes.reduce(torch.amax),
    "ReduceMean": shapes.reduce(torch.mean),
    "ReduceMin": shapes.reduce(torch.amin),
    "ReduceSum": shapes.reduce(torch.sum),
    "ReduceSumSquare": shapes.reduce(shapes.square_sum),
    "Relu": lambda op: nn.ReLU(),
    "Reshape": shapes.reshape,
    "Resize": layers.resize,
    "Selu": lambda op: nn.SELU(),
    "Sigmoid": lambda op: nn.Sigmoid(),
    "Slice": shapes.cut,
    "Softmax": shapes.softmax,
    "Softplus": lambda op: nn.Softplus(threshold=1e9),
    "Split": shapes.split,
    "Sqrt": _function(torch.sqrt),
    "Squeeze": shapes.squeeze,
    "Sub": _function(torch.sub),
    "Sum": _function(total),
    "Tanh": lambda op: nn.Tanh(),
    "Transpose": shapes.transpose,
    "Unsqueeze": shapes.unsqueeze,
    "Upsample": layers.resize,
    "Where": _function(torch.where),
}
# Indices of the inputs that become trainable parameters; constants at other inputs are not trained.
PARAMETERS = {
    "BatchNormalization": (1, 2),
    "Concat": range(2**31),
    "Conv": (1, 2),
    "Gemm": (1, 2),
    "GroupNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "MatMul": (1,),
    "PRelu": (1,),
}
# Indices of the inputs that must be constants.
FIXED = {
    "BatchNormalization": (1, 2, 3, 4),
    "Clip": (1, 2),
    "Conv": (1, 2),
    "Expand": (1,),
    "Gather": (1,),
    "Gemm": (1, 2),
    "GroupNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "PRelu": (1,),
    "Pad": (1, 2, 3),
    "ReduceL1": (1,),
    "ReduceL2": (1,),
    "ReduceMax": (1,),
    "ReduceMean": (1,),
    "ReduceMin": (1,),
    "ReduceSum": (1,),
    "ReduceSumSquare": (1,),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
}
# Operators that only move, leave out or join pixels, or take their mean or largest: what follows a normalisation.
MOVING = {
    "AveragePool",
    "Concat",
    "Flatten",
    "Gather",
    "GlobalAveragePool",
    "GridSample",
    "MaxPool",
    "Pad",
    "Reshape",
    "Resize",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
    "Upsample",
}
