"""`rsft fit`: from folders of pictures to a tuned model, numbers with intervals and a report."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from rsft.data.features import Features
from rsft.data.images import ImageSet, find_images
from rsft.errors import InputError
from rsft.face.adapt import Tuned, check_identities, total_steps, tune
from rsft.face.align import AlignedFace
from rsft.face.bundle import FaceModel, tuned
from rsft.face.card import write_card
from rsft.face.comparisons import Comparisons, Everybody
from rsft.face.embed import embed, face_finder
from rsft.face.gate import Gate, within_bound
from rsft.face.grouping import group_of_each, rates_of_groups
from rsft.face.landmarks import points_of_sets
from rsft.face.model import ModelLike, load_model
from rsft.face.planning import plan_faces
from rsft.face.privacy import new_pseudonyms
from rsft.face.protocol import Protocol, read_protocol
from rsft.face.recipe import Recipe
from rsft.face.results import PRETRAINED, TUNED, headline_fmr, summarise, write_results
from rsft.face.stages import Listener, Stages, silent
from rsft.face.verification import AnyTrial, scored, verify
from rsft.face.views import embed_activations
from rsft.plan import Plan
from rsft.report.page import write_report
from rsft.report.run import HISTORY_FILE, THUMBNAILS_FOLDER
from rsft.run_folder import check_output, writing
from rsft.tuning.history import History
from rsft.tuning.processes import device, first, first_enters, is_first, join

CACHE_FOLDER = "cache"
CHECKPOINTS_FOLDER = "checkpoints"
MODEL_FOLDER = "model"
THUMBNAILS = 16
MIN_KEPT_FRACTION = 0.5

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class FitResult:
    """What a run found.

    Attributes:
        verdict: in words.
        metrics: the contents of `metrics.json`.
        plan: what was accepted, and why.
        model: the model to ship; the pretrained one where tuning did not help.
        out: the run folder.
    """

    verdict: str
    metrics: dict[str, Any]
    plan: Plan
    model: FaceModel
    out: Path


def fit(
    *,
    pool: PathLike,
    target: PathLike,
    evaluation: PathLike,
    out: PathLike,
    model: ModelLike = "dlib",
    evaluation_root: PathLike | None = None,
    retain: PathLike | None = None,
    retain_root: PathLike | None = None,
    recipe: Recipe | None = None,
    seed: int = 0,
    aligned: bool = False,
    landmarks: PathLike | None = None,
    allow_overlap: bool = False,
    drop_overlap: bool = False,
    groups: str | None = None,
    attributes: PathLike | None = None,
    overwrite: bool = False,
    resume: bool = False,
    show_faces: bool = False,
    listener: Listener = silent,
) -> FitResult:
    """Adapt a pretrained face model to the population in `target`, using what the labelled pool holds of it.

    Args:
        pool: anything that `find_images` reads, with identities.
        target: pictures of the deployment, likewise; no labels are needed.
        evaluation: a pairs CSV, a `.bin` set, or pictures of identities, like the target.
        out: the run folder to make.
        model: as for `load_model`: a name, a file, the folder of an earlier run, or a `FaceModel`.
        evaluation_root: what the paths of a pairs CSV are relative to; the folder of the CSV by default.
        retain: like `evaluation`, of what must not get worse.
        retain_root: like `evaluation_root`.
        recipe: the settings.
        seed: of everything random.
        aligned: all pictures are aligned chips already.
        landmarks: a file as `read_landmarks` takes it: in the sets whose pictures it names, no face is looked for.
        allow_overlap: evaluate on identities that are also trained on.
        drop_overlap: leave identities that are evaluated out of the pool.
        groups: an attribute of the evaluated pictures; the model card then has the error rates of its groups.
        attributes: a CSV or Parquet file `path,<attributes...>`; by default those that the pictures' manifest has.
        overwrite: replace an existing `out`.
        resume: reuse what an interrupted run has embedded, and continue its training.
        show_faces: put some pictures of the pool and the target into the report, and names in place of salted hashes
            into the run folder.
        listener: is told how far each stage is.

    Under `torchrun` or `accelerate launch` each process embeds its part of the pictures and trains on its part of
    every batch; the first plans, decides, evaluates and writes `out`, which all must see.

    Raises:
        InputError: something given cannot be used; the message says what to do.
        InterruptedTrainingError: SIGINT or SIGTERM ended a training, and what was done is saved for `resume`.
    """
    recipe = recipe or Recipe()
    out = Path(out)
    config = {
        "pool": str(pool),
        "target": str(target),
        "model": str(model),
        "evaluation": str(evaluation),
        "evaluation_root": str(evaluation_root) if evaluation_root is not None else None,
        "retain": str(retain) if retain is not None else None,
        "groups": groups,
        "attributes": str(attributes) if attributes is not None else None,
        "seed": seed,
        "aligned": aligned,
        "landmarks": str(landmarks) if landmarks is not None else None,
        "recipe": recipe.model_dump(exclude_none=True),
    }
    config = {key: value for key, value in config.items() if value is not None}
    if attributes is not None and groups is None:
        raise InputError("attributes are read for groups: name the attribute to group by.")
    inputs = (pool, target, evaluation, evaluation_root, retain, retain_root, model, attributes, landmarks)
    join()
    first(lambda: check_output(out, inputs=inputs, overwrite=overwrite, resume=resume))
    stages = Stages(listener)
    face_model = load_model(model)
    # as `embed` does; where all is embedded already, it would not, and the last bit depends on the layout
    face_model.network.to(device(), memory_format=torch.channels_last)  # type: ignore[call-overload]
    target_images = find_images(target)
    protocols = {"target": read_protocol(evaluation, evaluation_root)}
    if retain is not None:
        protocols["retain"] = read_protocol(retain, retain_root)
    group_of = {} if groups is None else group_of_each(protocols["target"].images, groups, attributes)
    pseudonym = new_pseudonyms(show=show_faces)
    everybody = find_images(pool, labelled=True)
    pool_images = without_overlap(everybody, protocols, allow=allow_overlap, drop=drop_overlap)
    check_identities(len(set(pool_images.identities)), recipe)
    sets = {"pool": pool_images, "target": target_images}
    sets |= {f"evaluation {key}": protocol.images for key, protocol in protocols.items()}
    points = points_of_sets(landmarks, sets, aligned)
    with first_enters(writing(out, inputs=inputs, overwrite=overwrite, resume=resume)) as folder:

        def embedded(name: str, views: int) -> Features:
            with stages.stage(f"embed {name}", len(sets[name])) as advance:
                return embed(
                    face_model,
                    sets[name],
                    cut=recipe.cut,
                    aligned=aligned,
                    landmarks=points[name],
                    views=views,
                    folder=folder / CACHE_FOLDER / name,
                    progress=advance,
                )

        pool_features = embedded("pool", recipe.views)
        target_features = embedded("target", 0)
        evaluated = {key: embedded(f"evaluation {key}", 2) for key in protocols}
        everything = [pool_features, target_features, *evaluated.values()]

        names = [PurePosixPath(item).parts[0] for item in pool_features.ids]
        people = np.unique(names, return_inverse=True)[1]
        with stages.stage("plan"):
            options = recipe.plan_options() | {"seed": seed}
            plan = first(lambda: plan_faces(pool_features, target_features, people, **options))

        history = History(folder / HISTORY_FILE) if is_first() else None
        with stages.stage("tune", total_steps(len(people), recipe)) as advance:

            def on_step(record: dict[str, float]) -> None:
                if history is not None:
                    history(record)
                advance("loss" in record)

            run = tune(
                face_model,
                pool_features,
                people,
                plan.acceptance,
                plan.likeness,
                recipe,
                seed=seed,
                checkpoints=folder / CHECKPOINTS_FOLDER,
                on_step=on_step,
            )
        with stages.stage("evaluate"):
            if retain is not None:
                gate = first(lambda: _within_bound(run, protocols["retain"], evaluated["retain"], recipe))
                run = replace(run, gate=gate)
            trials = {
                key: score(
                    {PRETRAINED: None, TUNED: run.changed}, recipe.cut, usable(protocol, evaluated[key]), evaluated[key]
                )
                for key, protocol in protocols.items()
            }
            reports = first(lambda: {key: verify([trial], seed=seed) for key, trial in trials.items()})
            of_groups = None
            if groups is not None:
                values, systems = [group_of[item] for item in evaluated["target"].ids], reports["target"].systems
                of_groups = first(
                    lambda: {
                        name: rates_of_groups(trials["target"], name, systems[name], groups, values, seed=seed)
                        for name in (PRETRAINED, TUNED)
                    }
                )
        with stages.stage("write"):
            metrics = summarise(
                f"{face_model.name}, tuned to {target_images.root.name}",
                reports,
                [run],
                [plan],
                seconds=stages.seconds,
                seed=seed,
                images_decoded=sum(len(features) + len(features.quarantined) for features in everything),
                images_trained=run.samples,
                quarantined=[
                    (pseudonym(item), reason) for features in everything for item, reason in features.quarantined
                ],
            )
            if of_groups is not None:
                metrics["groups"] = of_groups
            source = f"rsft, from {face_model.name} {face_model.fingerprint}"
            shipped = tuned(face_model, run.network, metrics[TUNED]["target"]["thresholds"], source)

            def write() -> None:
                write_results(
                    folder,
                    metrics=metrics,
                    config=config,
                    plan=plan,
                    retain_fraction=recipe.retain_fraction,
                    items=pool_features.ids,
                    people=names,
                    times_trained=run.times_trained,
                    pseudonym=pseudonym,
                )
                shutil.rmtree(folder / MODEL_FOLDER, ignore_errors=True)  # of an attempt that ended here
                shipped.save(folder / MODEL_FOLDER, licence_of_source=face_model.licence)
                write_card(folder, metrics, plan, shipped)
                if show_faces:
                    to_face = face_finder(face_model, aligned=aligned, landmarks=points["pool"])
                    acceptance = plan.acceptance.numpy()
                    save_thumbnails(folder, pool_images, pool_features.ids, run.times_trained, acceptance, to_face)
                write_report(folder)
                for finished in (CACHE_FOLDER, CHECKPOINTS_FOLDER):
                    shutil.rmtree(folder / finished)

            first(write)
    return FitResult(metrics["verdict"]["text"], metrics, plan, shipped, out)


def _within_bound(run: Tuned, protocol: Protocol, features: Features, recipe: Recipe) -> Gate:
    """Step back towards the pretrained weights until the retention set loses no more than the recipe allows."""
    comparisons = usable(protocol, features)

    def loss_at(share: float) -> float | None:
        networks = {PRETRAINED: None, TUNED: run.at(share)}
        report = verify([score(networks, recipe.cut, comparisons, features)], draws=2)
        return report.difference(PRETRAINED, TUNED, headline_fmr(report)).value

    return within_bound(run.gate, loss_at, recipe.max_retention_loss)


def score(
    networks: Mapping[str, nn.Sequential | None], cut: int, comparisons: Comparisons | Everybody, features: Features
) -> AnyTrial:
    """Scores of networks that differ from stage `cut` on, by what enters it; None is the one that embedded them."""
    embeddings = {
        name: features.embeddings if network is None else embed_activations(network[cut:], features)
        for name, network in networks.items()
    }
    return scored(embeddings, comparisons)


def usable(protocol: Protocol, features: Features) -> Comparisons | Everybody:
    """The comparisons of pictures that were embedded.

    Raises:
        InputError: they are fewer than half.
    """
    comparisons, left_out = protocol.restricted_to(features.ids)
    if left_out > (1 - MIN_KEPT_FRACTION) * len(protocol.comparisons):
        item, reason = features.quarantined[0]
        raise InputError(
            f"{left_out} of {len(protocol.comparisons)} comparisons have a picture that could not be used, such as "
            f"'{item}': {reason}."
        )
    return comparisons


def save_thumbnails(
    folder: Path,
    images: ImageSet,
    items: Sequence[str],
    times_trained: np.ndarray,
    acceptance: np.ndarray,
    to_face: Callable[[np.ndarray, str], AlignedFace],
) -> None:
    """Write the pictures most often trained on, and those least likely to be, for the report."""
    place = {item: index for index, item in enumerate(images.ids)}
    most = np.argsort(-times_trained, kind="stable")[:THUMBNAILS]
    least = np.argsort(acceptance, kind="stable")[:THUMBNAILS]
    (folder / THUMBNAILS_FOLDER).mkdir(exist_ok=True)
    for kind, rows in (("accepted", most), ("rejected", least)):
        for number, row in enumerate(rows):
            chip = to_face(images.read(place[items[row]]), items[row]).chip
            Image.fromarray(chip).save(folder / THUMBNAILS_FOLDER / f"{kind}-{number:02d}.jpg", quality=90)


def without_overlap(pool: ImageSet, protocols: Mapping[str, Protocol], *, allow: bool, drop: bool) -> ImageSet:
    """The pool less the identities that are evaluated, if so asked; refuses them otherwise."""
    evaluated = {person for protocol in protocols.values() for person in protocol.people}
    shared = sorted(evaluated & set(pool.identities))
    if not shared or allow:
        return pool
    if not drop:
        raise InputError(
            f"{len(shared)} identities of the pool are also evaluated, such as '{shared[0]}': pass --drop-overlap to "
            "leave them out of the pool, or --allow-overlap to count them all the same."
        )
    kept = [index for index, person in enumerate(pool.identities) if person not in evaluated]
    if not kept:
        raise InputError("all identities of the pool are also evaluated: nothing is left to train on.")
    return pool.subset(kept)
