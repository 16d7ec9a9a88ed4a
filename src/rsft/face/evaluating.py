"""`rsft evaluate` and `rsft threshold`: a model on pictures whose people are known."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rsft.data.features import Features, load_features
from rsft.data.images import ImageSet, find_images
from rsft.errors import InputError
from rsft.face.comparisons import Comparisons, Everybody
from rsft.face.det import det_curve
from rsft.face.embed import embed
from rsft.face.fit import usable
from rsft.face.grouping import group_of_each, rates_of_groups
from rsft.face.identification import ENROLLED_FRACTION, enrol, identify
from rsft.face.landmarks import points_of
from rsft.face.model import FaceModel, ModelLike, load_model
from rsft.face.protocol import read_protocol
from rsft.face.recipe import Recipe
from rsft.face.stages import Listener, Stages, silent
from rsft.face.templates import Templates, read_templates, template_embeddings
from rsft.face.thresholds import Threshold, thresholds_for
from rsft.face.verification import FMRS, AnyTrial, scored, scores_of, verify

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Evaluated:
    """What is compared, embedded.

    Attributes:
        ids: (N,) of the pictures; of a template, those of its pictures.
        embeddings: (N, D).
        comparisons: between these.
        trial: their scores, under the name of the model.
        images: with their attributes.
        counts: of what was left out, and of templates, for JSON.
    """

    ids: Sequence[Sequence[str]]
    embeddings: np.ndarray
    comparisons: Comparisons | Everybody
    trial: AnyTrial
    images: ImageSet
    counts: dict[str, Any]


def evaluate_folders(
    *,
    evaluation: PathLike,
    model: ModelLike = "dlib",
    evaluation_root: PathLike | None = None,
    retain: PathLike | None = None,
    retain_root: PathLike | None = None,
    embeddings: PathLike | None = None,
    templates: PathLike | None = None,
    identification: bool = False,
    distractors: PathLike | None = None,
    enrolled_fraction: float = ENROLLED_FRACTION,
    groups: str | None = None,
    attributes: PathLike | None = None,
    det: bool = False,
    aligned: bool = False,
    landmarks: PathLike | None = None,
    seed: int = 0,
    listener: Listener = silent,
) -> dict[str, dict[str, Any]]:
    """Accuracy, TAR at fixed FMRs and EER of a model on one or two sets, and more where asked for.

    Args:
        evaluation: as in `fit`, and so are `model`, `evaluation_root`, `retain`, `retain_root` and `aligned`.
        model: the network.
        evaluation_root: of `evaluation`.
        retain: a second set; what follows is for the first only.
        retain_root: of `retain`.
        embeddings: an output of `rsft embed` by the same model that holds the pictures, which are then not read.
        templates: a table `template,path`; templates are compared in place of pictures, see `read_templates`.
        identification: also search people in a gallery of some of them, see `enrol` and `identify`.
        distractors: pictures of other people, each a further entry of that gallery.
        enrolled_fraction: of the people with two pictures, who is in that gallery.
        groups: an attribute; also rates of its groups at the thresholds of all, see `by_group`.
        attributes: a CSV or Parquet file `path,<attributes...>`; by default those that the pictures' manifest has.
        det: also FMR and FNMR over all thresholds.
        aligned: the pictures are chips already.
        landmarks: of the pictures in `evaluation`, as `read_landmarks` takes them: no face is looked for.
        seed: of bootstrap and enrolment.
        listener: is told how far each stage is.

    Returns:
        "target" and, if given, "retain": each as `Verification.to_dict`, with the number of pictures "quarantined". The
        first also "templates", "identification", "groups" and "det" where asked for.

    Raises:
        InputError: something given cannot be used.
    """
    stages, face_model = Stages(listener), load_model(model)
    if distractors is not None and not identification:
        raise InputError("distractors are further entries of a gallery: ask for identification too.")
    if attributes is not None and groups is None:
        raise InputError("attributes are read for groups: name the attribute to group by.")
    name = face_model.name
    target = _evaluated(
        face_model,
        evaluation,
        evaluation_root,
        stages,
        "target",
        aligned,
        embeddings=embeddings,
        templates=templates,
        landmarks=landmarks,
    )
    verification = verify([target.trial], seed=seed).systems[name]
    result = verification.to_dict() | target.counts
    if det:
        result["det"] = det_curve(scores_of(target.trial, name, FMRS, seed=seed)).to_dict()
    if groups is not None:
        values = _values(target, group_of_each(target.images, groups, attributes))
        result["groups"] = rates_of_groups(target.trial, name, verification, groups, values, seed=seed)
        if result["groups"] is None:
            raise InputError(
                f"groups need a threshold, and {verification.pairs_impostor} impostor comparisons set none."
            )
    if identification:
        result["identification"] = _identification(
            face_model, target, distractors, enrolled_fraction, aligned, seed, stages
        )
    results = {"target": result}
    if retain is not None:
        other = _evaluated(face_model, retain, retain_root, stages, "retain", aligned)
        results["retain"] = verify([other.trial], seed=seed).systems[name].to_dict() | other.counts
    return results


def set_thresholds(
    *,
    evaluation: PathLike,
    fmrs: Sequence[float],
    model: ModelLike = "dlib",
    evaluation_root: PathLike | None = None,
    embeddings: PathLike | None = None,
    aligned: bool = False,
    seed: int = 0,
    listener: Listener = silent,
) -> list[Threshold]:
    """The thresholds of a model for some false match rates; arguments as in `evaluate_folders` and `thresholds_for`."""
    face_model = load_model(model)
    found = _evaluated(
        face_model, evaluation, evaluation_root, Stages(listener), "evaluation", aligned, embeddings=embeddings
    )
    return thresholds_for(found.trial, face_model.name, fmrs, seed=seed)


def _evaluated(
    model: FaceModel,
    path: PathLike,
    root: PathLike | None,
    stages: Stages,
    stage: str,
    aligned: bool,
    *,
    embeddings: PathLike | None = None,
    templates: PathLike | None = None,
    landmarks: PathLike | None = None,
) -> Evaluated:
    if templates is None:
        protocol = read_protocol(path, root)
        images = protocol.images
    else:
        wanted = read_templates(templates, path, root)
        images = wanted.images
    if embeddings is None:
        points = None if landmarks is None else points_of(landmarks, images, aligned)
        with stages.stage(f"embed {stage}", len(images)) as advance:
            features = embed(model, images, cut=Recipe().cut, aligned=aligned, landmarks=points, progress=advance)
    else:
        features = _stored(Path(embeddings), images, model)
    counts: dict[str, Any] = {"quarantined": len(features.quarantined)}
    if templates is None:
        comparisons, values = usable(protocol, features), features.embeddings
        ids: Sequence[Sequence[str]] = [[item] for item in features.ids]
    else:
        comparisons, values, ids = _of_templates(wanted, features)
        counts["templates"] = {
            "compared": len(ids),
            "left_out": len(wanted.names) - len(ids),
            "pictures": len(features),
        }
    return Evaluated(ids, values, comparisons, scored({model.name: values}, comparisons), images, counts)


def _of_templates(
    templates: Templates, features: Features
) -> tuple[Comparisons | Everybody, np.ndarray, list[Sequence[str]]]:
    values, row = template_embeddings(templates, features)
    comparisons = templates.comparisons.restricted_to(row)
    return comparisons, values, [members for members, place in zip(templates.members, row, strict=True) if place >= 0]


def _stored(folder: Path, images: ImageSet, model: FaceModel) -> Features:
    """The rows of an output of `rsft embed` that are of these pictures."""
    features = load_features(folder)
    if features.fingerprint != model.fingerprint:
        raise InputError(f"'{folder}' was embedded by another model than '{model.name}': embed again.")
    place = {item: row for row, item in enumerate(features.ids)}
    left_out = dict(features.quarantined)
    unknown = [item for item in images.ids if item not in place and item not in left_out]
    if unknown:
        raise InputError(f"'{folder}' lacks {len(unknown)} of the pictures, such as '{unknown[0]}': embed them too.")
    rows = [place[item] for item in images.ids if item in place]
    if not rows:
        raise InputError(f"'{folder}' has none of the pictures embedded: all {len(images)} were left out.")
    quarantined = [(item, left_out[item]) for item in images.ids if item in left_out]
    kept = features.subset(np.array(rows))
    return Features(kept.ids, kept.embeddings, kept.nuisances, None, quarantined, features.fingerprint, kept.covariates)


def _values(evaluated: Evaluated, value: Mapping[str, str]) -> list[str]:
    """The value of each row; of a template, that of all its pictures, or none where they differ."""
    told = [{value[item] for item in items} for items in evaluated.ids]
    return [values.pop() if len(values) == 1 else "" for values in told]


def _identification(
    model: FaceModel,
    evaluated: Evaluated,
    distractors: PathLike | None,
    fraction: float,
    aligned: bool,
    seed: int,
    stages: Stages,
) -> dict[str, Any]:
    if any("/" not in item for items in evaluated.ids for item in items):
        raise InputError("identification needs to know who is in each picture: give pictures in folders of identities.")
    further = None
    if distractors is not None:
        images = find_images(distractors)
        people = {items[0].partition("/")[0] for items in evaluated.ids}
        shared = sorted({item.partition("/")[0] for item in images.ids if "/" in item} & people)
        if shared:
            raise InputError(
                f"{len(shared)} identities of '{distractors}' are also searched for, such as '{shared[0]}'."
            )
        with stages.stage("embed distractors", len(images)) as advance:
            further = embed(model, images, cut=Recipe().cut, aligned=aligned, progress=advance).embeddings
    identity = evaluated.comparisons.identity
    enrolment = enrol(identity, fraction=fraction, seed=seed)
    return identify(evaluated.embeddings, identity, enrolment, distractors=further, seed=seed).to_dict()
