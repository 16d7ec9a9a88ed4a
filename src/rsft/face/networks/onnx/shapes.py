"""Operators of ONNX that move, cut or join values, as PyTorch modules that keep the pictures of a batch apart."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsft.face.networks.onnx.layers import Apply
from rsft.face.networks.onnx.operation import Operation, UnsupportedError


class Take(nn.Module):
    """Entries of one dimension at fixed indices, as `torch.index_select`.

    Args:
        axis: The dimension.
        indices: (N,) indices, not negative.
    """

    indices: Tensor

    def __init__(self, axis: int, indices: Tensor) -> None:
        super().__init__()
        self.axis = axis
        self.register_buffer("indices", indices.long(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x.index_select(self.axis, self.indices)


def _own_axis(op: Operation, axis: int, doing: str) -> int:
    """Return an axis of the first input as a number from 0, after checking that it is not that of the pictures."""
    dimensions = op.given(0).ndim
    if not -dimensions <= axis < dimensions:
        raise UnsupportedError(f"its axis {axis} is not in 0..{dimensions - 1}")
    if axis % dimensions == op.first_batch():
        raise UnsupportedError(f"it {doing} the batch dimension")
    return axis % dimensions


def reshape(op: Operation) -> nn.Module:
    """New shape for each picture."""
    x, shape = op.given(0), [int(size) for size in op.given(1)]
    if op.get("allowzero", 0) == 0:
        shape = [x.shape[index] if size == 0 else size for index, size in enumerate(shape)]
    return _reshaped(x, op.first_batch(), shape)


def flatten(op: Operation) -> nn.Module:
    """Matrix with the dimensions from an axis on in its rows."""
    x, axis = op.given(0), op.get("axis", 1)
    axis += x.ndim if axis < 0 else 0
    return _reshaped(x, op.first_batch(), [math.prod(x.shape[:axis]), math.prod(x.shape[axis:])])


def _reshaped(x: Tensor, batch: int, shape: list[int]) -> nn.Module:
    """Reshape values, given the shape for one picture; its dimension for the pictures is found, whatever it says.

    The values before the dimension of the pictures are as many after as before, which says where it is.
    """
    shape = list(x.reshape(shape).shape)
    before = math.prod(x.shape[:batch])
    places = [index for index in range(len(shape)) if math.prod(shape[:index]) == before]
    if not places:
        raise UnsupportedError(f"the shape {shape} changes the batch dimension")
    place = next((index for index in places if shape[index] == 1), places[0])
    return Apply(torch.reshape, (*shape[:place], -1, *shape[place + 1 :]))


def transpose(op: Operation) -> nn.Module:
    """Dimensions in another order."""
    return Apply(torch.permute, tuple(op.get("perm", range(op.given(0).ndim - 1, -1, -1))))


def squeeze(op: Operation) -> nn.Module:
    """Dimensions of size 1 left out."""
    axes = op.numbers("axes", 1)
    if not axes:
        raise UnsupportedError("its axes must be stated")
    return Apply(torch.squeeze, tuple(_own_axis(op, axis, "leaves out") for axis in axes))


def unsqueezed(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Insert dimensions of size 1 at the given axes of the result."""
    for axis in axes:
        x = x.unsqueeze(axis)
    return x


def unsqueeze(op: Operation) -> nn.Module:
    """Dimensions of size 1 put in."""
    axes = op.numbers("axes", 1) or []
    dimensions = op.given(0).ndim + len(axes)
    if not axes or not all(-dimensions <= axis < dimensions for axis in axes):
        raise UnsupportedError(f"its axes must be stated and lie within {dimensions} dimensions, got {axes}")
    return Apply(unsqueezed, tuple(sorted(axis % dimensions for axis in axes)))


def norm(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    """Return the Euclidean norm along the given axes."""
    return torch.linalg.vector_norm(x, dim=axes, keepdim=keepdim)


def absolute_sum(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    """Return the sum of absolute values along the given axes."""
    return x.abs().sum(axes, keepdim)


def square_sum(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    """Return the sum of squares along the given axes."""
    return x.square().sum(axes, keepdim)


def reduce(function: Any) -> Any:
    """Return a builder of a reduction over axes other than the batch."""

    def build(op: Operation) -> nn.Module:
        axes = op.numbers("axes", 1)
        if not axes and op.get("noop_with_empty_axes", 0):
            raise UnsupportedError("without axes it is not supported")
        every = axes or range(op.given(0).ndim)
        return Apply(function, tuple(_own_axis(op, axis, "reduces") for axis in every), bool(op.get("keepdims", 1)))

    return build


def lp_normalised(op: Operation) -> nn.Module:
    """Division by the norm along an axis."""
    power = op.get("p", 2)
    if power not in (1, 2):
        raise UnsupportedError(f"p = {power} is not supported")
    return Apply(F.normalize, float(power), _own_axis(op, op.get("axis", -1), "normalises along"), eps=0.0)


def softmax_from(x: Tensor, axis: int) -> Tensor:
    """Softmax over all dimensions from an axis on together, as before opset 13."""
    return x.flatten(axis).softmax(-1).reshape(x.shape)


def softmax(op: Operation) -> nn.Module:
    """Softmax, by the meaning of the file's opset."""
    axis = _own_axis(op, op.get("axis", -1), "runs along")
    if op.since >= 13:
        return nn.Softmax(axis)
    if op.first_batch() > axis:
        raise UnsupportedError("it runs along the batch dimension")
    return Apply(softmax_from, axis)


def concatenated(*tensors: Tensor, axis: int, batch: int) -> Tensor:
    """Concatenate along an axis; a value that is the same for all pictures is repeated for each."""
    pictures = max(tensor.shape[batch] for tensor in tensors)
    shapes = [[*tensor.shape[:batch], pictures, *tensor.shape[batch + 1 :]] for tensor in tensors]
    return torch.cat([tensor.expand(shape) for tensor, shape in zip(tensors, shapes, strict=True)], axis)


class Concatenated(nn.Module):
    """Concatenation of live values and constants in a fixed order, along an axis other than that of the pictures.

    Args:
        axis: The axis.
        batch: Dimension of the pictures.
        constants: The inputs in order; None for one that is given to `forward`.
    """

    def __init__(self, axis: int, batch: int, constants: list[Tensor | None]) -> None:
        super().__init__()
        self.axis, self.batch = axis, batch
        self.live = [value is None for value in constants]
        self.fixed = nn.ParameterList([value.float() for value in constants if value is not None])

    def forward(self, *x: Tensor) -> Tensor:
        given, fixed = iter(x), iter(self.fixed)
        return concatenated(*(next(given if live else fixed) for live in self.live), axis=self.axis, batch=self.batch)


def concat(op: Operation) -> nn.Module:
    """Concatenation along an axis other than the batch."""
    axis = _own_axis(op, op.get("axis", 1), "concatenates along")
    constants = [value if place is None else None for value, place in zip(op.inputs, op.batch, strict=True)]
    return Concatenated(axis, op.first_batch(), constants)


def expand(op: Operation) -> nn.Module:
    """Repetition along dimensions of size 1; the pictures stay as many as they are."""
    x, shape = op.given(0), [int(size) for size in op.given(1)]
    extra = max(len(shape) - x.ndim, 0)
    shape = list(torch.broadcast_shapes(x.shape, tuple(shape)))
    batch = op.first_batch() + extra
    if shape[batch] != x.shape[batch - extra] or any(size != 1 for size in shape[:extra]):
        raise UnsupportedError(f"the shape {shape} changes the batch dimension")
    return Apply(expanded, extra, tuple(-1 if axis == batch else size for axis, size in enumerate(shape)))


def expanded(x: Tensor, extra: int, shape: tuple[int, ...]) -> Tensor:
    """Put `extra` dimensions of size 1 in front and expand; -1 keeps a size."""
    x = x.reshape(*(1,) * extra, *x.shape) if extra else x
    return x.expand(shape)


class TakeEach(nn.Module):
    """Values of each picture at fixed places, from a row with the values of all pictures.

    Args:
        size: Number of values of a picture.
        places: (1, ...) places among them; the result is (B, ...).
    """

    def __init__(self, size: int, places: Tensor) -> None:
        super().__init__()
        self.size, self.shape = size, places.shape[1:]
        self.take = Take(1, places.flatten())

    def forward(self, x: Tensor) -> Tensor:
        return self.take(x.reshape(-1, self.size)).reshape(-1, *self.shape)


def gather(op: Operation) -> nn.Module:
    """Entries of a dimension at fixed indices."""
    x, indices = op.given(0), op.given(1)
    axis = op.get("axis", 0)
    size = x.shape[axis]
    if not bool(((indices >= -size) & (indices < size)).all()):
        raise UnsupportedError(f"its indices must be from {-size} to {size - 1}")
    indices = indices % size
    if x.ndim == 1 and indices.ndim > 1 and len(indices) == 1:
        return TakeEach(size, indices)  # as torch writes `as_strided`
    axis = _own_axis(op, axis, "picks from")
    if indices.ndim == 0:
        return Apply(torch.select, axis, int(indices))
    if indices.ndim > 1:
        raise UnsupportedError(f"its indices of shape {tuple(indices.shape)} must be one row")
    return Take(axis, indices)


def cut(op: Operation) -> nn.Module:
    """Part of each of some dimensions: Slice."""
    x, starts, ends = op.given(0), op.numbers("starts", 1), op.numbers("ends", 2)
    axes, steps = op.numbers("axes", 3), op.numbers("steps", 4)
    axes = list(range(len(starts or []))) if axes is None else axes
    steps = [1] * len(axes) if steps is None else steps
    if starts is None or ends is None or not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise UnsupportedError("its starts, ends, axes and steps do not fit each other")
    parts: list[nn.Module] = []
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        indices = np.arange(x.shape[axis])[start:end:step]
        if len(indices) == x.shape[axis] and step == 1:
            continue  # everything, which is all that it may do to the pictures
        axis = _own_axis(op, axis, "cuts")
        if step == 1 and len(indices):
            parts.append(Apply(torch.narrow, axis, int(indices[0]), len(indices)))
        else:
            parts.append(Take(axis, torch.from_numpy(indices.copy())))
    return parts[0] if len(parts) == 1 else nn.Sequential(*parts)


def split(op: Operation) -> nn.Module:
    """One of the parts that a dimension is divided into."""
    axis = _own_axis(op, op.get("axis", 0), "splits")
    size, sizes, count = op.given(0).shape[axis], op.numbers("split", 1), op.get("num_outputs", op.outputs)
    if sizes is None:
        each = math.ceil(size / count)
        sizes = [each] * (count - 1) + [size - each * (count - 1)]
    if sum(sizes) != size or min(sizes) < 0 or len(sizes) != op.outputs:
        raise UnsupportedError(f"its parts {sizes} do not divide a size of {size}")
    return Apply(torch.narrow, axis, sum(sizes[: op.output]), sizes[op.output])


def pad(op: Operation) -> nn.Module:
    """Margins around dimensions other than the batch."""
    x, pads, axes = op.given(0), op.numbers("pads", 1), op.numbers("axes", 3)
    constant, mode = op.input(2), op.get("mode", "constant")
    value = op.get("value", 0.0) if constant is None else constant.item()
    kinds = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}
    if pads is None or mode not in kinds:
        raise UnsupportedError(f"its pads are missing, or its mode '{mode}' is not one of {', '.join(kinds)}")
    axes = list(range(x.ndim)) if axes is None else [axis % x.ndim for axis in axes]
    ends = {axis: (pads[index], pads[index + len(axes)]) for index, axis in enumerate(axes)}
    if any(ends.get(op.first_batch(), (0, 0))):
        raise UnsupportedError("it pads the batch dimension")
    if mode != "constant" and any(sum(map(abs, pair)) for axis, pair in ends.items() if axis < x.ndim - 2):
        raise UnsupportedError(f"mode '{mode}' is supported for height and width only")
    used = range(x.ndim - 1, -1 if mode == "constant" else x.ndim - 3, -1)
    each = tuple(size for axis in used for size in ends.get(axis, (0, 0)))
    return Apply(F.pad, each, kinds[mode], value if mode == "constant" else None)
