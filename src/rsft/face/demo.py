"""`rsft demo`: a drawn deployment shift on real faces, adapted to with a real network, and measured."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image

from rsft.data.features import Features
from rsft.data.images import ImageSet, find_images
from rsft.errors import InputError
from rsft.face.adapt import Tuned, total_steps, tune
from rsft.face.bundle import FaceModel, tuned
from rsft.face.card import write_card
from rsft.face.embed import MAX_MOVE, chip_reader, embed, face_finder, move
from rsft.face.fit import MODEL_FOLDER, FitResult, save_thumbnails, score
from rsft.face.model import load_model
from rsft.face.orl import orl_faces
from rsft.face.planning import plan_faces
from rsft.face.recipe import Recipe
from rsft.face.results import PRETRAINED, TUNED, UNIFORM, summarise, write_results
from rsft.face.shift import SHIFTS
from rsft.face.stages import Listener, Stages, silent
from rsft.face.verification import AnyTrial, all_comparisons, verify
from rsft.plan import Plan
from rsft.report.page import write_report
from rsft.report.run import HISTORY_FILE
from rsft.run_folder import writing
from rsft.tuning.history import History

FACES_FOLDER = "faces"
FOLDS = 4
TARGET_PEOPLE = 8
SHIFTED_SHARE = 0.08
COPIES = 4  # pictures of the pool for each photograph, each moved by some pixels
TARGET_DRAWS = 3
JPEG_QUALITY = 95
RECIPE = Recipe(views=2)
QUICK_FOLDS, QUICK_COPIES, QUICK_STEPS = 2, 2, 20


@dataclass(frozen=True)
class Fold:
    """One split of the people: who is evaluated, who is only seen as target, who is trained on."""

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
    """Draw a shift on the ORL faces, adapt to it, and compare with uniform fine-tuning and with no tuning.

    A share `SHIFTED_SHARE` of the pool carries the shift, and all of the target and of the evaluation do; the same
    pictures without it are the retention set. The 40 people are split in four folds; each is evaluated by networks
    tuned without it, on a pool of 22 other people, with the target known by unlabelled pictures of 8 more. Uniform
    tuning gets the same recipe, the same number of samples and the same choice of how far to go.

    Args:
        out: the run folder to make; its `faces/` holds the pictures drawn.
        shift: a key of `SHIFTS`.
        quick: two of the four folds, half the pool, fewer steps.
        seed: of everything random.
        overwrite: replace an existing `out`.
        listener: is told how far each stage is.

    Raises:
        InputError: an unknown shift, or a package of the extra `demo` is missing.
    """
    if shift not in SHIFTS:
        raise InputError(f"no shift '{shift}': choose one of {', '.join(SHIFTS)}.")
    recipe = RECIPE.model_copy(update={"steps": QUICK_STEPS}) if quick else RECIPE
    copies, folds = (QUICK_COPIES, QUICK_FOLDS) if quick else (COPIES, FOLDS)
    stages = Stages(listener)
    with writing(Path(out), overwrite=overwrite) as folder:
        model = load_model("dlib")
        photographs = orl_faces()
        with stages.stage("draw faces", len(photographs)) as advance:
            draw_faces(photographs, folder / FACES_FOLDER, model, shift, copies=copies, seed=seed, advance=advance)
        features = {}
        for name, views in (("pool", recipe.views), ("target", 0), ("evaluation", 2), ("retention", 2)):
            images = find_images(folder / FACES_FOLDER / name, labelled=True)
            with stages.stage(f"embed {name}", len(images)) as advance:
                features[name] = embed(model, images, cut=recipe.cut, aligned=True, views=views, progress=advance)
        history = History(folder / HISTORY_FILE)
        results = []
        for number, fold in enumerate(split_people(photographs.identities, seed)[:folds], 1):
            label = f"tune fold {number} of {folds}"
            with stages.stage(label, 2 * total_steps(len(_of(features["pool"], fold.pool)), recipe)) as advance:

                def on_step(record: dict[str, float], number: int = number) -> None:
                    history(record | {"people_fold": number})
                    advance(1)

                results.append(run_fold(model, features, fold, recipe, seed, on_step))
        with stages.stage("evaluate"):
            reports = {key: verify([result.trials[key] for result in results], seed=seed) for key in results[0].trials}
        with stages.stage("write"):
            first = results[0]
            metrics = summarise(
                f"ORL faces, {shift}: a small share of the pool, all of the target",
                reports,
                [result.tuned for result in results],
                [result.plan for result in results],
                seconds=stages.seconds,
                seed=seed,
                images_decoded=sum(len(part) for part in features.values()),
                images_trained=sum(result.tuned.samples + result.uniform.samples for result in results),
                quarantined=[],
            )
            write_results(
                folder,
                metrics=metrics,
                config={"shift": shift, "quick": quick, "seed": seed, "recipe": recipe.model_dump(exclude_none=True)},
                plan=first.plan,
                retain_fraction=recipe.retain_fraction,
                items=first.pool.ids,
                people=[_person(item) for item in first.pool.ids],
                times_trained=first.tuned.times_trained,
            )
            shipped = tuned(model, first.tuned.network, metrics[TUNED]["target"]["thresholds"], "rsft demo, first fold")
            shipped.save(folder / MODEL_FOLDER, licence_of_source=model.licence)
            write_card(folder, metrics, first.plan, shipped)
            pool_images = find_images(folder / FACES_FOLDER / "pool")
            to_face = face_finder(model, aligned=True)
            acceptance = first.plan.acceptance.numpy()
            save_thumbnails(folder, pool_images, first.pool.ids, first.tuned.times_trained, acceptance, to_face)
            write_report(folder)
    return FitResult(metrics["verdict"]["text"], metrics, first.plan, shipped, Path(out))


@dataclass(frozen=True)
class FoldResult:
    """What one fold of people gave."""

    pool: Features
    plan: Plan
    tuned: Tuned
    uniform: Tuned
    trials: dict[str, AnyTrial]


def run_fold(
    model: FaceModel,
    features: dict[str, Features],
    fold: Fold,
    recipe: Recipe,
    seed: int,
    on_step: Callable[[dict[str, float]], None],
) -> FoldResult:
    """Plan, tune on the accepted and on as many uniform samples, and score both on people of neither."""
    pool = _of(features["pool"], fold.pool)
    people = np.unique([_person(item) for item in pool.ids], return_inverse=True)[1]
    plan = plan_faces(pool, _of(features["target"], fold.target), people, **recipe.plan_options(), seed=seed)
    uniform = torch.full_like(plan.acceptance, float(plan.acceptance.mean()))
    tunings = {
        name: tune(model, pool, people, acceptance, plan.likeness, recipe, seed=seed, on_step=on_step)
        for name, acceptance in ((UNIFORM, uniform), (TUNED, plan.acceptance))
    }
    networks = {PRETRAINED: None} | {name: tuning.changed for name, tuning in tunings.items()}
    trials = {}
    for key, name in (("target", "evaluation"), ("retain", "retention")):
        evaluated = _of(features[name], fold.evaluated)
        people = np.unique([_person(item) for item in evaluated.ids], return_inverse=True)[1]
        trials[key] = score(networks, recipe.cut, all_comparisons(people), evaluated)
    return FoldResult(pool, plan, tunings[TUNED], tunings[UNIFORM], trials)


def split_people(people: Iterable[str], seed: int) -> list[Fold]:
    """Everybody is evaluated in one fold; of the others of a fold, some are the target and the rest the pool."""
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
    """Write `pool/`, `target/`, `evaluation/` and `retention/`, each with a folder a person, as aligned chips."""
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
            person = folder / name / _person(item)
            person.mkdir(parents=True, exist_ok=True)
            for number, picture in enumerate(drawn):
                Image.fromarray(picture).save(person / f"{PurePosixPath(item).stem}-{number}.jpg", quality=JPEG_QUALITY)
        advance(1)


def _person(item: str) -> str:
    return PurePosixPath(item).parts[0]


def _of(features: Features, people: frozenset[str]) -> Features:
    return features.subset(np.array([row for row, item in enumerate(features.ids) if _person(item) in people]))
