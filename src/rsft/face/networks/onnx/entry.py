"""What a converted graph does to its pixels before its first layer with weights, by what it computes, not by its look.

Whatever the nodes are (Sub and Mul, a batch normalisation, channels turned by Slice or Gather, an Identity among them):
as long as each channel of the result is `scale * x + shift` of one channel of the picture, they are a normalisation.
"""

from dataclasses import dataclass

import torch
import torch.fx
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from rsft.face.networks.onnx.operators import MOVING
from rsft.face.networks.preprocess import ORDERS

HEAVY = (nn.Conv2d, nn.Linear)
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
        return f"{min(map(min, ends)):.4g}..{max(map(max, ends)):.4g}"


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
    runner = torch.fx.Interpreter(network)
    runner.args_iter = iter((pictures,))
    found: tuple[Node, Tensor, Tensor] | None = None
    with torch.inference_mode():
        for node in network.graph.nodes:
            if node.op == "output" or _is_heavy(network, node):
                break
            runner.env[node] = value = runner.run_node(node)
            fitted = _fitted(value, pictures) if node.op != "get_attr" else None
            if fitted is not None:
                found = (node, *fitted)
    assert found is not None  # the input itself
    node, matrix, shift = found
    turned = matrix.abs().argmax(1).tolist()
    scale = matrix.abs().amax(1) * matrix.sum(1).sign()
    order = {(0, 1, 2): ORDERS[0], (2, 1, 0): ORDERS[1]}.get(tuple(turned))
    return Entry(_tidy(scale), _tidy(shift), order, _unclear(network, node))


def _tidy(values: Tensor) -> tuple[float, ...]:
    """Return numbers without the noise of float32."""
    return tuple(float(f"{value:.6g}") for value in values.tolist())


def _is_heavy(network: GraphModule, node: Node) -> bool:
    """Return whether a node is a layer that mixes channels or places by its weights."""
    if node.op != "call_module":
        return False
    module = network.get_submodule(str(node.target))
    layers = [layer for layer in module.modules() if isinstance(layer, HEAVY)]
    depthwise = all(
        isinstance(layer, nn.Conv2d) and layer.groups == 3 and layer.weight.shape == (3, 1, 1, 1) for layer in layers
    )
    return bool(layers) and not depthwise


def _fitted(value: object, pictures: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return the matrix (3, 3) and the shift (3,) by which a value follows from each pixel, or None if it does not.

    Each row of the matrix has one entry that is not 0, in another column than the other rows.
    """
    if not isinstance(value, Tensor) or value.ndim != 4:
        return None
    if value.shape != pictures.shape:
        value = value.permute(0, 3, 1, 2)
    if value.shape != pictures.shape:
        return None
    shift = value[0, :, 0, 0]
    matrix = (value[1:4, :, 0, 0] - shift).T
    limit = TOLERANCE * max(float(matrix.abs().max()), 1e-30)
    used = matrix.abs() > limit
    if not bool((used.sum(0) == 1).all() and (used.sum(1) == 1).all()):
        return None
    expected = torch.einsum("oc,nchw->nohw", matrix, pictures) + shift[:, None, None]
    rounding = 1e-6 * float(value.abs().max())
    return (matrix * used, shift) if bool(((value - expected).abs() <= limit + rounding).all()) else None


def _unclear(network: GraphModule, node: Node) -> str | None:
    """Return the operator after a node that is neither a layer with weights nor moves pixels, or None."""
    place = {other: index for index, other in enumerate(network.graph.nodes)}
    waiting, seen = [node], {node}
    while waiting:
        for user in waiting.pop().users:
            if user in seen or user.op == "output" or _is_heavy(network, user):
                continue
            if user.meta.get("operator") not in MOVING:
                return str(user.meta.get("operator"))
            seen.add(user)
            waiting.append(user)
    skipped = [other for other in network.graph.nodes if place[other] < place[node] and other.op != "get_attr"]
    late = [user for other in skipped for user in other.users if place[user] > place[node]]
    return str(late[0].meta.get("operator")) if late else None
