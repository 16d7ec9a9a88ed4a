"""A pool whose pictures are read only when a plan, a training or the gate needs them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rsft.data.features import Features
from rsft.errors import InputError
from rsft.face.adaptation.alike import Drawn, draw_alike
from rsft.face.adaptation.candidates import Candidates, deal_people, draws_of
from rsft.face.adaptation.headroom import with_headroom
from rsft.face.adaptation.planning import (
    choose_features,
    plan_on,
    rank_face_plans,
    table_of,
)
from rsft.face.adaptation.recipe import AUTO, FEATURES, Recipe
from rsft.face.adaptation.sameness import people_met
from rsft.face.adaptation.selection import by_rule, select
from rsft.face.networks.bundle import FaceModel
from rsft.face.pictures.embedding import Progress, embed
from rsft.face.pictures.looks import Looks, columns
from rsft.face.runs.inputs import POOL, FaceInputs
from rsft.face.runs.progress import Stages
from rsft.face.runs.same_inputs import check_same_inputs
from rsft.face.runs.time_spent import Spent
from rsft.pilot import identities_accepted, pilot_items
from rsft.pilot_plan import PILOT_SIZES, grow
from rsft.plan import Plan
from rsft.promise import Promise
from rsft.ranking import Ranked
from rsft.sampling.acceptance import acceptance_probability
from rsft.tuning.distributed import on_first

CHEAPEST = FEATURES[0]
COMPARED_ITEMS = 1000  # items of the pilot on which the kinds of features are compared
ALIKE_ITEMS = 100  # pictures like the target by which the headroom is found, about; it needs others of these people


@dataclass(frozen=True)
class Chosen:
    """What a run takes from its pool.

    Attributes:
        features: Features of the n pictures, with the activations of the views that are needed.
        candidates: How each of them is drawn.
        log_ratio: (n,) float64 log ratio of each picture, with the retained share; NaN where nothing needed it.
        reach: Number of pictures that every pass visits.
        promise: How what was met compares with the plan; None if the plan saw all of it.
    """

    features: Features
    candidates: Candidates
    log_ratio: np.ndarray
    reach: int
    promise: Promise | None

    def accepted(self, recipe: Recipe, seed: int) -> np.ndarray:
        """Return which of them epoch 0 accepts: (n,) bool."""
        draw = draws_of(self.candidates, torch.from_numpy(self.features.people), 1, recipe, seed=seed)
        return np.isin(np.arange(len(self.candidates)), draw(0))


class OpenPool:
    """The pool of a run, read picture by picture.

    Args:
        inputs: The inputs of the run, whose pool is a set of pictures.
        target: Features of the target.
        recipe: Settings of the plan, the walk and the trainings.
        seed: Seed of the run.
        stages: Times the work and reports its progress.
        folder: Folder that keeps what was found, so that an interrupted run need not look again; None for memory.

    Attributes:
        folds: Number of folds of identities that are held out in turn.
        kind: Kind of features that the plan is made on; set by `plan`.
        compared: For each kind of features that was compared, best first: its name ("features"), the AUC between its
            accepted pictures and the target ("after"), the outcome of its plan, and the seconds of a picture.

    Raises:
        InputError: If the folder holds what was found in another pool.
    """

    def __init__(
        self, inputs: FaceInputs, target: Features, recipe: Recipe, seed: int, stages: Stages, folder: Path | None
    ) -> None:
        self._inputs, self._target, self._recipe, self._seed = inputs, target, recipe, seed
        self._stages, self._folder = stages, folder
        self._images = inputs.sets[POOL]
        if folder is not None:
            on_first(lambda: check_same_inputs(folder, {POOL: self._images}))
        self._looks = Looks(
            inputs.model,
            self._images,
            aligned=inputs.aligned,
            landmarks=inputs.points[POOL],
            folder=folder,
        )
        self.folds = recipe.folds_of(len(self._images.people_names))
        self.kind = CHEAPEST if recipe.features == AUTO else recipe.features
        self._rates: dict[int, tuple[float, float, float]] = {}  # log ratio, acceptance and likeness
        self._embedded: set[int] = set()
        self._spent = {"look": Spent(), "embed": Spent()}
        self.compared: list[dict[str, Any]] = []
        self._notes: list[str] = []  # on people of the target who are in the pool

    @property
    def looked_at(self) -> int:
        """Number of pictures that were opened."""
        return len(self._looks.known)

    @property
    def embedded(self) -> int:
        """Number of pictures that passed through the network."""
        return len(self._embedded)

    @property
    def quarantined(self) -> list[tuple[str, str]]:
        """Id and reason of each picture that was opened and cannot be used."""
        return self._looks.quarantined()

    @property
    def digests(self) -> dict[str, str]:
        """Id -> digest of the bytes of each picture that was opened; empty without a folder."""
        return self._looks.digests()

    def plan(self) -> Plan:
        """Make the plan, from a pilot that grows until it tells enough.

        With the features "auto" and independent acceptance, the kinds of features are compared on a part of the pilot.
        Acceptance by identity and a floor need the ratios of all pictures, so the pilot is then the whole pool.
        """
        recipe, size = self._recipe, len(self._images)
        with self._stages.stage("pilot"):
            if by_rule(recipe):
                made = self._plan_on(np.arange(size), whole=True)
            else:
                sizes = sorted({min(pilot, recipe.max_looks) for pilot in PILOT_SIZES})
                made = grow(self._plan_on, size, sizes, self._seed)
                if recipe.features == AUTO:
                    self.kind = choose_features(self.rank()).features
                    assert made.pilot is not None
                    reached = len(made.pilot.rows) + len(made.pilot.unusable)
                    larger = [pilot for pilot in sizes if min(pilot, size) >= reached]
                    made = made if self.kind == CHEAPEST else grow(self._plan_on, size, larger, self._seed)
            made = self._with_identities(self._with_headroom(made))
            made = replace(made, notes=[*made.notes, *self._notes])
        rows = self.rows_of(made)
        told = zip(made.log_ratio.tolist(), made.acceptance.tolist(), made.likeness.tolist(), strict=True)
        self._rates = dict(zip(rows.tolist(), told, strict=True))
        return made

    def rows_of(self, plan: Plan) -> np.ndarray:
        """Return the pictures that a plan of this pool was made on, as (n,) int64 numbers."""
        return self._usable(np.arange(len(self._images))) if plan.pilot is None else plan.pilot.rows

    def told(self) -> dict[str, Any]:
        """Return the kind of features of the plan and those that were compared, for `plan.json`."""
        return {"kind": self.kind, "compared": self.compared}

    def draw_alike(self, plan: Plan) -> Drawn:
        """Draw usable pictures like the target, and others of the same people; see `rsft.face.adaptation.alike`."""
        rows, likeness, siblings = self.rows_of(plan), plan.likeness.numpy(), self._recipe.siblings
        people = self._images.people
        drawn = draw_alike(rows, likeness, people, most=ALIKE_ITEMS, siblings=siblings, seed=self._seed)
        usable = self._is_usable(drawn.items)
        return Drawn(drawn.items[usable], drawn.weights[usable])

    def people_of(self, items: np.ndarray) -> np.ndarray:
        """Return the number of the person of each picture, (n,) int."""
        return self._images.people[items]

    def embed_by(self, model: FaceModel, items: np.ndarray, progress: Progress) -> Features:
        """Embed usable pictures by a network, in their order, with the points that were found already."""
        points = None if self._inputs.aligned else self._looks.points(items)
        images, aligned = self._images.subset(items), self._inputs.aligned
        return embed(model, images, aligned=aligned, landmarks=points, numbers=items, progress=progress)

    def rank(self) -> list[Ranked]:
        """Make a plan with each kind of features on a part of the pilot, and rank the plans.

        Acceptance by identity and a floor need the whole pool in place of the part.
        """
        whole, size = by_rule(self._recipe), len(self._images)
        items = np.arange(size) if whole else self._compared_items()
        pool = self._features(self._some_usable(items))
        options = self._options(items, whole=whole)
        ranking = on_first(lambda: rank_face_plans(pool, self._target, **options))
        self._notes = people_met(pool, self._target)
        self.compared = [
            {
                "features": ranked.features,
                "after": ranked.after,
                "outcome": str(ranked.plan.verdict.outcome),
                "seconds_of_a_picture": self.seconds_of(ranked.features),
            }
            for ranked in ranking
        ]
        return ranking

    def seconds_of(self, kind: str) -> float | None:
        """Return the measured seconds that it takes to read and rate one picture by a kind of features."""
        look, forward = self._spent["look"].of_one, self._spent["embed"].of_one
        if look is None or kind == CHEAPEST:
            return look
        return None if forward is None else look + forward

    def choose(self, plan: Plan) -> Chosen:
        """Walk through the pool until enough is accepted, and embed what the trainings and the gate need."""
        recipe, images = self._recipe, self._images
        fold = deal_people(images.people_names, recipe.parts(len(images.people_names)), self._seed)
        with self._stages.stage("look at pictures", min(recipe.max_looks, len(images))) as advance:

            def rate(items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
                self._meet(plan, items)
                advance(len(items))
                told = np.array([self._rates[item] for item in items.tolist()])
                return told[:, 1], told[:, 2]

            found = select(rate, self._is_usable, images.people, fold, recipe, folds=self.folds, seed=self._seed)
        numbers = found.candidates.numbers
        with self._stages.stage("embed pool", len(numbers)) as advance:
            features = self._embed(numbers, "chosen", views=recipe.views, kept=found.kept, progress=advance)
        rows = np.flatnonzero(np.isin([images.ids[number] for number in numbers.tolist()], features.ids))
        missing = (float("nan"),)
        log_ratio = np.array([self._rates.get(number, missing)[0] for number in numbers[rows].tolist()])
        visited = found.visited
        of_visited = torch.tensor([self._rates[item][0] for item in visited.tolist()], dtype=torch.float64)
        promise = plan.check_promise(torch.from_numpy(visited), of_visited)
        return Chosen(features, found.candidates.subset(rows), log_ratio, len(visited), promise)

    def _compared_items(self) -> np.ndarray:
        """Return the part of the pilot on which the kinds of features are compared."""
        return pilot_items(len(self._images), min(COMPARED_ITEMS, self._recipe.max_looks), seed=self._seed)

    def _options(self, items: np.ndarray, *, whole: bool = False) -> dict[str, Any]:
        """Return the options of a plan on the usable ones among some pictures of the pool."""
        options = self._recipe.plan_options() | {"seed": self._seed}
        del options["features"]
        usable = self._is_usable(items)
        return options if whole else options | {"pilot": (items[usable], len(self._images), items[~usable])}

    def _plan_on(self, items: np.ndarray, *, whole: bool = False) -> Plan:
        """Make the plan on the usable ones among some pictures."""
        rows = self._some_usable(items)
        pool = self._of_looks(rows) if self.kind == CHEAPEST else self._features(rows)
        options = self._options(items, whole=whole)
        return on_first(lambda: plan_on(pool, self._target, self.kind, **options))

    def _with_headroom(self, made: Plan) -> Plan:
        """Add the headroom, found on the pictures of `draw_alike`."""
        drawn = self.draw_alike(made)
        if not len(drawn.items):
            return made
        pool = self._features(drawn.items)
        return on_first(lambda: with_headroom(made, pool, drawn.weights))

    def _with_identities(self, made: Plan) -> Plan:
        """Add the number of identities of the pool, and how many of them a pass accepts, to the diagnostics."""
        if made.pilot is None or made.pilot.is_whole:
            return made
        sizes = np.bincount(self._images.people)
        found = identities_accepted(made.pilot.acceptance_rate, sizes)
        named = {"": found.value, "_low": found.low, "_high": found.high}
        told = {f"pool_identities_accepted{end}": float(value or 0.0) for end, value in named.items()}
        return replace(made, diagnostics=made.diagnostics | {"pool_identities": float(len(sizes))} | told)

    def _meet(self, plan: Plan, items: np.ndarray) -> None:
        """Compute the rates of pictures; both probabilities are 0 for those that cannot be used."""
        new = np.array([item for item in items.tolist() if item not in self._rates], np.int64)
        good = self._usable(new)
        self._rates |= dict.fromkeys(new.tolist(), (-np.inf, 0.0, 0.0))
        if len(good):
            assert plan.law is not None
            pool = self._of_looks(good) if self.kind == CHEAPEST else self._features(good)
            table = self._table(pool)
            log_ratio, likeness = plan.law.log_ratio(table), plan.law.likeness(table)
            acceptance = acceptance_probability(log_ratio, plan.law.log_m)
            told = zip(log_ratio.tolist(), acceptance.tolist(), likeness.tolist(), strict=True)
            self._rates |= dict(zip(good.tolist(), told, strict=True))

    def _is_usable(self, items: np.ndarray) -> np.ndarray:
        before = self._looks.decoded
        with self._spent["look"].time() as add:
            looks = self._looks(items)
            add(self._looks.decoded - before)
        return np.array([look.reason is None for look in looks], bool)

    def _usable(self, items: np.ndarray) -> np.ndarray:
        return items[self._is_usable(items)]

    def _some_usable(self, items: np.ndarray) -> np.ndarray:
        """Return the usable ones among some pictures; raise InputError if there is none."""
        rows = self._usable(items)
        if not len(rows):
            item, reason = self.quarantined[0]
            raise InputError(f"no picture of '{self._images.root}' could be used ('{item}': {reason}).")
        return rows

    def _table(self, pool: Features) -> np.ndarray:
        return table_of(pool, self._target, self.kind)[0]

    def _of_looks(self, items: np.ndarray) -> Features:
        """Return the features of usable pictures that need no network."""
        looks = self._looks(items)
        names = list(looks[0].covariates)
        told = dict(zip(names, columns(looks, names).T, strict=True))
        nothing = np.empty((len(items), 0), np.float32)
        ids = [self._images.ids[item] for item in items.tolist()]
        return Features(ids, nothing, nothing, None, [], self._inputs.model.fingerprint, told)

    def _features(self, items: np.ndarray) -> Features:
        """Return the features of usable pictures, in their order."""
        done: list[int] = []  # first the number of pictures that an interrupted run has embedded
        with self._spent["embed"].time() as add:
            found = self._embed(items, "looked-at", progress=done.append)
            add(len(items) - done[0])
        if len(found) < len(items):
            item, reason = found.quarantined[0]
            raise InputError(f"'{item}' could be used at first, and now not: {reason}. Has the pool changed?")
        return replace(found, covariates=self._of_looks(items).covariates)

    def _embed(self, items: np.ndarray, name: str, **options: Any) -> Features:
        self._embedded |= set(items.tolist())
        points = None if self._inputs.aligned else self._looks.points(items)
        return embed(
            self._inputs.model,
            self._images.subset(items),
            aligned=self._inputs.aligned,
            landmarks=points,
            numbers=items,
            folder=None if self._folder is None else self._folder / name,
            **options,
        )
