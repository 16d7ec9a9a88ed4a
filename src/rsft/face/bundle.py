"""A face network with all that must travel with its weights, and the folder that holds both."""

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
from rsft.face.backbones.checkpoints import ARCHITECTURES, build
from rsft.face.backbones.onnx_graph import read_onnx
from rsft.face.backbones.preprocess import Preprocess
from rsft.face.backbones.stages import in_stages
from rsft.face.backbones.timm_model import PREFIX as TIMM
from rsft.face.backbones.timm_model import read_timm
from rsft.face.crops import ARCFACE, Template
from rsft.face.parity import outputs

WEIGHTS_FILE = "weights.safetensors"
BUNDLE_FILE = "bundle.json"
GRAPH_FILE = "graph.onnx"
UNKNOWN_LICENCE = "unknown"
NON_COMMERCIAL_WORDS = ("non-commercial", "noncommercial", "-nc", "research")
POINTS = 5


class ChangedModelError(InputError):
    """A model folder is not as it was written."""


@dataclass(frozen=True)
class FaceModel:
    """A network from aligned chips to embeddings that are compared by cosine; made by `face_model`.

    Attributes:
        name: of the network.
        network: (B, 3, size, size) RGB in 0..255 -> (B, embedding_size), a sequence of stages. The first may be a
            `Preprocess`.
        size: side of the chip in pixels.
        template: the chip's five points in pixels; left eye, right eye, nose, left and right mouth corner.
        embedding_size: width of the embedding.
        licence: of the weights.
        source: where the weights came from.
        thresholds: cosine above which a comparison matches, for each FMR it was set for (as text); empty if never set.
        graph: the ONNX file that the network was converted from; its weights are not those of the network any more
            once that was tuned.
        parity: outputs for `drawn_chips`, recorded when the network was known to be right; None if never.
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

    def __str__(self) -> str:
        return self.name

    @property
    def preprocess(self) -> Preprocess:
        """What is done to a chip before the network's own first layer."""
        first = next(iter(self.network))
        return first if isinstance(first, Preprocess) else Preprocess()

    @property
    def own_stages(self) -> nn.Sequential:
        """The network without what is done to a chip before: its names do not depend on that."""
        return nn.Sequential(*(stage for stage in self.network if not isinstance(stage, Preprocess)))

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of weights, preprocessing and crop.

        Embeddings of different fingerprints are not comparable.
        """
        digest = hashlib.sha256(json.dumps([self.preprocess.settings(), self.size, self.template]).encode())
        for name, tensor in self.own_stages.state_dict().items():
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).tobytes())
        return digest.hexdigest()[:16]

    @property
    def is_non_commercial(self) -> bool:
        """Whether the licence's words say so; an unknown licence says nothing."""
        return any(word in self.licence.lower() for word in NON_COMMERCIAL_WORDS)

    def split(self, cut: int) -> tuple[nn.Sequential, nn.Sequential]:
        """The stages before `cut` and from it on, which share their weights with the network.

        A negative `cut` counts from the end; where there are fewer stages, all are in the second part.

        Raises:
            InputError: nothing is left from `cut` on.
        """
        stages = list(self.network)
        if not stages[cut:]:
            raise InputError(f"'{self.name}' has {len(stages)} stages: `cut` needs to be below that, got {cut}.")
        return nn.Sequential(*stages[:cut]), nn.Sequential(*stages[cut:])

    def save(self, folder: Path, **more: Any) -> None:
        """Write the weights and `bundle.json` into `folder`; `more` is added to the latter."""
        folder.mkdir(parents=True)
        # contiguous: safetensors keeps no memory format; cloned: nor that two names are one tensor
        state = {name: t.detach().cpu().contiguous().clone() for name, t in self.own_stages.state_dict().items()}
        safetensors.torch.save_file(state, folder / WEIGHTS_FILE)
        if self.graph is not None:
            (folder / GRAPH_FILE).write_bytes(self.graph)
        bundle = self.describe() | {"fingerprint": self.fingerprint, "parity": self.parity or rounded(self)}
        (folder / BUNDLE_FILE).write_text(json.dumps(bundle | more, indent=2))

    def describe(self) -> dict[str, Any]:
        """What `bundle.json` says of it, but for fingerprint and parity."""
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
) -> FaceModel:
    """A network with its preprocessing, ready for all commands: `fit(model=face_model(...), ...)`.

    Args:
        network: (B, 3, size, size) -> (B, D), which `torch.fx` can follow, or an `nn.Sequential` of stages. It shares
            its weights with the result.
        name: shown in reports.
        size: side of the chip in pixels.
        order: of the colours that the network takes.
        mean: subtracted, in 0..255, a number or one for each colour in that order.
        std: divided by, likewise.
        template: (5, 2) points of the chip.
        licence: of the weights.
        source: where they came from.
        thresholds: as in `FaceModel`.
        graph: likewise.
        parity: likewise.

    Raises:
        InputError: one of these is out of range, or the network cannot be followed or gives no embedding.

    >>> model = face_model(nn.Sequential(nn.AvgPool2d(16), nn.Flatten(), nn.Linear(3 * 7 * 7, 8)), name="tiny")
    >>> model.embedding_size, model.preprocess.settings()["std"]
    (8, [127.5, 127.5, 127.5])
    """
    if not isinstance(size, int) or size < 1:
        raise InputError(f"the size of a model is a whole number of pixels, got {size}.")
    points = np.asarray(template, float)
    if points.shape != (POINTS, 2) or not ((points >= 0) & (points <= size)).all():
        raise InputError(f"the template of a model needs five points (x, y) in its chip of {size} px, got {template}.")
    example = torch.zeros(1, 3, size, size)
    stages = in_stages(network.eval(), example)
    preprocess = Preprocess(order, mean, std)
    if not preprocess.is_identity():
        stages = nn.Sequential(preprocess, *stages)
    try:
        with torch.inference_mode():
            embedding = stages(example)
    except RuntimeError as error:
        raise InputError(f"'{name}' takes no {size} px chips: {' '.join(str(error).split())[:200]}.") from error
    if embedding.ndim != 2:
        raise InputError(f"'{name}' needs to give (batch, embedding), it gives {tuple(embedding.shape)} of one chip.")
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
    )


def rounded(model: FaceModel) -> list[list[float]]:
    """The outputs to record, with the digits that float32 has."""
    model.network.eval()
    found = outputs(model.network, model.template, model.size)
    return [[float(f"{value:.7g}") for value in row] for row in found.tolist()]


def tuned(model: FaceModel, network: nn.Sequential, thresholds: Mapping[str, float], source: str) -> FaceModel:
    """The same model with other weights."""
    return replace(model, network=network, thresholds=thresholds, source=source, parity=None)


DECLARED = ("name", "size", "order", "mean", "std", "template", "licence", "source", "thresholds", "parity")


def read_declared(path: Path) -> dict[str, Any]:
    """What a bundle's JSON file says that `face_model` takes.

    Raises:
        InputError: it is no JSON object, or something in it is of the wrong kind.
    """
    try:
        bundle = json.loads(path.read_text(encoding="utf-8"))
        found = {key: bundle[key] for key in DECLARED if bundle.get(key) is not None}
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"'{path}' is no bundle: {error}.") from error
    kinds: dict[str, tuple[type, ...]] = {"size": (int,), "thresholds": (dict,), "template": (list,), "parity": (list,)}
    kinds |= {"mean": (int, float, list), "std": (int, float, list)}
    for key, value in found.items():
        if not isinstance(value, kinds.get(key, (str,))) or not _finite(value):
            raise InputError(f"'{path}': {key} cannot be {str(value)[:80]}.")
    return found


def _finite(value: Any) -> bool:
    if isinstance(value, dict | list):
        return all(map(_finite, value.values() if isinstance(value, dict) else value))
    return isinstance(value, str) or (isinstance(value, int | float) and math.isfinite(value))


def load_bundle(folder: Path, network: nn.Module | None = None, *, check: bool = True) -> FaceModel:
    """Read what `FaceModel.save` wrote.

    Args:
        folder: with `bundle.json`.
        network: of the same shape, for a network that is none of ours and came from no ONNX file.
        check: refuse weights, preprocessing or a crop that are not those the fingerprint was made of.

    Raises:
        InputError: the folder is not whole, or its network is needed and not given.
        ChangedModelError: it was changed.
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
            f"'{folder}' has weights, preprocessing or a crop that its {BUNDLE_FILE} was not made for, and does not "
            f"describe: copy the model folder again; `rsft models check {folder}` may say what is wrong."
        )
    return model
