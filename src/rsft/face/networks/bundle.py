"""A face network with the settings that belong to its weights, and the folder that stores both."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import nn

from rsft.errors import InputError
from rsft.face.networks.backbones.checkpoints import ARCHITECTURES, build
from rsft.face.networks.backbones.timm_model import PREFIX as TIMM
from rsft.face.networks.backbones.timm_model import read_timm
from rsft.face.networks.chip_points import ARCFACE, Template
from rsft.face.networks.onnx.graph import read_onnx
from rsft.face.networks.parity import outputs
from rsft.face.networks.preprocess import Preprocess
from rsft.face.networks.stages import in_stages

WEIGHTS_FILE = "weights.safetensors"
BUNDLE_FILE = "bundle.json"
GRAPH_FILE = "graph.onnx"
UNKNOWN_LICENCE = "unknown"
DEFAULT_CUT = -5
NON_COMMERCIAL_WORDS = ("non-commercial", "noncommercial", "-nc", "research")
POINTS = 5


class ChangedModelError(InputError):
    """Raised if the content of a model folder does not match its fingerprint."""


@dataclass(frozen=True)
class FaceModel:
    """A network from chips (aligned face pictures) to embeddings that are compared by cosine.

    Use `face_model` to create one.

    Attributes:
        name: Name of the network.
        network: Sequence of stages, (B, 3, size, size) RGB in 0..255 -> (B, embedding_size). The first stage may be a
            `Preprocess`.
        size: Side of the chip in pixels.
        template: Five points of the chip in pixels: left eye, right eye, nose, left and right mouth corner.
        embedding_size: Width of the embedding.
        licence: Licence of the weights.
        source: Where the weights came from.
        thresholds: False match rate (as text) -> cosine above which a comparison matches. Empty if never set.
        graph: Content of the ONNX file that the network was converted from, or None. After tuning, its weights differ
            from those of the network.
        parity: (CHIPS, embedding_size) outputs for `rsft.face.networks.parity.drawn_chips`, recorded when the network
            was known to be correct. None if they were never recorded.
        cut: Index of the first stage that may be tuned; negative numbers count from the end. Embedding rounds the input
            of this stage to float16, so evaluate a network with the cut that it was tuned with.
    """

    name: str
    network: nn.Sequential
    size: int
    template: Template
    embedding_size: int
    licence: str
    source: str
    thresholds: Mapping[str, float] = field(default_factory=dict)
    graph: bytes | None = field(default=None, repr=False)
    parity: Sequence[Sequence[float]] | None = field(default=None, repr=False)
    cut: int = DEFAULT_CUT

    def __str__(self) -> str:
        return self.name

    @property
    def preprocess(self) -> Preprocess:
        """The preprocessing before the network's own first layer; the identity if there is none."""
        first = next(iter(self.network))
        return first if isinstance(first, Preprocess) else Preprocess()

    @property
    def own_stages(self) -> nn.Sequential:
        """The stages without the preprocessing, so that parameter names do not depend on it."""
        return nn.Sequential(*(stage for stage in self.network if not isinstance(stage, Preprocess)))

    @property
    def fingerprint(self) -> str:
        """Hash of the weights, preprocessing, chip size and template, as 16 hexadecimal digits.

        Embeddings of models with different fingerprints are not comparable.
        """
        digest = hashlib.sha256(json.dumps([self.preprocess.settings(), self.size, self.template]).encode())
        for name, tensor in self.own_stages.state_dict().items():
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).tobytes())
        return digest.hexdigest()[:16]

    @property
    def is_non_commercial(self) -> bool:
        """Whether the text of the licence indicates that commercial use is excluded; False for an unknown licence."""
        return any(word in self.licence.lower() for word in NON_COMMERCIAL_WORDS)

    def split(self, cut: int) -> tuple[nn.Sequential, nn.Sequential]:
        """Split the network into the stages before `cut` and the stages from `cut` on; both share its weights.

        Args:
            cut: Index of the first stage of the second part. A negative number counts from the end; if there are fewer
                stages, all are in the second part.

        Raises:
            InputError: The second part would be empty.
        """
        stages = list(self.network)
        if not stages[cut:]:
            raise InputError(f"'{self.name}' has {len(stages)} stages: `cut` must be less than that, got {cut}.")
        return nn.Sequential(*stages[:cut]), nn.Sequential(*stages[cut:])

    def save(self, folder: Path, **more: Any) -> None:
        """Write the weights, `bundle.json` and, if there is one, the ONNX graph into a new folder.

        Args:
            folder: The folder; it must not exist.
            **more: Further entries of `bundle.json`.

        Raises:
            FileExistsError: The folder exists.
        """
        folder.mkdir(parents=True)
        # safetensors accepts neither other memory formats nor two names for one tensor: make contiguous copies
        state = {name: t.detach().cpu().contiguous().clone() for name, t in self.own_stages.state_dict().items()}
        safetensors.torch.save_file(state, folder / WEIGHTS_FILE)
        if self.graph is not None:
            (folder / GRAPH_FILE).write_bytes(self.graph)
        bundle = self.describe() | {"fingerprint": self.fingerprint, "parity": self.parity or rounded(self)}
        (folder / BUNDLE_FILE).write_text(json.dumps(bundle | more, indent=2))

    def describe(self) -> dict[str, Any]:
        """Return the content of `bundle.json` except the fingerprint and the recorded outputs."""
        return {
            "name": self.name,
            "size": self.size,
            "value_range": [0, 255],
            **self.preprocess.settings(),
            "template": self.template,
            "embedding_size": self.embedding_size,
            "comparison": "cosine of the sum of the embeddings of the chip and its mirror image",
            "licence": self.licence,
            "source": self.source,
            "thresholds": dict(self.thresholds),
            "cut": self.cut,
        }


def face_model(
    network: nn.Module,
    *,
    name: str,
    size: int = 112,
    order: str = "RGB",
    mean: float | Sequence[float] = 127.5,
    std: float | Sequence[float] = 127.5,
    template: Sequence[Sequence[float]] = ARCFACE,
    licence: str = UNKNOWN_LICENCE,
    source: str = "",
    thresholds: Mapping[str, float] | None = None,
    graph: bytes | None = None,
    parity: Sequence[Sequence[float]] | None = None,
    cut: int = DEFAULT_CUT,
) -> FaceModel:
    """Create a `FaceModel` from a network and its preprocessing, for use as `fit(model=face_model(...), ...)`.

    Args:
        network: Module (B, 3, size, size) -> (B, D) that `torch.fx` can trace, or an `nn.Sequential` of stages. The
            result shares its weights. The network is set to evaluation mode.
        name: Name shown in reports.
        size: Side of the chip (aligned face picture) in pixels.
        order: Order of the colour channels that the network takes, "RGB" or "BGR".
        mean: Value to subtract, in 0..255: one number, or one per channel in the given order.
        std: Value to divide by, not 0: one number, or one per channel in the given order.
        template: (5, 2) points of the chip in pixels: left eye, right eye, nose, left and right mouth corner.
        licence: Licence of the weights.
        source: Where the weights came from.
        thresholds: False match rate (as text) -> cosine above which a comparison matches. None if never set.
        graph: Content of the ONNX file that the network was converted from, or None.
        parity: Outputs recorded when the network was known to be correct, or None; see `FaceModel`.
        cut: Index of the first stage that may be tuned; negative numbers count from the end.

    Raises:
        InputError: An argument is out of range, or the network cannot be traced, does not accept chips of this size, or
            does not return one embedding per chip.

    >>> model = face_model(nn.Sequential(nn.AvgPool2d(16), nn.Flatten(), nn.Linear(3 * 7 * 7, 8)), name="tiny")
    >>> model.embedding_size, model.preprocess.settings()["std"]
    (8, [127.5, 127.5, 127.5])
    """
    if not isinstance(size, int) or size < 1:
        raise InputError(f"the size of a model must be a whole number of pixels, got {size}.")
    points = np.asarray(template, float)
    if points.shape != (POINTS, 2) or not ((points >= 0) & (points <= size)).all():
        raise InputError(f"the template of a model needs five points (x, y) in its chip of {size} px, got {template}.")
    if any(isinstance(stage, Preprocess) for stage in network.children()):
        raise InputError(f"the network of '{name}' has a `Preprocess` already: give it without, as `model.own_stages`.")
    example = torch.zeros(1, 3, size, size)
    stages = in_stages(network.eval(), example)
    preprocess = Preprocess(order, mean, std)
    if not preprocess.is_identity():
        stages = nn.Sequential(preprocess, *stages)
    try:
        with torch.inference_mode():
            embedding = stages(example)
    except RuntimeError as error:
        raise InputError(f"'{name}' does not accept {size} px chips: {' '.join(str(error).split())[:200]}.") from error
    if embedding.ndim != 2:
        raise InputError(f"'{name}' must return (batch, embedding), but returns {tuple(embedding.shape)} for one chip.")
    return FaceModel(
        name,
        stages.eval(),
        size,
        tuple((float(x), float(y)) for x, y in points),
        embedding.shape[1],
        licence,
        source,
        thresholds or {},
        graph,
        parity,
        cut,
    )


def rounded(model: FaceModel) -> list[list[float]]:
    """Return a model's (CHIPS, D) outputs for the chips of `drawn_chips`, rounded to 7 significant digits."""
    model.network.eval()
    found = outputs(model.network, model.template, model.size)
    return [[float(f"{value:.7g}") for value in row] for row in found.tolist()]


def tuned(model: FaceModel, network: nn.Sequential, thresholds: Mapping[str, float], source: str) -> FaceModel:
    """Return a model with tuned weights and without recorded outputs; its other settings are unchanged.

    Args:
        model: The model before tuning.
        network: The tuned stages.
        thresholds: False match rate (as text) -> cosine above which a comparison matches.
        source: Where the tuned weights came from.
    """
    return replace(model, network=network, thresholds=thresholds, source=source, parity=None)


DECLARED = ("name", "size", "order", "mean", "std", "template", "licence", "source", "thresholds", "parity", "cut")
CHOSEN = ("output", "weights")  # which output of a graph, or which weights of a checkpoint, beside a file only


def read_declared(path: Path) -> dict[str, Any]:
    """Read the arguments of `face_model` that a bundle's JSON file states.

    Args:
        path: The JSON file. Entries that are absent or null are left out.

    Returns:
        Name of the argument -> value.

    Raises:
        InputError: The file cannot be read, is not a JSON object, or an entry has the wrong type or is not finite.
    """
    try:
        bundle = json.loads(path.read_text(encoding="utf-8"))
        found = {key: bundle[key] for key in (*DECLARED, *CHOSEN) if bundle.get(key) is not None}
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"'{path}' is not a bundle: {error}.") from error
    kinds: dict[str, tuple[type, ...]] = {
        "size": (int,),
        "cut": (int,),
        "thresholds": (dict,),
        "template": (list,),
        "parity": (list,),
    }
    kinds |= {"mean": (int, float, list), "std": (int, float, list)}
    for key, value in found.items():
        if not isinstance(value, kinds.get(key, (str,))) or not _finite(value):
            raise InputError(f"'{path}': {key} cannot be {str(value)[:80]}.")
    return found


def _finite(value: Any) -> bool:
    """Return whether all numbers in a JSON value are finite."""
    if isinstance(value, dict | list):
        return all(map(_finite, value.values() if isinstance(value, dict) else value))
    return isinstance(value, str) or (isinstance(value, int | float) and math.isfinite(value))


def load_bundle(folder: Path, network: nn.Module | None = None, *, check: bool = True) -> FaceModel:
    """Load a model that `FaceModel.save` wrote.

    Args:
        folder: Folder that contains `bundle.json`.
        network: Module of the same architecture. It is needed if the saved network is neither built into rsft, nor from
            timm, nor converted from ONNX.
        check: Whether to raise an error if weights, preprocessing, chip size or template do not match the fingerprint.

    Raises:
        InputError: The folder is incomplete or damaged, or `network` is needed and was not given.
        ChangedModelError: The folder does not match its fingerprint.
    """
    declared = read_declared(folder / BUNDLE_FILE)
    try:
        bundle = json.loads((folder / BUNDLE_FILE).read_text(encoding="utf-8"))
        weights = safetensors.torch.load_file(folder / WEIGHTS_FILE)
        graph = (folder / GRAPH_FILE).read_bytes() if (folder / GRAPH_FILE).is_file() else None
        if network is None and graph is not None:
            network = read_onnx(graph, folder / GRAPH_FILE).network
        elif network is None and bundle["name"] in (*ARCHITECTURES, "dlib"):
            network = build(bundle["name"], bundle["embedding_size"])
        elif network is None and bundle["name"].startswith(TIMM):
            network, _ = read_timm(bundle["name"], pretrained=False)
        elif network is None:
            raise InputError(
                f"'{folder}' holds the weights of '{bundle['name']}', a network of your own: load it in Python as "
                "`load_model(folder, network=...)`, or save it as ONNX."
            )
        model = face_model(network, graph=graph, **declared)
        model.own_stages.load_state_dict(weights)
        expected = bundle["fingerprint"]
    except (OSError, KeyError, TypeError, RuntimeError, safetensors.SafetensorError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise InputError(f"'{folder}' is not a whole model: {reason}.") from error
    if check and model.fingerprint != expected:
        raise ChangedModelError(
            f"'{folder}' has weights, preprocessing or a crop that its {BUNDLE_FILE} does not describe: copy the model "
            f"folder again; `rsft models check {folder}` may say what is wrong."
        )
    return model
