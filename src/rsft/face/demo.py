"""`rsft demo`: adapt a real network to a simulated shift on real faces, and measure the effect."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image

from rsft.data.features import Features
from rsft.data.images import ImageSet, find_images
from rsft.data.listing import identity_of
from rsft.errors import InputError
from rsft.face.adaptation.candidates import all_candidates
from rsft.face.adaptation.planning import plan_faces
from rsft.face.adaptation.recipe import Recipe
from rsft.face.adaptation.tune import Tuned, total_steps, tune
from rsft.face.adaptation.views import trial_of
from rsft.face.evaluation.pairs import list_all_pairs
from rsft.face.evaluation.protocol import TARGET
from rsft.face.evaluation.verification import verify
from rsft.face.networks.bundle import FaceModel
from rsft.face.networks.load import load_model
from rsft.face.pictures.chip_views import MAX_MOVE, move
from rsft.face.pictures.drawn_shifts import SHIFTS
from rsft.face.pictures.embedding import chip_reader, face_finder
from rsft.face.pictures.orl import orl_faces
from rsft.face.runs.closer_look import NamedTrial, curves_of, errors_of
from rsft.face.runs.decision import headline_fmr
from rsft.face.runs.inputs import POOL, inputs_of
from rsft.face.runs.progress import Listener, Stages, silent
from rsft.face.runs.results import Findings, FitResult, PoolUsed, summarise
from rsft.face.runs.run_files import shipped_model, write_run
from rsft.face.runs.thumbnails import Faces
from rsft.plan import Plan
from rsft.report.run import HISTORY_FILE
from rsft.run_folder import writing
from rsft.tuning.history import History
from rsft.types import PRETRAINED, TUNED, UNIFORM

FACES_FOLDER = "faces"
SETS = ("pool", "target", "evaluation", "retention")
FOLDS = 4
TARGET_PEOPLE = 8
SHIFTED_SHARE = 0.08
COPIES = 4  # number of pool pictures made from each photograph: itself, and copies moved by a few pixels
TARGET_DRAWS = 3
JPEG_QUALITY = 95
RECIPE = Recipe(views=2, steps=66)
QUICK_FOLDS, QUICK_COPIES, QUICK_STEPS = 2, 2, 20


@dataclass(frozen=True)
class Fold:
    """One split of the people into those evaluated, those of the unlabelled target, and those of the pool."""

    evaluated: frozenset[str]
    target: frozenset[str]
    pool: frozenset[str]


def demo(
    *,
    out: str | Path,
    shift: str = "night",
    quick: bool = False,
    seed: int = 0,
    overwrite: bool = False,
    listener: Listener = silent,
) -> FitResult:
    """Simulate a shift on the ORL faces, adapt to it, and compare with uniform fine-tuning and with no tuning.

    A share `SHIFTED_SHARE` of the pool and all pictures of the target and the evaluation set have the shift. The
    retention set holds the evaluated pictures without it. The 40 people are split into four folds. The people of each
    fold are evaluated with networks tuned on a pool of 22 other people, with unlabelled pictures of 8 more as the
    target. Uniform tuning uses the same recipe, the same number of samples and the same gate.

    Args:
        out: The run folder to create. Its `faces/` folder holds the pictures with the shift.
        shift: Name of the shift, a key of `SHIFTS`.
        quick: Run two of the four folds, with half the pool and fewer steps.
        seed: Seed for all random choices.
        overwrite: Replace an `out` that rsft wrote.
        listener: Callback that receives (stage, done, total) as each stage advances.

    Raises:
        InputError: The shift is unknown, a package of the extra `demo` is missing, or `out` may not be written.
    """
    if shift not in SHIFTS:
        raise InputError(f"no shift '{shift}': choose one of {', '.join(SHIFTS)}.")
    recipe = RECIPE.model_copy(update={"steps": QUICK_STEPS}) if quick else RECIPE
    copies, folds = (QUICK_COPIES, QUICK_FOLDS) if quick else (COPIES, FOLDS)
    stages, out = Stages(listener), Path(out)
    with writing(out, overwrite=overwrite) as folder:
        model, photographs = load_model("dlib"), orl_faces()
        with stages.stage("draw faces", len(photographs)) as advance:
            draw_faces(photographs, folder / FACES_FOLDER, model, shift, copies=copies, seed=seed, advance=advance)
        sets = {name: find_images(folder / FACES_FOLDER / name, labelled=True) for name in SETS}
        inputs = inputs_of(replace(model, cut=recipe.cut), sets, aligned=True)
        views = {"pool": recipe.views, "target": 0, "evaluation": 2, "retention": 2}
        features = {name: inputs.embed(name, stages, views=views[name]) for name in SETS}
        results = _run_folds(
            model, features, split_people(photographs.identities, seed)[:folds], recipe, seed, stages, folder
        )
        with stages.stage("evaluate"):
            sets_of = {key: [result.compared[key] for result in results] for key in results[0].compared}
            reports = {key: verify([one.trial for one in of], seed=seed) for key, of in sets_of.items()}
            curves = {key: curves_of(of, seed=seed) for key, of in sets_of.items()}
            errors = {key: errors_of(of, headline_fmr(reports[key]), seed=seed) for key, of in sets_of.items()}
        with stages.stage("write"):
            found = Findings(
                title=f"ORL faces, {shift}: a small share of the pool, all of the target",
                config={"shift": shift, "quick": quick, "seed": seed, "recipe": recipe.model_dump(exclude_none=True)},
                seed=seed,
                seconds=stages.seconds,
                pool=PoolUsed.of_plan(results[0].plan, results[0].pool.ids),
                plans=[result.plan for result in results],
                tuned=[result.tuned for result in results],
                reports=reports,
                curves=curves,
                errors=errors,
                images_decoded=len(sets["pool"]),
                images_embedded=len(features["pool"]),
                images_trained=sum(result.tuned.samples + result.uniform.samples for result in results),
            )
            metrics, shipped = summarise(found), shipped_model(model, found, "rsft demo, first fold")
            to_face = face_finder(model, aligned=True)
            faces = {POOL: Faces(sets["pool"], to_face), TARGET: Faces(sets["evaluation"], to_face)}
            write_run(folder, found, metrics, shipped, licence_of_source=model.licence, faces=faces)
    return FitResult(metrics["verdict"]["text"], metrics, found.plans[0], shipped, out)


@dataclass(frozen=True)
class FoldResult:
    """Result of one fold of people."""

    pool: Features
    plan: Plan
    tuned: Tuned
    uniform: Tuned
    compared: dict[str, NamedTrial]


def _run_folds(
    model: FaceModel,
    features: dict[str, Features],
    folds: Sequence[Fold],
    recipe: Recipe,
    seed: int,
    stages: Stages,
    folder: Path,
) -> list[FoldResult]:
    """Run every fold, and write the training history into the run folder."""
    history, results = History(folder / HISTORY_FILE), []
    for number, fold in enumerate(folds, 1):
        steps = 2 * total_steps(recipe.folds_of(len(fold.pool)), recipe)
        with stages.stage(f"tune fold {number} of {len(folds)}", steps) as advance:

            def on_step(record: dict[str, float], number: int = number) -> None:
                history(record | {"people_fold": number})
                advance(1)

            results.append(run_fold(model, features, fold, recipe, seed, on_step))
    return results


def run_fold(
    model: FaceModel,
    features: dict[str, Features],
    fold: Fold,
    recipe: Recipe,
    seed: int,
    on_step: Callable[[dict[str, float]], None],
) -> FoldResult:
    """Run one fold: plan, tune on the accepted items and on the same number of uniform samples, and score both.

    Uniform samples are trained on without whitening.

    Args:
        model: The pretrained network.
        features: The features of each set of `SETS`, of all people.
        fold: The split of the people.
        recipe: Settings of the plan and the training.
        seed: Seed for all random choices.
        on_step: Called with every record of the training history.
    """
    pool = _of(features["pool"], fold.pool)
    plan = plan_faces(pool, _of(features["target"], fold.target), **recipe.plan_options(), seed=seed)
    uniform = replace(plan, acceptance=torch.full_like(plan.acceptance, float(plan.acceptance.mean())))
    folds = recipe.folds_of(len(fold.pool))
    plain = recipe.model_copy(
        update={"whitening": 0.0}
    )  # whitening would tell uniform training what the target is like
    tunings = {
        name: tune(model, pool, all_candidates(pool, made, by, seed), by, folds=folds, seed=seed, on_step=on_step)
        for name, made, by in ((UNIFORM, uniform, plain), (TUNED, plan, recipe))
    }
    suffixes = {PRETRAINED: None} | {name: tuning.suffix() for name, tuning in tunings.items()}
    compared = {}
    for key, name in (("target", "evaluation"), ("retain", "retention")):
        evaluated = _of(features[name], fold.evaluated)
        trial = trial_of(suffixes, list_all_pairs(evaluated.people), evaluated)
        compared[key] = NamedTrial(trial, evaluated.ids)
    return FoldResult(pool, plan, tunings[TUNED], tunings[UNIFORM], compared)


def split_people(people: Iterable[str], seed: int) -> list[Fold]:
    """Split people into `FOLDS` folds, such that every person is evaluated in exactly one of them.

    Of the other people of a fold, `TARGET_PEOPLE` are the target and the rest the pool.
    """
    names = np.array(sorted(set(people)))
    order = np.random.default_rng(seed).permutation(names)
    folds = []
    for evaluated in np.split(order, FOLDS):
        others = np.random.default_rng(seed).permutation(np.setdiff1d(names, evaluated))
        folds.append(Fold(frozenset(evaluated), frozenset(others[:TARGET_PEOPLE]), frozenset(others[TARGET_PEOPLE:])))
    return folds


def draw_faces(
    photographs: ImageSet,
    folder: Path,
    model: FaceModel,
    shift: str,
    *,
    copies: int,
    seed: int,
    advance: Callable[[int], None],
) -> None:
    """Write the sets `pool/`, `target/`, `evaluation/` and `retention/` as aligned chips, one folder per person.

    Args:
        photographs: The pictures to start from, with identities.
        folder: Folder to write the sets into.
        model: Network for whose input the faces are aligned.
        shift: Name of the shift, a key of `SHIFTS`.
        copies: Number of pool pictures made from each photograph.
        seed: Seed for all random choices.
        advance: Called with 1 after each photograph.
    """
    to_chip, draw = chip_reader(model), SHIFTS[shift]
    for index, item in enumerate(photographs.ids):
        generator = np.random.default_rng([seed, index])
        chip = to_chip(photographs.read(index))
        pool = []
        for copy in range(copies):
            moved = move(chip, *generator.integers(-MAX_MOVE, MAX_MOVE + 1, 2)) if copy else chip
            pool.append(draw(moved, generator) if generator.random() < SHIFTED_SHARE else moved)
        pictures = {
            "pool": pool,
            "target": [draw(chip, generator) for _ in range(TARGET_DRAWS)],
            "evaluation": [draw(chip, generator)],
            "retention": [chip],
        }
        for name, drawn in pictures.items():
            person = folder / name / identity_of(item)
            person.mkdir(parents=True, exist_ok=True)
            for number, picture in enumerate(drawn):
                Image.fromarray(picture).save(person / f"{PurePosixPath(item).stem}-{number}.jpg", quality=JPEG_QUALITY)
        advance(1)


def _of(features: Features, people: frozenset[str]) -> Features:
    """Return the features of the pictures of some people."""
    return features.subset(np.array([row for row, item in enumerate(features.ids) if identity_of(item) in people]))
