"""`rsft compare`: rejection against what is free, on faces."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rsft.compare import Comparison, compare
from rsft.data.features import Features
from rsft.envelope import check_rule
from rsft.errors import InputError
from rsft.face.adaptation.planning import plan_faces
from rsft.face.adaptation.recipe import Recipe
from rsft.face.adaptation.training import default_steps
from rsft.face.adaptation.trial import FaceTrial, check_comparable
from rsft.face.evaluation.groups import pictures_with
from rsft.face.evaluation.pairs import AllPairs, PairList
from rsft.face.evaluation.protocol import TARGET, usable
from rsft.face.pictures.landmarks import points_digest
from rsft.face.runs.inputs import POOL, FaceInputs, Sources, read_inputs
from rsft.face.runs.progress import Listener, Stages, silent
from rsft.face.runs.time_spent import TimeSpent
from rsft.run_folder import adding_to
from rsft.types import UNIFORM, PathLike

FMRS = (0.01, 0.001)
EQUAL_TIME = "uniform, equal time"
EMBEDDED_FOLDER, COST_FILE = "embedded", "cost.json"
TIMED_STEPS = 5
MIN_IDENTITIES = 8
VALIDATION_FRACTION = 0.25  # of the pool's people
MAX_VALIDATION_ITEMS = 2000
DRAWS = 500
LOSS_PRICE = 10.0  # how many points of gain a point of loss beyond the bound costs in the validation score
LEARNING_RATE_FACTORS = (1 / 3, 1.0, 3.0)

# what is compared: pictures with activations, and which of them
Measured = tuple[Features, PairList | AllPairs]


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
    seeds: int = 5,
    seed: int = 0,
    aligned: bool = False,
    landmarks: PathLike | None = None,
    allow_overlap: bool = False,
    drop_overlap: bool = False,
    workers: int = 1,
    listener: Listener = silent,
) -> Comparison:
    """Train by rejection and by what is free, at equal numbers of samples and at equal time, and compare.

    What an interrupted comparison has embedded and trained is in `out` and is used again. Everything but the learning
    rate is as the recipe says; a third, once and three times its rate are tried for each method. "uniform, equal time"
    is uniform training with the steps that fit into the time which embedding and planning take as well.

    Args:
        pool: as for `fit`; `target`, `evaluation`, `retain`, `model` and the roots likewise.
        target: likewise.
        evaluation: likewise.
        out: a folder for the figures; an existing one is continued.
        model: likewise.
        evaluation_root: likewise.
        retain: likewise.
        retain_root: likewise.
        recipe: the settings.
        envelopes: rules of `choose_envelope`: "rejection, RULE" is rejection with that M in place of the recipe's.
        oracle: an attribute and its value, by which pool items are known to be of the target; "oracle" trains on them.
        attributes: a CSV or Parquet file with a column `path` (as below the pool) and one for each attribute; by
            default those that the pool has itself.
        seeds: trainings of each method.
        seed: of the plan, and of who is held out for validation.
        aligned: all pictures are aligned chips already.
        landmarks: as for `fit`.
        allow_overlap: as for `fit`.
        drop_overlap: as for `fit`.
        workers: processes that train at a time.
        listener: is told how far each stage is.

    Raises:
        InputError: something given cannot be used, or `out` holds a comparison of something else.
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
        raise InputError("the attributes say what the oracle looks up: give both.")
    stages, inputs = Stages(listener), read_inputs(sources, cut=recipe.cut)
    check_comparable(recipe, inputs.identities)
    known = oracle and pictures_with(inputs.sets[POOL], *oracle, attributes)
    out = adding_to(Path(out), inputs=sources.paths)
    trial, spent = _prepare(inputs, recipe, out, seed, stages)
    steps = recipe.steps or default_steps(len(trial.rows) * trial.views, recipe.batch_size)
    shifted = None if known is None else np.isin(trial.pool.ids, list(known))
    methods = trial.methods(shifted, envelopes)
    methods[EQUAL_TIME] = replace(methods[UNIFORM], steps=steps + spent.steps)
    config = _config(sources, inputs, recipe, seed) | {
        "items": len(trial.pool),
        "oracle": oracle and [*oracle, len(known or ())],
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
    """Embed and plan, and say how long that took; what an earlier call has embedded is used again."""
    spent, folder = TimeSpent(out / COST_FILE), out / EMBEDDED_FOLDER
    pool = inputs.embed(POOL, stages, views=recipe.views, folder=folder, note=spent.note)
    target = inputs.embed(TARGET, stages, folder=folder, note=spent.note)
    with stages.stage("plan"):
        plan = plan_faces(pool, target, **recipe.plan_options(), seed=seed)
    evaluated = inputs.embed_evaluated(stages, folder)
    measured = {key: (features, usable(inputs.protocols[key], features)) for key, features in evaluated.items()}
    trial = FaceTrial(inputs.model, pool, plan, measured, recipe, seed=seed)
    if not spent.is_closed:
        spent.close(plan=stages.seconds["plan"], step=trial.seconds_of_a_step())
    return trial, spent


def _config(sources: Sources, inputs: FaceInputs, recipe: Recipe, seed: int) -> dict[str, Any]:
    """What must be the same for a comparison to be continued."""
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
