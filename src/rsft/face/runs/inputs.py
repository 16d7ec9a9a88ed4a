"""The inputs of a command: their paths as the user names them, and the data sets read from them."""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rsft.data.column_names import CLIP
from rsft.data.features import DESCRIPTION_FILE, Features, load_features
from rsft.data.images import ImageSet, find_images
from rsft.data.remote import is_url, to_path
from rsft.errors import InputError
from rsft.face.evaluation.protocol import RETAIN, TARGET, Protocol, read_protocol, without_overlap
from rsft.face.evaluation.rule_of_30 import is_supported
from rsft.face.evaluation.verification import FMRS
from rsft.face.networks.bundle import FaceModel
from rsft.face.networks.load import ModelLike, load_model
from rsft.face.pictures.embedding import embed
from rsft.face.pictures.landmarks import Landmarks, points_of_sets
from rsft.face.runs.machines import check_alike
from rsft.face.runs.progress import Stages
from rsft.face.runs.same_inputs import noted_inputs
from rsft.types import PathLike

POOL = "pool"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The inputs of a command, as paths and options.

    Attributes:
        pool: Labelled pictures, in any form that `find_images` reads.
        target: Pictures of the deployment, in any of these forms. Labels are not needed.
        model: A model as for `load_model`: a name, a file, the folder of an earlier run, or a `FaceModel`.
        evaluation: Evaluation set: a pairs CSV, a `.bin` set, or labelled pictures. It should be like the target.
        evaluation_root: The folder or archive that the paths of a pairs CSV are relative to. Defaults to the folder of
            the CSV.
        retain: A second evaluation set, on which the model must not get worse.
        retain_root: Like `evaluation_root`, for `retain`.
        attributes: A CSV or Parquet file with a column `path` (relative to the pictures' root) and one column for each
            attribute. Defaults to the attributes in the manifest of the pictures.
        landmarks: A file as for `read_landmarks`. No face is searched for in the sets whose pictures it names.
        aligned: All pictures are aligned chips already.
        allow_overlap: Allow identities that are both in the pool and evaluated.
        drop_overlap: Remove the identities that are evaluated from the pool.
    """

    pool: PathLike | None = None
    target: PathLike | None = None
    model: ModelLike = "dlib"
    evaluation: PathLike | None = None
    evaluation_root: PathLike | None = None
    retain: PathLike | None = None
    retain_root: PathLike | None = None
    attributes: PathLike | None = None
    landmarks: PathLike | None = None
    aligned: bool = False
    allow_overlap: bool = False
    drop_overlap: bool = False

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, str | os.PathLike) and is_url(value):
                object.__setattr__(self, name, to_path(value))  # which shows no signature

    @property
    def paths(self) -> list[object]:
        """All inputs that are read, for `check_output`."""
        return [value for value in vars(self).values() if value is not None and not isinstance(value, bool)]

    def to_dict(self) -> dict[str, Any]:
        """Return the given paths as text, and the options, for `config.toml`."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        return {name: value if isinstance(value, bool) else str(value) for name, value in given.items()}


@dataclass(frozen=True)
class FaceInputs:
    """A model and the listed and checked picture sets of a command; `read_inputs` and `inputs_of` make it.

    Attributes:
        model: The network that embeds all sets.
        sets: Name -> pictures of each set.
        points: Name of each set -> the five points of each picture, or None if a detector finds them.
        aligned: All pictures are aligned chips already.
        protocols: The pairs to compare: "target" and, if given, "retain".
        embedded: Name -> features of each set that was given as an output of `rsft embed`.
    """

    model: FaceModel
    sets: Mapping[str, ImageSet]
    points: Mapping[str, Landmarks | None]
    aligned: bool = False
    protocols: Mapping[str, Protocol] = field(default_factory=dict)
    embedded: Mapping[str, Features] = field(default_factory=dict)

    @property
    def identities(self) -> int:
        """The number of identities in the pool."""
        pool = self.embedded[POOL] if POOL in self.embedded else self.sets[POOL]
        return len(pool.identities.names)

    @property
    def passed_over(self) -> dict[str, dict[str, int]]:
        """Name of each set -> reason -> number of files that were not listed as its pictures; no name of a file."""
        return {name: images.passed_over.numbers() for name, images in self.sets.items() if images.passed_over}

    def check_alike(self) -> None:
        """Raise InputError unless all processes of a launcher have listed the same; see `check_alike`."""
        check_alike(noted_inputs(self.sets, protocols=self.protocols, model=self.model, points=self.points))

    def embed(
        self,
        name: str,
        stages: Stages,
        *,
        views: int = 0,
        folder: Path | None = None,
        note: Callable[[], None] = lambda: None,
    ) -> Features:
        """Embed one set.

        Args:
            name: Name of the set.
            stages: Times the work and reports its progress.
            views: As for `rsft.face.pictures.embedding.embed`.
            folder: Folder whose subfolder of the set's name stores finished parts. By default they stay in memory.
            note: Called after each batch.

        Raises:
            InputError: No picture could be used.
        """
        if name in self.embedded:
            return self.embedded[name]
        with stages.stage(f"embed {name}", len(self.sets[name])) as advance:

            def progress(pictures: int) -> None:
                advance(pictures)
                note()

            found = embed(
                self.model,
                self.sets[name],
                aligned=self.aligned,
                landmarks=self.points[name],
                views=views,
                folder=None if folder is None else folder / name,
                progress=progress,
            )
        return with_clips(found, self.sets[name])

    def embed_evaluated(self, stages: Stages, folder: Path) -> dict[str, Features]:
        """Embed the pictures of every protocol with two views, the picture and its mirror image, into `folder`."""
        return {key: self.embed(evaluation_set(key), stages, views=2, folder=folder) for key in self.protocols}


def with_clips(features: Features, images: ImageSet) -> Features:
    """Add the clips of pictures that have an attribute `CLIP`; a picture without a clip is one of its own."""
    if CLIP not in images.attributes:
        return features
    clip = {item: told or f"/{item}" for item, told in zip(images.ids, images.attributes[CLIP], strict=True)}
    return replace(features, clips=np.unique([clip[item] for item in features.ids], return_inverse=True)[1])


def inputs_of(
    model: FaceModel, sets: Mapping[str, ImageSet], *, landmarks: PathLike | None = None, aligned: bool = False
) -> FaceInputs:
    """Return the inputs for a model and picture sets. `landmarks` and `aligned` are described in `Sources`.

    Raises:
        InputError: Landmarks are given, but name no picture of any set, or the pictures are aligned chips.
    """
    return FaceInputs(model, sets, points_of_sets(landmarks, sets, aligned), aligned)


def read_inputs(sources: Sources, *, cut: int) -> FaceInputs:
    """Load the model and list the pictures of all inputs. No picture is decoded.

    Args:
        sources: The inputs. The pool or target may be an output of `rsft embed` if nothing is evaluated.
        cut: Index of the first stage that may be tuned; a negative one counts from the end.

    Raises:
        InputError: An input cannot be used, or identities of the pool are also evaluated.
    """
    model = replace(load_model(sources.model), cut=cut)
    # The layout affects the last bit, so it is set even if all sets are embedded already.
    model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    sets, embedded = dict[str, ImageSet](), dict[str, Features]()
    for name, path in ((POOL, sources.pool), (TARGET, sources.target)):
        if path is not None and not is_url(path) and (Path(path) / DESCRIPTION_FILE).exists():
            embedded[name] = load_features(Path(path))
        elif path is not None:
            sets[name] = find_images(path, labelled=name == POOL)
    named = {TARGET: (sources.evaluation, sources.evaluation_root), RETAIN: (sources.retain, sources.retain_root)}
    protocols = {key: read_protocol(path, root) for key, (path, root) in named.items() if path is not None}
    if embedded and protocols:
        name = next(iter(embedded))
        raise InputError(
            f"the {name} is an output of `rsft embed`: give its pictures instead, since the command needs them."
        )
    if POOL in sets:
        sets[POOL] = without_overlap(sets[POOL], protocols, allow=sources.allow_overlap, drop=sources.drop_overlap)
    sets |= {evaluation_set(key): protocol.images for key, protocol in protocols.items()}
    for key, protocol in protocols.items():
        log.info("%s: %s", evaluation_set(key), _supported(protocol))
    points = points_of_sets(sources.landmarks, sets, sources.aligned)
    return FaceInputs(model, sets, points, sources.aligned, protocols, embedded)


def _supported(protocol: Protocol) -> str:
    """Say how many comparisons there are, and of which FMRs they can tell."""
    genuine, impostor = protocol.pairs.counts
    told = [f"{fmr:g}" for fmr in FMRS if is_supported(fmr, impostor)]
    can = f"enough for FMR {', '.join(told)}" if told else f"too few for FMR {FMRS[0]:g}, which needs 3 / FMR impostors"
    return f"{genuine:,} genuine and {impostor:,} impostor comparisons, {can}"


def evaluation_set(key: str) -> str:
    """Return the name of the picture set of a protocol."""
    return f"evaluation {key}"
