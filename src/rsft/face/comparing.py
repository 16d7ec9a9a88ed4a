"""`rsft compare`: rejection against what is free, on faces."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rsft.acceptance import acceptance_probability
from rsft.alternatives import REJECTION, UNIFORM, Method, alternatives, rejection
from rsft.compare import Batches, Comparison, compare
from rsft.data.features import Features
from rsft.data.images import find_images
from rsft.envelope import check_rule, choose_envelope
from rsft.errors import InputError
from rsft.face.bundle import FaceModel
from rsft.face.comparisons import Comparisons, Everybody
from rsft.face.embed import embed
from rsft.face.fit import usable, without_overlap
from rsft.face.grouping import pictures_with
from rsft.face.labels import trusted_labels
from rsft.face.landmarks import points_digest, points_of_sets
from rsft.face.losses import LOSSES, takes_weights
from rsft.face.model import load_model
from rsft.face.planning import plan_faces
from rsft.face.protocol import read_protocol
from rsft.face.recipe import Recipe
from rsft.face.spent import Spent
from rsft.face.stages import Listener, Stages, silent
from rsft.face.training import default_steps, train_stages
from rsft.face.validation import Validation
from rsft.face.verification import scored, verify
from rsft.face.views import accept_views, embed_activations, read_views
from rsft.plan import Plan
from rsft.run_folder import adding_to
from rsft.tuning.freezing import interpolate
from rsft.tuning.stopping import Stopping

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

PathLike = str | os.PathLike[str]
# what is compared: pictures with activations, and which of them
Measured = tuple[Features, Comparisons | Everybody]


def check_comparable(recipe: Recipe, identities: int) -> None:
    """Refuse what cannot be compared; nothing needs to be embedded for that.

    Raises:
        InputError: the recipe's loss takes no weights of items, its weights are the pretrained ones, or the pool has
            too few identities.
    """
    if not takes_weights(recipe.loss):
        usable_losses = " or ".join(name for name in LOSSES if takes_weights(name))
        raise InputError(f"the recipe's loss, {recipe.loss}, takes no weights of items: compare with {usable_losses}.")
    if max(recipe.shares) == 0:
        raise InputError("the recipe's shares hold nothing but 0, the pretrained weights: add 1, or less.")
    if identities < MIN_IDENTITIES:
        raise InputError(f"a comparison needs {MIN_IDENTITIES} identities or more in the pool, got {identities}.")


class WeightedLoss(nn.Module):
    """A head's loss of (classes, weights), the weights (B,) of mean 1 or None."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, embeddings: Tensor, targets: tuple[Tensor, Tensor | None]) -> Tensor:
        return self.head(embeddings, *targets)


class FaceTrial:
    """Trains and measures the last stages of a network for one pool and target; what `compare` needs.

    A quarter of the pool's identities is never trained on: by them the learning rate is chosen. The items of the
    methods are views, of which the pool has the same number for each picture: view v of item `rows[i]` is i * V + v.

    Args:
        model: the pretrained network.
        pool: with activations.
        people: (N,) int of the pool.
        plan: of the pool.
        measured: "target", and "retain" if there is one: what is compared at the end.
        recipe: the settings; its learning rate is replaced by each that is tried.
        seed: of who is held out.

    Attributes:
        rows: (n,) items of the pool that are trained on.
    """

    def __init__(
        self,
        model: FaceModel,
        pool: Features,
        people: np.ndarray,
        plan: Plan,
        measured: Mapping[str, Measured],
        recipe: Recipe,
        *,
        seed: int = 0,
    ) -> None:
        if pool.activations is None:
            raise InputError("a comparison needs the pool's activations: embed it with `views=2` or more.")
        generator = np.random.default_rng(seed)
        names = generator.permutation(np.unique(people))
        check_comparable(recipe, len(names))
        held_out = np.isin(people, names[: round(VALIDATION_FRACTION * len(names))])
        trusted = trusted_labels(pool.embeddings, people, recipe.min_label_margin)
        self.rows = np.flatnonzero(trusted & ~held_out)
        others = np.sort(generator.permutation(np.flatnonzero(trusted & held_out))[:MAX_VALIDATION_ITEMS])
        self._validation = Validation(pool, others, people, plan.likeness)
        self._classes = torch.from_numpy(np.unique(people[self.rows], return_inverse=True)[1])
        self._model, self._pool, self._activations = model, pool, pool.activations
        self._plan, self._measured, self._recipe = plan, measured, recipe
        self.views = pool.activations.shape[1]
        self.suffix = model.split(recipe.cut)[1]
        self._start = self._validation.of_pairs(None)

    def methods(self, shifted: np.ndarray | None = None, envelopes: Sequence[str] = ()) -> dict[str, Method]:
        """The `alternatives` over the views that are trained on.

        Args:
            shifted: (N,) bool, the oracle's items.
            envelopes: rules of `choose_envelope` for further methods: the plan's ratio with another M.
        """
        known = None if shifted is None else np.repeat(shifted[self.rows], self.views)
        methods = alternatives(self.of_views(self._plan), oracle=known)
        for rule in envelopes:
            log_m = choose_envelope(self._plan.log_ratio, rule).log_m
            acceptance = acceptance_probability(self._plan.log_ratio, log_m)
            methods[f"{REJECTION}, {rule}"] = rejection(self.of_views(replace(self._plan, acceptance=acceptance)))
        return methods

    def of_views(self, plan: Plan) -> Plan:
        """A plan of the pool as one of the views that are trained on."""
        of_views, rule = accept_views(plan.acceptance[self.rows], self._classes, self.views, self._recipe)
        log_ratio, likeness = (
            values[self.rows].repeat_interleave(self.views) for values in (plan.log_ratio, plan.likeness)
        )
        return replace(plan, acceptance=of_views, log_ratio=log_ratio, likeness=likeness, rule=rule)

    def train(self, batches: Batches, learning_rate: float, seed: int, **options: Any) -> nn.Module:
        """Tune a copy of the last stages, as far as the largest of the recipe's shares; `options` of `fine_tune`."""
        suffix, _ = train_stages(
            self._model,
            self._pool,
            self.rows,
            self._classes,
            self._of_views(batches),
            self._recipe.model_copy(update={"learning_rate": learning_rate}),
            steps=len(batches),
            wrap=WeightedLoss,
            stop=Stopping(steps=len(batches)),
            seed=seed,
            **options,
        )
        suffix.load_state_dict(interpolate(self.suffix.state_dict(), suffix.state_dict(), max(self._recipe.shares)))
        return suffix

    def measure(self, suffix: nn.Module) -> dict[str, np.ndarray]:
        """TAR at each FMR on every set, with draws of identities; an FMR without sufficient data is left out."""
        result = {}
        for key, (features, comparisons) in self._measured.items():
            trial = scored({"": embed_activations(suffix, features)}, comparisons)
            report = verify([trial], fmrs=FMRS, draws=DRAWS)
            for fmr, interval in report.systems[""].tar_at_fmr.items():
                if interval.value is not None:
                    result[f"{key} TAR at FMR {fmr:g}"] = np.concatenate([[interval.value], report.draws[""][fmr]])
        return result

    def validate(self, suffix: nn.Module) -> float:
        """Gain of target-like pairs of people held out, less what the others lose beyond the recipe's bound."""
        target, others = self._validation.of_pairs(suffix)
        excess = max(0.0, self._start[1] - others - self._recipe.max_retention_loss)
        return target - self._start[0] - LOSS_PRICE * excess

    def seconds_of_a_step(self) -> float:
        """Of training, measured."""
        batches = Batches(self.methods()[UNIFORM], TIMED_STEPS, self._recipe.batch_size, seed=0)
        began = time.perf_counter()
        self.train(batches, self._recipe.learning_rate, seed=0)
        return (time.perf_counter() - began) / TIMED_STEPS

    def _of_views(self, batches: Batches) -> Iterator[tuple[Tensor, tuple[Tensor, Tensor | None]]]:
        for items, weights in batches:
            item, view = np.divmod(items.numpy(), self.views)
            yield read_views(self._activations, self.rows[item], view), (self._classes[item], weights)


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
    recipe, out = recipe or Recipe(), Path(out)
    stages, face_model = Stages(listener), load_model(model)
    face_model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    protocols = {"target": read_protocol(evaluation, evaluation_root)}
    if retain is not None:
        protocols["retain"] = read_protocol(retain, retain_root)
    pool_images = without_overlap(find_images(pool, labelled=True), protocols, allow=allow_overlap, drop=drop_overlap)
    check_comparable(recipe, len(set(pool_images.identities)))
    for rule in envelopes:
        check_rule(rule)
    if attributes is not None and oracle is None:
        raise InputError("the attributes say what the oracle looks up: give both.")
    known = oracle and pictures_with(pool_images, *oracle, attributes)
    sets = {"pool": pool_images, "target": find_images(target)}
    sets |= {f"evaluation {key}": protocol.images for key, protocol in protocols.items()}
    points = points_of_sets(landmarks, sets, aligned)
    inputs = (pool, target, evaluation, evaluation_root, retain, retain_root, model, attributes, landmarks)
    out = adding_to(out, inputs=inputs)

    def embedded(name: str, views: int, note: Callable[[], None] = lambda: None) -> Features:
        with stages.stage(f"embed {name}", len(sets[name])) as advance:

            def progress(pictures: int) -> None:
                advance(pictures)
                note()

            return embed(
                face_model,
                sets[name],
                cut=recipe.cut,
                aligned=aligned,
                landmarks=points[name],
                views=views,
                folder=out / EMBEDDED_FOLDER / name,
                progress=progress,
            )

    spent = Spent(out / COST_FILE)
    pool_features = embedded("pool", recipe.views, spent.note)
    target_features = embedded("target", 0, spent.note)
    people = np.unique([PurePosixPath(item).parts[0] for item in pool_features.ids], return_inverse=True)[1]
    with stages.stage("plan"):
        plan = plan_faces(pool_features, target_features, people, **recipe.plan_options(), seed=seed)
    evaluated = {key: embedded(f"evaluation {key}", 2) for key in protocols}
    measured = {key: (evaluated[key], usable(p, evaluated[key])) for key, p in protocols.items()}
    trial = FaceTrial(face_model, pool_features, people, plan, measured, recipe, seed=seed)
    steps = recipe.steps or default_steps(len(trial.rows) * trial.views, recipe.batch_size)
    shifted = None if known is None else np.isin(pool_features.ids, list(known))
    methods = trial.methods(shifted, envelopes)
    if not spent.is_closed:
        spent.close(plan=stages.seconds["plan"], step=trial.seconds_of_a_step())
    methods[EQUAL_TIME] = replace(methods[UNIFORM], steps=steps + spent.steps)
    config: dict[str, Any] = {
        "pool": str(pool),
        "target": str(target),
        "evaluation": str(evaluation),
        "aligned": aligned,
        "landmarks": {name: told and points_digest(told) for name, told in points.items()},
        "retain": str(retain),
        "model": face_model.fingerprint,
        "items": len(pool_features),
        "oracle": oracle and [*oracle, len(known or ())],
        "seed": seed,
        "recipe": recipe.model_dump(mode="json"),
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
