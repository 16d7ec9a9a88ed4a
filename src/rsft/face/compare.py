"""`rsft compare`: rejection against its baselines, on faces."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rsft.baselines import REJECTION
from rsft.compare import Comparison, compare
from rsft.data.columns import Strings
from rsft.data.fingerprint import ids_fingerprint
from rsft.disk.lock import locked
from rsft.disk.whole import sweep
from rsft.envelope import check_rule
from rsft.errors import InputError
from rsft.face.adaptation.planning import plan_faces
from rsft.face.adaptation.recipe import Recipe
from rsft.face.adaptation.selection import check_target
from rsft.face.adaptation.trial import FaceTrial, check_comparable
from rsft.face.evaluation.groups import pictures_with
from rsft.face.evaluation.protocol import TARGET, usable
from rsft.face.pictures.landmarks import points_digest
from rsft.face.runs.inputs import POOL, FaceInputs, Sources, read_inputs
from rsft.face.runs.measured import note_measured
from rsft.face.runs.progress import Listener, Stages, silent
from rsft.face.runs.same_inputs import check_same_inputs
from rsft.face.runs.time_spent import TimeSpent
from rsft.run_folder import adding_to
from rsft.types import UNIFORM, PathLike

EQUAL_TIME, WHITENING_ALONE = "uniform, equal time", "rejection, whitening alone"
EMBEDDED_FOLDER, COST_FILE = "embedded", "cost.json"
LEARNING_RATE_FACTORS = (1 / 3, 1.0, 3.0)


def compare_faces(
    *,
    pool: PathLike,
    target: PathLike,
    evaluation: PathLike,
    out: PathLike,
    model: PathLike = "dlib",
    evaluation_root: PathLike | None = None,
    retain: PathLike | None = None,
    retain_root: PathLike | None = None,
    recipe: Recipe | None = None,
    envelopes: Sequence[str] = (),
    oracle: tuple[str, str] | None = None,
    attributes: PathLike | None = None,
    peers: bool = False,
    seeds: int = 5,
    seed: int = 0,
    aligned: bool = False,
    landmarks: PathLike | None = None,
    allow_overlap: bool = False,
    drop_overlap: bool = False,
    workers: int = 1,
    listener: Listener = silent,
) -> Comparison:
    """Train with rejection and with its baselines, at equal numbers of samples and at equal time, and compare them.

    All settings but the learning rate come from the recipe; for each method, a third of its learning rate, the rate
    itself and three times the rate are tried. "uniform, equal time" is uniform training that also gets the time of
    embedding and planning, as further steps. "rejection, whitening alone" takes no step. An interrupted comparison
    continues from the embeddings and trainings in `out`. `rsft.face.runs.inputs.Sources` describes the inputs.

    Args:
        pool: See `Sources`.
        target: See `Sources`.
        evaluation: See `Sources`.
        out: Folder for the results. An existing comparison in it is continued.
        model: See `Sources`.
        evaluation_root: See `Sources`.
        retain: See `Sources`.
        retain_root: See `Sources`.
        recipe: Settings of the plan and the training.
        envelopes: Rules for M, see `choose_envelope`. Each adds a method "rejection, RULE", which is rejection with
            this M in place of the recipe's.
        oracle: An attribute and its value that mark the pool items known to be from the target population. Adds a
            method "oracle", which trains on these items alone.
        attributes: See `Sources`. They are read for `oracle`.
        peers: Add domain adaptation, which also trains on the target pictures, with uniform draws and with those of
            rejection; see `rsft.face.adaptation.peers`.
        seeds: Number of trainings of each method.
        seed: Seed for the plan and for the choice of the identities held out for validation.
        aligned: See `Sources`.
        landmarks: See `Sources`.
        allow_overlap: See `Sources`.
        drop_overlap: See `Sources`.
        workers: Number of trainings at a time, each in a process of its own.
        listener: Callback that receives (stage, done, total) as each stage advances.

    Raises:
        InputError: An input or setting cannot be used, or `out` holds a comparison with other settings.
    """
    recipe = recipe or Recipe()
    sources = Sources(
        pool=pool, target=target, model=model, evaluation=evaluation, evaluation_root=evaluation_root, retain=retain,
        retain_root=retain_root, attributes=attributes, landmarks=landmarks, aligned=aligned,
        allow_overlap=allow_overlap, drop_overlap=drop_overlap,
    )  # fmt: skip
    for rule in envelopes:
        check_rule(rule)
    if attributes is not None and oracle is None:
        raise InputError("attributes are read for the oracle: name the oracle's attribute and value too.")
    stages, inputs = Stages(listener), read_inputs(sources, cut=recipe.cut)
    check_comparable(recipe, inputs.identities)
    check_target(len(inputs.sets[TARGET]), recipe)
    known = oracle and pictures_with(inputs.sets[POOL], *oracle, attributes)
    out = adding_to(Path(out), inputs=sources.paths)
    with locked(out):
        sweep(out)
        trial, spent = _prepare(inputs, recipe, out, seed, stages)
        steps = recipe.steps
        shifted = None if known is None else np.isin(trial.pool.ids, list(known))
        methods = trial.methods(shifted, envelopes)
        if recipe.whitening:
            methods[WHITENING_ALONE] = replace(methods[REJECTION], steps=0)
        if peers:
            methods |= trial.peers()
        methods[EQUAL_TIME] = replace(methods[UNIFORM], steps=steps + spent.steps)
        config = _config(sources, inputs, recipe, seed) | {
            "items": len(trial.pool),
            "oracle": oracle and [*oracle, len(known or ()), ids_fingerprint(Strings.of(sorted(known or ())))],
        }
        with stages.stage("compare", len(methods) * (len(LEARNING_RATE_FACTORS) + seeds - 1)) as advance:
            done = 0

            def on_run(now: int, total: int) -> None:
                nonlocal done
                advance(now - done)
                done = now

            return compare(
                trial.train,
                trial.measure,
                methods,
                start=trial.suffix,
                steps=steps,
                batch_size=recipe.batch_size,
                learning_rates=[recipe.learning_rate * factor for factor in LEARNING_RATE_FACTORS],
                validate=trial.validate,
                seeds=seeds,
                out=out,
                config=config,
                workers=workers,
                on_run=on_run,
            )


def _prepare(inputs: FaceInputs, recipe: Recipe, out: Path, seed: int, stages: Stages) -> tuple[FaceTrial, TimeSpent]:
    """Embed all sets and plan, and measure the time; reuse the embeddings of an earlier call."""
    folder = out / EMBEDDED_FOLDER
    given: dict[str, Any] = {"protocols": inputs.protocols, "model": inputs.model, "points": inputs.points}
    check_same_inputs(folder, inputs.sets, **given, aligned=inputs.aligned)
    spent = TimeSpent(out / COST_FILE)
    pool = inputs.embed(POOL, stages, views=recipe.views, folder=folder, note=spent.note)
    target = inputs.embed(TARGET, stages, views=2, folder=folder, note=spent.note)
    with stages.stage("plan"):
        plan = plan_faces(pool, target, **recipe.plan_options(), seed=seed)
    evaluated = inputs.embed_evaluated(stages, folder)
    note_measured(out, evaluated)
    measured = {key: (features, usable(inputs.protocols[key], features)) for key, features in evaluated.items()}
    trial = FaceTrial(inputs.model, pool, plan, measured, recipe, target=target, seed=seed)
    if not spent.is_closed:
        spent.close(plan=stages.seconds["plan"], step=trial.seconds_of_a_step())
    return trial, spent


def _config(sources: Sources, inputs: FaceInputs, recipe: Recipe, seed: int) -> dict[str, Any]:
    """Return the settings that must stay the same when a comparison is continued."""
    return {
        "pool": str(sources.pool),
        "target": str(sources.target),
        "evaluation": str(sources.evaluation),
        "aligned": sources.aligned,
        "landmarks": {name: points and points_digest(points) for name, points in inputs.points.items()},
        "retain": str(sources.retain),
        "model": inputs.model.fingerprint,
        "seed": seed,
        "recipe": recipe.model_dump(mode="json"),
    }
