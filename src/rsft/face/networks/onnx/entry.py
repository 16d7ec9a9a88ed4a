"""What a converted graph does to its pixels before its first layer with weights, by what it computes, not by its look.

Whatever the nodes are (Sub and Mul, a batch normalisation, channels turned by Slice or Gather, an Identity among them):
as long as each channel of the result is `scale * x + shift` of one channel of the picture, they are a normalisation.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.fx
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from rsft.face.networks.onnx.operators import MOVING
from rsft.face.networks.preprocess import ORDERS

LAYERS = (nn.Conv2d, nn.Linear)
TOLERANCE = 1e-3  # of the largest value
# Where the value that becomes 0 must lie, for pixels of a kind, and how the kind is made from 0..255: (mean, std).
KINDS: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "0..255": ((64.0, 192.0), (0.0, 1.0)),
    "0..1": ((0.34, 0.75), (0.0, 255.0)),
    "-1..1": ((-1 / 3, 1 / 3), (127.5, 127.5)),
}
SPANS = (0.4, 16.0)  # what a normalisation makes of the whole range of pixels, from lowest to highest
SCALES = (1 / 1024, 1 / 60)  # of a graph that only scales, for pixels in 0..255


@dataclass(frozen=True)
class Entry:
    """What happens to the pixels before the first layer with weights.

    Attributes:
        scale: Factor of each channel of the result.
        shift: What is added to each channel of the result.
        order: "RGB" if the channels stay in their order, "BGR" if they are turned; None in any other order.
        unclear: Operator that follows and is neither a normalisation nor a layer with weights; None if there is none.
    """

    scale: tuple[float, ...]
    shift: tuple[float, ...]
    order: str | None
    unclear: str | None

    @property
    def is_plain(self) -> bool:
        """Whether the pixels reach the first layer as they are."""
        return self.scale == (1.0,) * 3 and self.shift == (0.0,) * 3 and self.order == ORDERS[0]

    def pixels(self) -> str | None:
        """Return which pixels the graph normalises, a key of `KINDS`; None if it does not, or if it cannot be told."""
        if self.unclear or self.order is None or self.is_plain or min(self.scale) <= 0:
            return None
        if not any(self.shift):
            return "0..255" if all(SCALES[0] <= scale <= SCALES[1] for scale in self.scale) else None
        zeros = [-shift / scale for scale, shift in zip(self.scale, self.shift, strict=True)]
        for kind, ((low, high), (_, std)) in KINDS.items():
            spans = [scale * 255 / std for scale in self.scale]
            is_sized = all(SPANS[0] <= span <= SPANS[1] for span in spans) or self.scale == (1.0,) * 3
            if is_sized and all(low <= zero <= high for zero in zeros):
                return kind
        return None

    def after(self, order: str, mean: list[float], std: list[float]) -> "Entry":
        """Return what happens to pixels that are first turned to `order` and normalised as `(x - mean) / std`."""
        channels = range(3) if self.order == ORDERS[0] else range(2, -1, -1)
        pairs = [(mean[channel], std[channel]) for channel in channels]
        return Entry(
            tuple(scale / s for scale, (_, s) in zip(self.scale, pairs, strict=True)),
            tuple(shift - scale * m / s for scale, shift, (m, s) in zip(self.scale, self.shift, pairs, strict=True)),
            None if self.order is None else ORDERS[0] if order == self.order else ORDERS[1],
            self.unclear,
        )

    def fits_pixels(self) -> bool:
        """Return whether pixels in 0..255 are normalised as for some network, or left as they are, as far as told."""
        is_left = self.scale == (1.0,) * 3 and not any(self.shift)
        return bool(self.unclear) or self.order is None or is_left or self.pixels() == "0..255"

    def seen(self) -> str:
        """Return what pixels in 0..255 become, for a message."""
        ends = [(shift, 255 * scale + shift) for scale, shift in zip(self.scale, self.shift, strict=True)]
        low, high = min(map(min, ends)), max(map(max, ends))
        return f"{low:.4g}..{high:.4g}" if min(self.scale) > 0 else f"{high:.4g}..{low:.4g}"


def find_entry(network: GraphModule, size: int) -> Entry:
    """Find what a converted graph does to its pixels before its first layer with weights.

    Args:
        network: Module (B, 3, size, size) -> (B, D) of `read_onnx`.
        size: Side of the input in pixels.
    """
    pictures = torch.zeros(5, 3, size, size)
    for channel in range(3):
        pictures[1 + channel, channel] = 1
    pictures[4] = torch.rand(3, size, size, generator=torch.Generator().manual_seed(0))
    found: tuple[Node, Tensor, Tensor] | None = None
    values = _values(network, pictures)
    for node, value in values:
        is_layer = _is_layer(network, node)
        fitted = _fitted(value, pictures) if node.op != "get_attr" else None
        if is_layer and fitted is None:
            break
        if fitted is not None:
            found = (node, *fitted)
    assert found is not None  # the input itself
    node, matrix, shift = found
    turned = matrix.abs().argmax(1).tolist()
    scale = matrix.abs().amax(1) * matrix.sum(1).sign()
    order = {(0, 1, 2): ORDERS[0], (2, 1, 0): ORDERS[1]}.get(tuple(turned))
    entry = Entry(_tidy(scale), _tidy(shift), order, _unclear(network, node))
    kind = "-1..1" if entry.is_plain else entry.pixels()
    if kind is not None:  # a Relu or Clip before it is noticed on the pixels that the graph takes
        mean, std = KINDS[kind][1]
        range_of_kind = (pictures[4:] * 255 - mean) / std
        value = next(value for other, value in _values(network, range_of_kind) if other is node)
        if not _follows(value, matrix, shift, range_of_kind):
            return replace(entry, unclear="limit (Relu or Clip)")
    return entry


def _values(network: GraphModule, pictures: Tensor) -> Iterator[tuple[Node, object]]:
    """Yield the nodes of a converted graph in their order with their values, as far as asked for."""
    runner = torch.fx.Interpreter(network)
    runner.args_iter = iter((pictures,))
    for node in network.graph.nodes:
        if node.op != "output":
            with torch.inference_mode():
                runner.env[node] = runner.run_node(node)
            yield node, runner.env[node]


def _tidy(values: Tensor) -> tuple[float, ...]:
    """Return numbers without the noise of float32."""
    return tuple(float(f"{value:.6g}") for value in values.tolist())


def _is_layer(network: GraphModule, node: Node) -> bool:
    """Return whether a node has weights that mix channels or places."""
    return node.op == "call_module" and any(
        isinstance(module, LAYERS) for module in network.get_submodule(str(node.target)).modules()
    )


def _fitted(value: object, pictures: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return the matrix (3, 3) and the shift (3,) by which a value follows from each pixel, or None if it does not.

    Each row of the matrix has one entry that is not 0, in another column than the other rows.
    """
    value = _channels_second(value, pictures)
    if value is None:
        return None
    shift = value[0, :, 0, 0]
    matrix = (value[1:4, :, 0, 0] - shift).T
    limit = TOLERANCE * max(float(matrix.abs().max()), 1e-30)
    used = matrix.abs() > limit
    if not bool((used.sum(0) == 1).all() and (used.sum(1) == 1).all()):
        return None
    matrix = matrix * used
    return (matrix, shift) if _follows(value, matrix, shift, pictures) else None


def _channels_second(value: object, pictures: Tensor) -> Tensor | None:
    """Return a value with channels as the pictures have them; None if it has another shape."""
    if not isinstance(value, Tensor) or value.ndim != 4:
        return None
    if value.shape != pictures.shape:
        value = value.permute(0, 3, 1, 2)
    return value if value.shape == pictures.shape else None


def _follows(value: object, matrix: Tensor, shift: Tensor, pictures: Tensor) -> bool:
    """Return whether each pixel of a value is the matrix times the pixel of the picture, and the shift."""
    value = _channels_second(value, pictures)
    expected = torch.einsum("oc,nchw->nohw", matrix, pictures) + shift[:, None, None]
    limit = TOLERANCE * float(matrix.abs().max()) * float(pictures.abs().max())
    return value is not None and bool(((value - expected).abs() <= limit + 1e-6 * value.abs().max()).all())


def _unclear(network: GraphModule, node: Node) -> str | None:
    """Return the operator after a node that is neither a layer with weights nor moves pixels, or None."""
    place = {other: index for index, other in enumerate(network.graph.nodes)}
    waiting, seen = [node], {node}
    while waiting:
        for user in waiting.pop().users:
            if user in seen or user.op == "output" or _is_layer(network, user):
                continue
            if user.meta.get("operator") not in MOVING:
                return str(user.meta.get("operator"))
            seen.add(user)
            waiting.append(user)
    skipped = [other for other in network.graph.nodes if place[other] < place[node] and other.op != "get_attr"]
    late = [user for other in skipped for user in other.users if place[user] > place[node]]
    return str(late[0].meta.get("operator")) if late else None
