"""`rsft evaluate`: evaluate a model on pictures of known people."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rsft.data.images import find_images
from rsft.data.listing import identity_of
from rsft.errors import InputError
from rsft.face.evaluation.det import det_curve
from rsft.face.evaluation.groups import group_of_each, rates_of_groups
from rsft.face.evaluation.identification import ENROLLED_FRACTION, enrol, identify
from rsft.face.evaluation.protocol import RETAIN, TARGET
from rsft.face.evaluation.trials import AnyTrial
from rsft.face.evaluation.verification import FMRS, verify
from rsft.face.networks.bundle import FaceModel
from rsft.face.networks.load import ModelLike, load_model
from rsft.face.runs.evaluated import Evaluated, read_evaluated
from rsft.face.runs.evaluation_file import curves_of_each, write_evaluation
from rsft.face.runs.inputs import Sources, inputs_of
from rsft.face.runs.progress import Listener, Stages, silent
from rsft.run_folder import writing_if
from rsft.tuning.distributed import first_enters, join, on_first
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
    out: PathLike | None = None,
    overwrite: bool = False,
    aligned: bool = False,
    landmarks: PathLike | None = None,
    seed: int = 0,
    listener: Listener = silent,
) -> dict[str, dict[str, Any]]:
    """Compute accuracy, TAR at fixed FMRs and EER of a model on one or two sets, and optionally more.

    Under `torchrun` or `accelerate launch`, each process embeds its part of the pictures, and the first measures.
    The arguments from `embeddings` to `det` apply to `evaluation` only. `rsft.face.runs.inputs.Sources` describes the
    inputs.

    Args:
        evaluation: See `Sources`.
        model: See `Sources`.
        evaluation_root: See `Sources`.
        retain: See `Sources`.
        retain_root: See `Sources`.
        embeddings: An output of `rsft embed` by the same model that holds the pictures, which are then not read.
        templates: A table `template,path`. Templates are compared in place of pictures; see `read_templates`.
        identification: Also search for people in a gallery of some of them; see `enrol` and `identify`.
        distractors: Pictures of other people. Each is added to that gallery.
        enrolled_fraction: Share of the people with two or more pictures who are in that gallery, in (0, 1].
        groups: An attribute. Also compute the error rates within its groups, at the thresholds of the whole set; see
            `rates_of_groups`.
        attributes: See `Sources`. They are read for `groups`.
        det: Also compute FMR and FNMR over all thresholds; see `det_curve`.
        out: Folder to create for `evaluation.json` and `report.html`. By default, nothing is written.
        overwrite: Replace an `out` that rsft wrote.
        aligned: See `Sources`.
        landmarks: See `Sources`. They are used for the pictures in `evaluation` only.
        seed: Seed for the bootstrap and the enrolment.
        listener: Callback that receives (stage, done, total) as each stage advances.

    Returns:
        A dictionary with "target" and, if given, "retain". Each value is that of `Verification.to_dict` with the number
        of pictures left out as "quarantined". "target" also has "templates", "identification", "groups" and "det", if
        they were asked for.

    Raises:
        InputError: An input cannot be used, an option lacks the one it belongs to, or the set has too few comparisons
            for what was asked for.
    """
    if distractors is not None and not identification:
        raise InputError("distractors are added to a gallery: ask for identification too.")
    if attributes is not None and groups is None:
        raise InputError("attributes are read for groups: name the attribute to group by.")
    given = (evaluation, evaluation_root, retain, retain_root, embeddings, templates, distractors, attributes, model)
    join()
    to = None if out is None else Path(out)
    with first_enters(writing_if(to, inputs=given, overwrite=overwrite)) as folder:
        stages, face_model = Stages(listener), load_model(model)
        sources = Sources(evaluation=evaluation, evaluation_root=evaluation_root, landmarks=landmarks, aligned=aligned)
        target = read_evaluated(face_model, sources, stages, TARGET, embeddings=embeddings, templates=templates)
        further = None if distractors is None else _distractors(face_model, distractors, target, aligned, stages)
        sets = {TARGET: target}
        if retain is not None:
            sources = Sources(evaluation=retain, evaluation_root=retain_root, aligned=aligned)
            sets[RETAIN] = read_evaluated(face_model, sources, stages, RETAIN)

        def measure() -> dict[str, dict[str, Any]]:
            """Compute the figures and write them; the first process does."""
            name = face_model.name
            verified = {key: verify([of.trial], seed=seed).systems[name] for key, of in sets.items()}
            results = {key: verified[key].to_dict() | of.counts for key, of in sets.items()}
            result = results[TARGET]
            if det:
                result["det"] = det_curve(target.trial.scores(name, FMRS, seed=seed)).to_dict()
            if groups is not None:
                values = _values(target, group_of_each(target.images, groups, attributes))
                result["groups"] = rates_of_groups(target.trial, name, verified[TARGET], groups, values, seed=seed)
                if result["groups"] is None:
                    raise InputError(
                        f"groups need a threshold, and {verified[TARGET].pairs_impostor} impostor comparisons are too "
                        "few for one."
                    )
            if identification:
                result["identification"] = _identification(target, further, enrolled_fraction, seed)
            if folder is not None:
                named = name if isinstance(model, FaceModel) else Path(model).name
                pages = {key: _for_page(named, results[key], of.trial, seed) for key, of in sets.items()}
                write_evaluation(folder, pages, [named], seed)
            return results

        return on_first(measure)


def _for_page(name: str, result: Mapping[str, Any], trial: AnyTrial, seed: int) -> dict[str, Any]:
    """Return what `write_evaluation` takes of one set."""
    [curve] = curves_of_each(trial, seed).values()
    return {
        "systems": {name: {key: value for key, value in result.items() if key not in ("det", "groups")}},
        "curves": {name: curve},
        "left_out": {name: result["quarantined"]},
        **({"groups": {name: result["groups"]}} if "groups" in result else {}),
    }


def _values(evaluated: Evaluated, value: Mapping[str, str]) -> list[str]:
    """Return the value of each row. A template has the value of its pictures, or "" if these differ."""
    told = [{value[item] for item in items} for items in evaluated.ids]
    return [values.pop() if len(values) == 1 else "" for values in told]


def _distractors(model: FaceModel, path: PathLike, evaluated: Evaluated, aligned: bool, stages: Stages) -> np.ndarray:
    """Embed the pictures of other people, and return their embeddings (E, D)."""
    images = find_images(path)
    people = {identity_of(items[0]) for items in evaluated.ids}
    shared = sorted({identity_of(item) for item in images.ids if "/" in item} & people)
    if shared:
        raise InputError(
            f"{len(shared)} identities of '{path}' are also evaluated, such as '{shared[0]}': give other people."
        )
    inputs = inputs_of(model, {"distractors": images}, aligned=aligned)
    inputs.check_alike()
    return inputs.embed("distractors", stages).embeddings


def _identification(evaluated: Evaluated, distractors: np.ndarray | None, fraction: float, seed: int) -> dict[str, Any]:
    """Enrol some of the people and search for all of them; return the rates for JSON."""
    if any("/" not in item for items in evaluated.ids for item in items):
        raise InputError("identification needs the identity of each picture: give pictures in one folder per identity.")
    identity = evaluated.pairs.identity
    enrolment = enrol(identity, fraction=fraction, seed=seed)
    return identify(evaluated.embeddings, identity, enrolment, distractors=distractors, seed=seed).to_dict()
