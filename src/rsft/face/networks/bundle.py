"""A face network with the settings that belong to its weights."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from rsft.disk.tensors import save_tensors
from rsft.disk.whole import whole_folder
from rsft.errors import InputError
from rsft.face.networks.chip_points import ARCFACE, Template
from rsft.face.networks.fusion import common_chip, fused_network
from rsft.face.networks.names import BUNDLE_FILE, DEFAULT_CUT, SEPARATOR
from rsft.face.networks.parity import outputs
from rsft.face.networks.preprocess import Preprocess
from rsft.face.networks.stages import in_stages

WEIGHTS_FILE = "weights.safetensors"
HUB_WEIGHTS_FILE = "model.safetensors"  # the name by which the hub counts parameters
GRAPH_FILE, PART_GRAPH_FILE = "graph.onnx", "graph-{}.onnx"
UNKNOWN_LICENCE = "unknown"
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
        parts: The models that this one is the fusion of, as they were before; empty for a single network.
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
    parts: Sequence["FaceModel"] = ()

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
                stages, all are in the second part. The networks of a fusion are in the first part in any case.

        Raises:
            InputError: The second part would be empty, or have no weights.
        """
        stages = list(self.network)
        if not stages[cut:]:
            raise InputError(f"'{self.name}' has {len(stages)} stages: `cut` must be less than that, got {cut}.")
        never = max((place for place, stage in enumerate(stages, 1) if hasattr(stage, "never_tuned")), default=0)
        start = max(never, slice(cut, None).indices(len(stages))[0])
        tunable = nn.Sequential(*stages[start:])
        if next(tunable.parameters(), None) is None:
            raise InputError(f"'{self.name}' has no weights from stage {start} on: `cut` must be less, got {cut}.")
        return nn.Sequential(*stages[:start]), tunable

    def save(self, folder: Path, **more: Any) -> None:
        """Write the weights, `bundle.json` and, if there is one, the ONNX graph into a new folder.

        Args:
            folder: The folder; it must not exist.
            **more: Further entries of `bundle.json`.

        Raises:
            FileExistsError: The folder exists.
        """
        with whole_folder(folder) as new:
            self.save_into(new, **more)

    def save_into(self, folder: Path, **more: Any) -> None:
        """Write the files of `save` into an existing folder."""
        # safetensors accepts neither other memory formats nor two names for one tensor: make contiguous copies
        state = {name: t.detach().cpu().contiguous().clone() for name, t in self.own_stages.state_dict().items()}
        save_tensors(folder / WEIGHTS_FILE, state)
        if self.graph is not None:
            (folder / GRAPH_FILE).write_bytes(self.graph)
        for index, part in enumerate(self.parts):
            if part.graph is not None:
                (folder / PART_GRAPH_FILE.format(index)).write_bytes(part.graph)
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
        } | ({"parts": [part.describe() for part in self.parts]} if self.parts else {})


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


def fuse(models: Sequence[FaceModel]) -> FaceModel:
    """Fuse networks: their unit embeddings side by side, so that the cosine is the mean of the networks' cosines.

    Only a linear layer behind each of them can be tuned, as by the whitening of `rsft.face.adaptation`; the networks
    stay as they are. A face is cut out once, as a chip that holds those of all networks. It takes the time of all of
    them.

    Args:
        models: Two or more different networks that are not fusions themselves. The first sets how a face lies in the
            chip.

    Raises:
        InputError: There are fewer than two networks, one is there twice, or one is a fusion.
    """
    name = SEPARATOR.join(model.name for model in models)
    if len({model.fingerprint for model in models}) < max(2, len(models)) or any(model.parts for model in models):
        raise InputError(f"'{name}': a fusion needs two or more different networks that are not fusions themselves.")
    chip = common_chip([(model.size, model.template) for model in models])
    fused = face_model(
        fused_network([model.network for model in models], [model.size for model in models], chip),
        name=name,
        size=chip.size,
        mean=0.0,
        std=1.0,
        template=chip.template,
        licence=" and ".join(dict.fromkeys(model.licence for model in models)),
        source=" and ".join(model.source for model in models),
        cut=-1,
    )
    return replace(fused, parts=tuple(models))


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
