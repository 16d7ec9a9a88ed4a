"""Which network a published checkpoint is of, told by the names and shapes of its weights; no code in it is run."""

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from rsft.errors import InputError
from rsft.face.backbones.dlib import build_dlib_resnet
from rsft.face.backbones.inception import InceptionResnetV1
from rsft.face.backbones.ir import IR
from rsft.face.backbones.iresnet import LAYERS, IResNet
from rsft.face.backbones.mobilefacenet import MobileFaceNet
from rsft.face.crops import ARCFACE, Template, scaled

SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")


@dataclass(frozen=True)
class Architecture:
    """A network without weights, and what its published weights expect.

    Attributes:
        build: for an embedding size.
        size: of the chip in pixels.
        order: of colours.
        mean: subtracted, in 0..255.
        std: divided by.
        template: of the chip.
    """

    build: Callable[[int], nn.Module]
    size: int
    order: str
    mean: float
    std: float
    template: Template


def _arcface(build: Callable[[int], nn.Module], order: str = "RGB") -> Architecture:
    return Architecture(build, 112, order, 127.5, 127.5, ARCFACE)


# facenet's chip is the detector's box, which five points only come near to
FACENET = Architecture(lambda size: InceptionResnetV1(), 160, "RGB", 127.5, 128.0, scaled(ARCFACE, 160 / 112))
ARCHITECTURES: dict[str, Architecture] = {
    **{f"iresnet{depth}": _arcface(partial(IResNet, depth)) for depth in LAYERS},
    "mobilefacenet": _arcface(MobileFaceNet),
    **{f"adaface-ir{depth}": _arcface(partial(IR, depth), "BGR") for depth in LAYERS},
    **{f"cvlface-ir{depth}": _arcface(partial(IR, depth)) for depth in LAYERS},
    "inception-resnet-v1": FACENET,
}
# A weight that only this family has, and where its depth can be counted.
IRESNET, IR_BODY, MOBILE, INCEPTION = "layer1.0.bn1.weight", "body.0.res_layer.1.weight", "conv_sep", "mixed_6a"


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, by name.

    Raises:
        InputError: it is damaged, holds more than tensors and plain values, or none at all.
    """
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"'{path}' is damaged, or holds objects whose loading could run code, which is refused: save its state "
            "dict alone, where you trust it."
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, safetensors.SafetensorError) as error:
        raise InputError(f"cannot read weights from '{path}': {' '.join(str(error).split())[:200]}.") from error
    found = found.get("state_dict", found) if isinstance(found, Mapping) else {}
    tensors = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    if not tensors:
        raise InputError(f"'{path}' holds no weights by name: a state dict is needed.")
    return tensors


def recognise(weights: Mapping[str, Tensor], source: Path) -> tuple[str, nn.Module]:
    """The key of `ARCHITECTURES` and the network with these weights.

    Raises:
        InputError: no network here has weights of these names and shapes; the nearest is named with the difference.
    """
    weights = {name.removeprefix("module."): tensor for name, tensor in weights.items()}
    adaface, cvlface = (any(name.startswith(prefix) for name in weights) for prefix in ("model.", "net."))
    if adaface or cvlface:  # what else is in a training checkpoint is the head
        prefix = "model." if adaface else "net."
        weights = {name.removeprefix(prefix): t for name, t in weights.items() if name.startswith(prefix)}
    name = _family(weights, "cvlface" if cvlface else "adaface")
    if name is None:
        first = ", ".join(list(weights)[:3])
        raise InputError(
            f"'{source}' is of no network that is known here (weights {first}, ...): known are "
            f"{', '.join(ARCHITECTURES)}; any other goes in as ONNX, or in Python as `face_model(network, ...)`."
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
    return len({name.removeprefix(prefix).split(".")[0] for name in weights if name.startswith(prefix)})


def _depth(blocks: tuple[int, ...]) -> int | None:
    return next((depth for depth, layers in LAYERS.items() if layers == blocks), None)


def _depth_of_sum(blocks: int) -> int | None:
    return next((depth for depth, layers in LAYERS.items() if sum(layers) == blocks), None)


def _embedding_size(weights: Mapping[str, Tensor]) -> int:
    """The rows of the last matrix."""
    return [tensor for tensor in weights.values() if tensor.ndim == 2][-1].shape[0]


def build(name: str, embedding_size: int) -> nn.Module:
    """A network of `ARCHITECTURES`, or dlib's, without its weights."""
    return build_dlib_resnet() if name == "dlib" else ARCHITECTURES[name].build(embedding_size)
