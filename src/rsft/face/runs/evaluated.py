"""Scores of a model on an evaluation set of pictures or templates."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rsft.data.features import Features, load_features
from rsft.data.images import ImageSet
from rsft.errors import InputError
from rsft.face.evaluation.pairs import AllPairs, PairList
from rsft.face.evaluation.protocol import read_protocol, usable
from rsft.face.evaluation.templates import Templates, read_templates, template_embeddings
from rsft.face.evaluation.thresholds import check_support
from rsft.face.evaluation.trials import AnyTrial, scored
from rsft.face.networks.bundle import FaceModel
from rsft.face.runs.inputs import Sources, inputs_of
from rsft.face.runs.progress import Stages
from rsft.types import PathLike


@dataclass(frozen=True)
class Evaluated:
    """An evaluation set, embedded and scored.

    Attributes:
        ids: Ids of the pictures of each row (N,): one picture, or those of a template.
        embeddings: Embeddings (N, D).
        pairs: The pairs between these rows.
        trial: Their scores, under the name of the model.
        images: The pictures, with their attributes.
        counts: Numbers of quarantined pictures and of templates, for JSON.
    """

    ids: Sequence[Sequence[str]]
    embeddings: np.ndarray
    pairs: PairList | AllPairs
    trial: AnyTrial
    images: ImageSet
    counts: dict[str, Any]


def read_evaluated(
    model: FaceModel,
    sources: Sources,
    stages: Stages,
    name: str,
    *,
    embeddings: PathLike | None = None,
    templates: PathLike | None = None,
    fmrs: Sequence[float] = (),
) -> Evaluated:
    """Read, embed and score an evaluation set.

    Args:
        model: The model to evaluate.
        sources: Its `evaluation`, `evaluation_root`, `landmarks` and `aligned` are used.
        stages: Times the work and reports its progress.
        name: Name of the set, for the progress.
        embeddings: An output of `rsft embed` by the same model that holds the pictures, which are then not read.
        templates: A table `template,path`, see `read_templates`. Templates are compared in place of pictures.
        fmrs: False match rates that the listed pairs must support; this is checked before a picture is read.

    Raises:
        InputError: The set, the templates or the embeddings cannot be used.
    """
    assert sources.evaluation is not None
    if templates is None:
        protocol = read_protocol(sources.evaluation, sources.evaluation_root)
        images = protocol.images
        check_support(fmrs, protocol.pairs.counts[1])
    else:
        wanted = read_templates(templates, sources.evaluation, sources.evaluation_root)
        images = wanted.images
    if embeddings is None:
        inputs = inputs_of(model, {name: images}, landmarks=sources.landmarks, aligned=sources.aligned)
        inputs.check_alike()
        features = inputs.embed(name, stages)
    else:
        features = _stored(Path(embeddings), images, model)
    counts: dict[str, Any] = {"quarantined": len(features.quarantined)}
    if templates is None:
        pairs, values = usable(protocol, features), features.embeddings
        ids: Sequence[Sequence[str]] = [[item] for item in features.ids]
    else:
        pairs, values, ids = _of_templates(wanted, features)
        left_out = len(wanted.names) - len(ids)
        counts["templates"] = {"compared": len(ids), "left_out": left_out, "pictures": len(features)}
    return Evaluated(ids, values, pairs, scored({model.name: values}, pairs), images, counts)


def _of_templates(
    templates: Templates, features: Features
) -> tuple[PairList | AllPairs, np.ndarray, list[Sequence[str]]]:
    """Return the pairs, the embeddings and the picture ids of the templates that have a usable picture."""
    values, row = template_embeddings(templates, features)
    pairs = templates.pairs.restricted_to(row)
    return pairs, values, [members for members, place in zip(templates.members, row, strict=True) if place >= 0]


def _stored(folder: Path, images: ImageSet, model: FaceModel) -> Features:
    """Read the rows of some pictures from an output of `rsft embed` by the same model."""
    features = load_features(folder)
    if features.fingerprint != model.fingerprint:
        raise InputError(f"'{folder}' was embedded by another model than '{model.name}': embed the pictures again.")
    place = {item: row for row, item in enumerate(features.ids)}
    left_out = dict(features.quarantined)
    unknown = [item for item in images.ids if item not in place and item not in left_out]
    if unknown:
        raise InputError(f"'{folder}' lacks {len(unknown)} of the pictures, such as '{unknown[0]}': embed them too.")
    rows = [place[item] for item in images.ids if item in place]
    if not rows:
        raise InputError(f"'{folder}' has no embedding of the pictures: all {len(images)} were left out.")
    quarantined = [(item, left_out[item]) for item in images.ids if item in left_out]
    kept = features.subset(np.array(rows))
    return replace(kept, activations=None, quarantined=quarantined)
