"""Recognise the network of a published checkpoint by the names and shapes of its weights, without running its code."""

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from rsft.errors import InputError
from rsft.face.networks.backbones.dlib import build_dlib_resnet
from rsft.face.networks.backbones.inception import InceptionResnetV1
from rsft.face.networks.backbones.ir import IR
from rsft.face.networks.backbones.iresnet import LAYERS, IResNet
from rsft.face.networks.backbones.mobilefacenet import MobileFaceNet
from rsft.face.networks.chip_points import ARCFACE, Template, scaled

SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")


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
# A weight name or prefix that occurs in one family only.
IRESNET, IR_BODY, MOBILE, INCEPTION = "layer1.0.bn1.weight", "body.0.res_layer.1.weight", "conv_sep", "mixed_6a"


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint without running any code in it.

    Args:
        path: A `.safetensors` file, or a file of `torch.save` that holds a state dict, either directly or under
            "state_dict".

    Returns:
        Name -> tensor, on the CPU.

    Raises:
        InputError: The file is damaged, holds objects other than tensors and plain values, or holds no tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"'{path}' is damaged, or holds objects whose loading could run code, which is refused: if you trust it, "
            "save its state dict alone."
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, safetensors.SafetensorError) as error:
        raise InputError(f"cannot read weights from '{path}': {' '.join(str(error).split())[:200]}.") from error
    found = found.get("state_dict", found) if isinstance(found, Mapping) else {}
    tensors = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    if not tensors:
        raise InputError(f"'{path}' holds no named weights: a state dict is needed.")
    return tensors


def recognise(weights: Mapping[str, Tensor], source: Path) -> tuple[str, nn.Module]:
    """Find the network whose weights have these names and shapes, and load them into it.

    The prefix "module." is removed from names. If some names start with "model." (AdaFace) or "net." (CVLface), only
    those are used, without the prefix; the rest belongs to the training head.

    Args:
        weights: Name -> tensor; see `read_weights`.
        source: File the weights came from, used in error messages.

    Returns:
        A key of `ARCHITECTURES` and the network with these weights, in evaluation mode.

    Raises:
        InputError: No supported network has weights with these names and shapes. If the names point to one network,
            the message names it and the difference.
    """
    weights = {name.removeprefix("module."): tensor for name, tensor in weights.items()}
    adaface, cvlface = (any(name.startswith(prefix) for name in weights) for prefix in ("model.", "net."))
    if adaface or cvlface:  # the other entries of a training checkpoint belong to its head
        prefix = "model." if adaface else "net."
        weights = {name.removeprefix(prefix): t for name, t in weights.items() if name.startswith(prefix)}
    name = _family(weights, "cvlface" if cvlface else "adaface")
    if name is None:
        first = ", ".join(list(weights)[:3])
        raise InputError(
            f"'{source}' has the weights of no supported network (weights {first}, ...); supported: "
            f"{', '.join(ARCHITECTURES)}. Pass any other network as ONNX, or in Python as `face_model(network, ...)`."
        )
    network = ARCHITECTURES[name].build(_embedding_size(weights))
    if name == "inception-resnet-v1":
        weights = {key: tensor for key, tensor in weights.items() if not key.startswith("logits.")}
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(f"'{source}' looks like {name} but is not: {' '.join(str(error).split())[:300]}.") from error
    return name, network.eval()


def _family(weights: Mapping[str, Tensor], ir_family: str) -> str | None:
    """Return the key of `ARCHITECTURES` for these weights, or None; `ir_family` is the family of IR networks."""
    if IRESNET in weights:
        depth = _depth(tuple(_count(weights, f"layer{number}.") for number in range(1, 5)))
        return f"iresnet{depth}" if depth else None
    if IR_BODY in weights:
        depth = _depth_of_sum(_count(weights, "body."))
        return f"{ir_family}-ir{depth}" if depth else None
    if any(name.startswith(MOBILE) for name in weights):
        return "mobilefacenet"
    if any(name.startswith(INCEPTION) for name in weights):
        return "inception-resnet-v1"
    return None


def _count(weights: Mapping[str, Tensor], prefix: str) -> int:
    """Return the number of submodules under a prefix."""
    return len({name.removeprefix(prefix).split(".")[0] for name in weights if name.startswith(prefix)})


def _depth(blocks: tuple[int, ...]) -> int | None:
    """Return the depth of the network with these numbers of blocks per layer, or None."""
    return next((depth for depth, layers in LAYERS.items() if layers == blocks), None)


def _depth_of_sum(blocks: int) -> int | None:
    """Return the depth of the network with this total number of blocks, or None."""
    return next((depth for depth, layers in LAYERS.items() if sum(layers) == blocks), None)


def _embedding_size(weights: Mapping[str, Tensor]) -> int:
    """Return the number of rows of the last matrix among the weights."""
    return [tensor for tensor in weights.values() if tensor.ndim == 2][-1].shape[0]


def build(name: str, embedding_size: int) -> nn.Module:
    """Build a network with untrained weights.

    Args:
        name: A key of `ARCHITECTURES`, or "dlib".
        embedding_size: Width of the embedding. It is ignored for "dlib" and "inception-resnet-v1", whose widths are
            fixed (128 and 512).
    """
    return build_dlib_resnet() if name == "dlib" else ARCHITECTURES[name].build(embedding_size)
