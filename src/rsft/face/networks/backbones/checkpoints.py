"""Recognise the network of a published checkpoint by the names and shapes of its weights, without running its code."""

import logging
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from rsft.data.reading import reading
from rsft.errors import InputError
from rsft.face.networks.backbones.dlib import build_dlib_resnet
from rsft.face.networks.backbones.inception import InceptionResnetV1
from rsft.face.networks.backbones.ir import IR
from rsft.face.networks.backbones.iresnet import LAYERS, IResNet
from rsft.face.networks.backbones.mobilefacenet import MobileFaceNet
from rsft.face.networks.chip_points import ARCFACE, Template, scaled
from rsft.face.networks.names import SUFFIXES as SUFFIXES


@dataclass(frozen=True)
class Architecture:
    """A network definition and the preprocessing that its published weights expect.

    The network takes a chip, an aligned face picture, as `(x - mean) / std`.

    Attributes:
        build: Function from an embedding size to the network with untrained weights.
        size: Side of the chip in pixels.
        order: Order of the colour channels, "RGB" or "BGR".
        mean: Value subtracted from each pixel, in 0..255.
        std: Value each pixel is divided by.
        template: Five reference points of the chip in pixels.
    """

    build: Callable[[int], nn.Module]
    size: int
    order: str
    mean: float
    std: float
    template: Template


def _arcface(build: Callable[[int], nn.Module], order: str = "RGB") -> Architecture:
    """Return an architecture with ArcFace's chip of 112 px and its normalisation."""
    return Architecture(build, 112, order, 127.5, 127.5, ARCFACE)


# facenet's chip is the detector's box; five points only approximate it
FACENET = Architecture(lambda size: InceptionResnetV1(), 160, "RGB", 127.5, 128.0, scaled(ARCFACE, 160 / 112))
ARCHITECTURES: dict[str, Architecture] = {
    **{f"iresnet{depth}": _arcface(partial(IResNet, depth)) for depth in LAYERS},
    "mobilefacenet": _arcface(MobileFaceNet),
    **{f"adaface-ir{depth}": _arcface(partial(IR, depth), "BGR") for depth in LAYERS},
    **{f"cvlface-ir{depth}": _arcface(partial(IR, depth)) for depth in LAYERS},
    "inception-resnet-v1": FACENET,
}
# A weight that occurs in one family only, and the weight whose rows are the embedding's values.
MARKS = {
    "iresnet": ("layer1.0.bn1.weight", "fc.weight"),
    "ir": ("body.0.res_layer.1.weight", "output_layer.3.weight"),
    "mobilefacenet": ("conv_sep.layers.0.weight", "features.layers.2.weight"),
    "inception-resnet-v1": ("mixed_6a.branch0.conv.weight", "last_linear.weight"),
}
WRAPPERS = ("module.", "_orig_mod.")  # of DistributedDataParallel and of torch.compile
TOLD = 5  # names in a message
MAX_DEPTH = 4  # of dictionaries within a checkpoint

log = logging.getLogger(__name__)
Weights = dict[str, Tensor]


def read_weights(path: Path) -> dict[str, Weights]:
    """Read the tensors of a checkpoint without running any code in it.

    Args:
        path: A `.safetensors` file, or a file of `torch.save` that holds a state dict, directly or within
            dictionaries, as training scripts, Lightning and averaged weights (EMA) have it.

    Returns:
        Where a dictionary lies, as "state_dict" or "ema.module", "" for the file's own -> name -> tensor, on the CPU.

    Raises:
        InputError: The file is damaged, holds objects other than tensors and plain values, or holds no tensors.
    """
    with reading(path, "weights", (Exception,)):  # what a damaged archive makes torch raise has no common base
        try:
            if path.suffix.lower() == ".safetensors":
                found: Any = safetensors.torch.load_file(path)
            else:
                found = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise InputError(
                f"'{path}' is damaged, or holds objects whose loading could run code, which is refused: if you trust "
                "it, save its state dict alone."
            ) from error
    held = dict(_state_dicts(found, "", 0))
    if not held:
        raise InputError(f"'{path}' holds no named weights: a state dict is needed.")
    return held


def _state_dicts(found: Any, place: str, depth: int) -> Iterator[tuple[str, Weights]]:
    """Yield each dictionary of named tensors with its place in the file."""
    if not isinstance(found, Mapping) or depth > MAX_DEPTH:
        return
    tensors = {name: value for name, value in found.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if tensors:
        yield place, tensors
    for name, value in found.items():
        yield from _state_dicts(value, f"{place}.{name}".lstrip("."), depth + 1)


@dataclass(frozen=True)
class _Candidate:
    """Weights of one network in a checkpoint: where they lie, which family they are of, and by which prefix."""

    place: str
    family: str
    prefix: str
    weights: Weights

    @property
    def name(self) -> str:
        """What the weights are called: their place and prefix, as in "state_dict.model"."""
        return f"{self.place}.{self.prefix}".strip(".")


def recognise(held: Mapping[str, Weights], source: Path, choice: str | None = None) -> tuple[str, nn.Module]:
    """Find the network whose weights have these names and shapes, and load them into it.

    Names may begin with any prefix, as "module.", "_orig_mod." or "backbone."; entries without it belong to other parts
    of a training, such as its head, and are passed over, which is logged.

    Args:
        held: Where a dictionary lies in the file -> name -> tensor; see `read_weights`.
        source: File the weights came from, used in error messages.
        choice: Which weights to take where there are several, by place and prefix, as "ema" or "state_dict.model".

    Returns:
        A key of `ARCHITECTURES` and the network with these weights, in evaluation mode.

    Raises:
        InputError: No supported network has weights with these names and shapes, or several sets of weights have. If
            the names point to one network, the message names it and the difference.
    """
    found = [candidate for place, tensors in held.items() for candidate in _candidates(place, tensors)]
    if not found:
        first = ", ".join(list(next(iter(held.values())))[:3])
        raise InputError(
            f"'{source}' has the weights of no supported network (weights {first}, ...); supported: "
            f"{', '.join(ARCHITECTURES)}. Pass any other network as ONNX, or in Python as `face_model(network, ...)`."
        )
    chosen = _chosen(found, source, choice)
    name = _architecture(chosen, source)
    mark = MARKS[chosen.family][1]
    if mark not in chosen.weights or chosen.weights[mark].ndim != 2:
        raise InputError(f"'{source}' looks like {name} but is not: it has no matrix '{mark}'.")
    network = ARCHITECTURES[name].build(chosen.weights[mark].shape[0])
    own = {key.split(".")[0] for key in network.state_dict()}
    weights = {key: tensor for key, tensor in chosen.weights.items() if key.split(".")[0] in own}
    bad = [key for key, tensor in weights.items() if not _is_sound(key, tensor)]
    if bad:
        raise InputError(f"'{source}': weight '{bad[0]}' is not of finite floating-point numbers.")
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(f"'{source}' looks like {name} but is not: {' '.join(str(error).split())[:300]}.") from error
    _tell_rest(held, chosen, weights, source)
    return name, network.eval()


def _is_sound(name: str, tensor: Tensor) -> bool:
    """Return whether a tensor can be a weight of that name."""
    return name.endswith("num_batches_tracked") or (
        tensor.is_floating_point() and not tensor.is_quantized and bool(tensor.isfinite().all())
    )


def _candidates(place: str, tensors: Weights) -> Iterator[_Candidate]:
    """Yield the networks whose weights are in a dictionary."""
    for family, (mark, _) in MARKS.items():
        for name in tensors:
            prefix = name.removesuffix(mark)
            if name.endswith(mark) and (not prefix or prefix.endswith(".")):
                own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
                yield _Candidate(place, family, prefix, own)


def _chosen(found: list[_Candidate], source: Path, choice: str | None) -> _Candidate:
    """Return the weights that are chosen by name, or the only ones that differ from the others."""
    fitting = [one for one in found if choice in (None, one.name, one.place)]
    names = ", ".join(repr(one.name) for one in found)
    if not fitting:
        raise InputError(f"'{source}' has no weights '{choice}' of a network: it has {names}.")
    if any(not _equal(one.weights, fitting[0].weights) for one in fitting[1:]):
        raise InputError(
            f"'{source}' holds the weights of {len(fitting)} networks ({names}): state which to take as \"weights\" in "
            f"{source.with_suffix('.json').name} beside it."
        )
    return fitting[0]


def _equal(first: Weights, second: Weights) -> bool:
    """Return whether two sets of weights are the same."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def _tell_rest(held: Mapping[str, Weights], chosen: _Candidate, used: Weights, source: Path) -> None:
    """Log which tensors of a checkpoint are passed over."""
    taken = {(chosen.place, chosen.prefix + name) for name in used}
    rest = [f"{place}.{name}".lstrip(".") for place, own in held.items() for name in own if (place, name) not in taken]
    where = f"from '{chosen.name}', " if chosen.name else ""
    if rest or where:
        some = f" ({', '.join(rest[:TOLD])}{', ...' if len(rest) > TOLD else ''})" if rest else ""
        log.info("%s: %s%d other tensors passed over%s", source.name, where, len(rest), some)


def _architecture(candidate: _Candidate, source: Path) -> str:
    """Return the key of `ARCHITECTURES` for these weights."""
    weights, name = candidate.weights, None
    if candidate.family == "iresnet":
        depth = _depth(tuple(_count(weights, f"layer{number}.") for number in range(1, 5)))
        name = depth and f"iresnet{depth}"
    elif candidate.family == "ir":
        depth = _depth_of_sum(_count(weights, "body."))
        prefix = candidate.prefix
        for wrapper in WRAPPERS:
            prefix = prefix.replace(wrapper, "")
        name = depth and f"{'cvlface' if prefix == 'net.' else 'adaface'}-ir{depth}"
        if prefix not in ("net.", "model."):
            log.warning(
                "warning: '%s' does not tell AdaFace's networks (BGR) from others of their build (RGB), so BGR is "
                'assumed; state "order" in %s beside it.',
                source,
                source.with_suffix(".json").name,
            )
    else:
        name = candidate.family
    if not name:
        raise InputError(f"'{source}' looks like {candidate.family} but is of no known depth.")
    return name


def _count(weights: Mapping[str, Tensor], prefix: str) -> int:
    """Return the number of submodules under a prefix."""
    return len({name.removeprefix(prefix).split(".")[0] for name in weights if name.startswith(prefix)})


def _depth(blocks: tuple[int, ...]) -> int | None:
    """Return the depth of the network with these numbers of blocks per layer, or None."""
    return next((depth for depth, layers in LAYERS.items() if layers == blocks), None)


def _depth_of_sum(blocks: int) -> int | None:
    """Return the depth of the network with this total number of blocks, or None."""
    return next((depth for depth, layers in LAYERS.items() if sum(layers) == blocks), None)


def build(name: str, embedding_size: int) -> nn.Module:
    """Build a network with untrained weights.

    Args:
        name: A key of `ARCHITECTURES`, or "dlib".
        embedding_size: Width of the embedding. It is ignored for "dlib" and "inception-resnet-v1", whose widths are
            fixed (128 and 512).
    """
    return build_dlib_resnet() if name == "dlib" else ARCHITECTURES[name].build(embedding_size)
