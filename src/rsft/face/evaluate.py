"""`rsft evaluate`: a model on pictures whose people are known."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rsft.data.images import find_images
from rsft.data.listing import identity_of
from rsft.errors import InputError
from rsft.face.evaluation.det import det_curve
from rsft.face.evaluation.groups import group_of_each, rates_of_groups
from rsft.face.evaluation.identification import ENROLLED_FRACTION, enrol, identify
from rsft.face.evaluation.protocol import RETAIN, TARGET
from rsft.face.evaluation.verification import FMRS, verify
from rsft.face.networks.bundle import FaceModel
from rsft.face.networks.load import ModelLike, load_model
from rsft.face.runs.evaluated import Evaluated, read_evaluated
from rsft.face.runs.inputs import Sources, inputs_of
from rsft.face.runs.progress import Listener, Stages, silent
from rsft.types import PathLike


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
    if distractors is not None and not identification:
        raise InputError("distractors are further entries of a gallery: ask for identification too.")
    if attributes is not None and groups is None:
        raise InputError("attributes are read for groups: name the attribute to group by.")
    stages, face_model = Stages(listener), load_model(model)
    sources = Sources(evaluation=evaluation, evaluation_root=evaluation_root, landmarks=landmarks, aligned=aligned)
    target = read_evaluated(face_model, sources, stages, TARGET, embeddings=embeddings, templates=templates)
    name = face_model.name
    verification = verify([target.trial], seed=seed).systems[name]
    result = verification.to_dict() | target.counts
    if det:
        result["det"] = det_curve(target.trial.scores(name, FMRS, seed=seed)).to_dict()
    if groups is not None:
        values = _values(target, group_of_each(target.images, groups, attributes))
        result["groups"] = rates_of_groups(target.trial, name, verification, groups, values, seed=seed)
        if result["groups"] is None:
            raise InputError(
                f"groups need a threshold, and {verification.pairs_impostor} impostor comparisons set none."
            )
    if identification:
        further = None if distractors is None else _distractors(face_model, distractors, target, aligned, stages)
        result["identification"] = _identification(target, further, enrolled_fraction, seed)
    results = {TARGET: result}
    if retain is not None:
        sources = Sources(evaluation=retain, evaluation_root=retain_root, aligned=aligned)
        other = read_evaluated(face_model, sources, stages, RETAIN)
        results[RETAIN] = verify([other.trial], seed=seed).systems[name].to_dict() | other.counts
    return results


def _values(evaluated: Evaluated, value: Mapping[str, str]) -> list[str]:
    """The value of each row; of a template, that of all its pictures, or none where they differ."""
    told = [{value[item] for item in items} for items in evaluated.ids]
    return [values.pop() if len(values) == 1 else "" for values in told]


def _distractors(model: FaceModel, path: PathLike, evaluated: Evaluated, aligned: bool, stages: Stages) -> np.ndarray:
    """Embed the pictures of other people: (E, D)."""
    images = find_images(path)
    people = {identity_of(items[0]) for items in evaluated.ids}
    shared = sorted({identity_of(item) for item in images.ids if "/" in item} & people)
    if shared:
        raise InputError(f"{len(shared)} identities of '{path}' are also searched for, such as '{shared[0]}'.")
    return inputs_of(model, {"distractors": images}, aligned=aligned).embed("distractors", stages).embeddings


def _identification(evaluated: Evaluated, distractors: np.ndarray | None, fraction: float, seed: int) -> dict[str, Any]:
    if any("/" not in item for items in evaluated.ids for item in items):
        raise InputError("identification needs to know who is in each picture: give pictures in folders of identities.")
    identity = evaluated.pairs.identity
    enrolment = enrol(identity, fraction=fraction, seed=seed)
    return identify(evaluated.embeddings, identity, enrolment, distractors=distractors, seed=seed).to_dict()
