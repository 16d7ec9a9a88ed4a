"""Training and measurement of the last stages of a face network, for the comparisons of `rsft.compare`."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from rsft.baselines import REJECTION, Batches, Method, alternatives, rejection
from rsft.data.features import Features
from rsft.envelope import choose_envelope
from rsft.errors import InputError
from rsft.face.adaptation.held_out import Validation
from rsft.face.adaptation.label_noise import trusted_labels
from rsft.face.adaptation.losses import LOSSES, takes_weights
from rsft.face.adaptation.peers import (
    PEERS,
    PSEUDO_LABELS,
    STATISTICS,
    adapt_statistics,
    cluster,
    has_statistics,
    peer_penalty,
)
from rsft.face.adaptation.recipe import Recipe
from rsft.face.adaptation.training import classes_of, train_stages, whitened_stages
from rsft.face.adaptation.views import embed_activations, read_views
from rsft.face.evaluation.pairs import AllPairs, PairList
from rsft.face.evaluation.trials import scored
from rsft.face.evaluation.verification import verify
from rsft.face.networks.bundle import FaceModel
from rsft.plan import Plan
from rsft.sampling.acceptance import acceptance_probability
from rsft.sampling.identities import FloorAcceptance, IdentityAcceptance, mind_identities
from rsft.tuning.freezing import interpolate
from rsft.types import UNIFORM

FMRS = (0.01, 0.001)
TIMED_STEPS = 5
MIN_IDENTITIES = 8
VALIDATION_FRACTION = 0.25  # share of the pool's people that is held out
MAX_VALIDATION_ITEMS = 2000
DRAWS = 500
LOSS_PRICE = 10.0  # penalty in the validation score for each unit of loss beyond the bound

# features with activations, and the pairs of their pictures to compare
Measured = tuple[Features, PairList | AllPairs]


def check_comparable(recipe: Recipe, identities: int) -> None:
    """Raise an error if methods cannot be compared with a recipe and pool. This check needs no embeddings.

    Args:
        recipe: Settings of the trainings.
        identities: Number of identities in the pool.

    Raises:
        InputError: If the recipe's loss takes no weights of items, its only share is 0, or the pool has fewer than
            `MIN_IDENTITIES` identities.
    """
    if not takes_weights(recipe.loss):
        usable_losses = " or ".join(name for name in LOSSES if takes_weights(name))
        raise InputError(f"the recipe's loss, {recipe.loss}, takes no weights of items: compare with {usable_losses}.")
    if max(recipe.shares) == 0:
        raise InputError("the recipe's shares hold nothing but 0, the pretrained weights: add a share above 0.")
    if identities < MIN_IDENTITIES:
        raise InputError(f"a comparison needs {MIN_IDENTITIES} identities or more in the pool, got {identities}.")


class WeightedLoss(nn.Module):
    """Loss of a head whose targets are (classes, weights). The weights (B,) have mean 1 over the pool, or are None."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, embeddings: Tensor, targets: tuple[Tensor, Tensor | None]) -> Tensor:
        return self.head(embeddings, *targets)


class FaceTrial:
    """Training and measurement of the last stages of a network for one pool and target, as `compare` needs them.

    A quarter of the pool's identities is never trained on. The learning rate is chosen by their pictures. The items of
    the methods are views. Every picture has V views, and view v of item `rows[i]` is number i * V + v.

    Args:
        model: The pretrained network.
        pool: Features of the pool, with activations.
        plan: Plan of the pool.
        measured: Features and pairs to measure on: "target", and "retain" if there is a retention set.
        recipe: Settings of the trainings. Its learning rate is replaced by each one that is tried.
        target: Features of the target, with activations, for `peers`; None if they are not compared.
        seed: Seed for the choice of held-out identities.

    Raises:
        InputError: If the pool has no activations, or `check_comparable` raises an error.

    Attributes:
        pool: Features of the pool.
        rows: (n,) items of the pool that are trained on.
        views: Number of views of each picture.
        suffix: The pretrained stages that are tuned.
    """

    def __init__(
        self,
        model: FaceModel,
        pool: Features,
        plan: Plan,
        measured: Mapping[str, Measured],
        recipe: Recipe,
        *,
        target: Features | None = None,
        seed: int = 0,
    ) -> None:
        if pool.activations is None:
            raise InputError("a comparison needs the pool's activations: embed it with `views=2` or more.")
        generator = np.random.default_rng(seed)
        people = pool.people
        names = generator.permutation(np.unique(people))
        check_comparable(recipe, len(names))
        held_out = np.isin(people, names[: round(VALIDATION_FRACTION * len(names))])
        trusted = trusted_labels(pool.embeddings, people, recipe.min_label_margin)
        self.rows = np.flatnonzero(trusted & ~held_out)
        others = np.sort(generator.permutation(np.flatnonzero(trusted & held_out))[:MAX_VALIDATION_ITEMS])
        self._validation = Validation(pool, others, plan.likeness)
        self._classes = classes_of(pool, self.rows)
        self._model, self.pool, self._activations = model, pool, pool.activations
        self._target = target
        self._plan, self._measured, self._recipe = plan, measured, recipe
        self.views = pool.activations.shape[1]
        self.suffix = model.split(recipe.cut)[1]
        self._start = self._validation.of_pairs(None)

    def methods(self, shifted: np.ndarray | None = None, envelopes: Sequence[str] = ()) -> dict[str, Method]:
        """Return the `alternatives` over the views that are trained on.

        Args:
            shifted: (N,) bool, True for the items that the oracle accepts; None for no oracle.
            envelopes: Rules of `choose_envelope`. Each adds a method that uses the plan's ratio with its envelope.
        """
        known = None if shifted is None else np.repeat(shifted[self.rows], self.views)
        methods = alternatives(self.of_views(self._plan), oracle=known)
        for rule in envelopes:
            log_m = choose_envelope(self._plan.log_ratio, rule).log_m
            acceptance = acceptance_probability(self._plan.log_ratio, log_m)
            methods[f"{REJECTION}, {rule}"] = rejection(self.of_views(replace(self._plan, acceptance=acceptance)))
        return methods

    def peers(self) -> dict[str, Method]:
        """Return the peers of `rsft.face.adaptation.peers`, with uniform draws and with those of rejection.

        Peers that the network or the target does not allow are left out: normalisation statistics if the stages have
        none, and pseudo-labels if no two target pictures look like one person.
        """
        assert self._target is not None
        drawn = {name: self.methods()[name] for name in (UNIFORM, REJECTION)}
        left_out = {name for name in (STATISTICS,) if not has_statistics(self.suffix)}
        labels = cluster(self._target, self.pool, seed=0)
        left_out |= {PSEUDO_LABELS} if np.bincount(labels).max() < 2 else set()
        return {
            f"{draws}, {peer}": replace(method, adaptation=peer)
            for draws, method in drawn.items()
            for peer in PEERS
            if peer not in left_out
        }

    def of_views(self, plan: Plan) -> Plan:
        """Convert a plan of the pool to a plan of the views that are trained on."""
        of_views, rule = _accept_views(plan.acceptance[self.rows], self._classes, self.views, self._recipe)
        log_ratio, likeness = (
            values[self.rows].repeat_interleave(self.views) for values in (plan.log_ratio, plan.likeness)
        )
        return replace(plan, acceptance=of_views, log_ratio=log_ratio, likeness=likeness, rule=rule)

    def train(self, batches: Batches, learning_rate: float, seed: int, **options: Any) -> nn.Module:
        """Tune a copy of the last stages, and go the largest of the recipe's shares of the way to the tuned weights.

        Args:
            batches: Batches of views. Their number is the number of steps.
            learning_rate: Peak learning rate.
            seed: Seed of the training.
            **options: Further arguments of `fine_tune`.

        Returns:
            The stages with the resulting weights.
        """
        method, penalties = batches.method, []
        if method.adaptation not in (None, STATISTICS):
            assert self._target is not None
            penalties = [peer_penalty(method.adaptation, self.pool, self._target, self._recipe, seed=seed)]
        likeness = None if method.likeness is None else method.likeness[:: self.views].numpy()
        suffix, prototypes, _ = whitened_stages(self._model, self.pool, self.rows, self._recipe, likeness)
        train_stages(
            suffix,
            prototypes,
            self._of_views(batches),
            self._recipe.model_copy(update={"learning_rate": learning_rate}),
            steps=len(batches),
            wrap=WeightedLoss,
            penalties=penalties,
            seed=seed,
            **options,
        )
        if method.adaptation == STATISTICS:
            assert self._target is not None
            adapt_statistics(suffix, self._target)
        suffix.load_state_dict(interpolate(self.suffix.state_dict(), suffix.state_dict(), max(self._recipe.shares)))
        return suffix

    def measure(self, suffix: nn.Module) -> dict[str, np.ndarray]:
        """Return the TAR at each FMR on every set and its bootstrap draws: (1 + B,). Unsupported FMRs are left out."""
        result = {}
        for key, (features, pairs) in self._measured.items():
            trial = scored({"": embed_activations(suffix, features)}, pairs)
            report = verify([trial], fmrs=FMRS, draws=DRAWS)
            for fmr, interval in report.systems[""].tar_at_fmr.items():
                if interval.value is not None:
                    result[f"{key} TAR at FMR {fmr:g}"] = np.concatenate([[interval.value], report.draws[""][fmr]])
        return result

    def validate(self, suffix: nn.Module) -> float:
        """Return the gain of held-out pairs like the target, minus a penalty if the others lose more than the bound."""
        target, others = self._validation.of_pairs(suffix)
        excess = max(0.0, self._start[1] - others - self._recipe.max_retention_loss)
        return target - self._start[0] - LOSS_PRICE * excess

    def seconds_of_a_step(self) -> float:
        """Measure the wall time of a training step, in seconds."""
        batches = Batches(self.methods()[UNIFORM], TIMED_STEPS, self._recipe.batch_size, seed=0)
        began = time.perf_counter()
        self.train(batches, self._recipe.learning_rate, seed=0)
        return (time.perf_counter() - began) / TIMED_STEPS

    def _of_views(self, batches: Batches) -> Iterator[tuple[Tensor, tuple[Tensor, Tensor | None]]]:
        """Yield the activations of each batch of views, with their classes and weights."""
        for items, weights in batches:
            item, view = np.divmod(items.numpy(), self.views)
            yield read_views(self._activations, self.rows[item], view), (self._classes[item], weights)


def _accept_views(
    acceptance: Tensor, classes: Tensor, views: int, recipe: Recipe
) -> tuple[Tensor, FloorAcceptance | IdentityAcceptance | None]:
    """Convert the acceptance of items to that of their views.

    Args:
        acceptance: (n,) acceptance probabilities of the items.
        classes: (n,) int64 identity of each item.
        views: Number V of views of each item.
        recipe: Settings, of which `accept_by` and `floor` are used.

    Returns:
        (n * V,) acceptance probabilities, that of view v of item i at i * V + v; and the acceptance rule for identities
        that draws the views, or None if each view is accepted independently.
    """
    of_views = acceptance.repeat_interleave(views)
    return of_views, mind_identities(of_views, classes.repeat_interleave(views), recipe.accept_by, recipe.floor)
