"""`rsft compare`: rejection against what is free, on faces."""

import copy
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsft.alternatives import Method, alternatives, uniform
from rsft.compare import Batches, Comparison, compare
from rsft.data.features import Features
from rsft.errors import InputError
from rsft.face.adapt import default_steps, embed_activations
from rsft.face.backbones.dlib import Affine
from rsft.face.embed import as_input
from rsft.face.gate import VALIDATION_FMRS
from rsft.face.heads import PrototypeLoss, class_means
from rsft.face.model import FaceModel
from rsft.face.recipe import Recipe
from rsft.face.verification import Comparisons, Trial, all_comparisons, cosine_scores, verify, weighted_tar
from rsft.identities import mind_identities
from rsft.plan import Plan
from rsft.tuning.freezing import AFFINE
from rsft.tuning.recipe import tune_by
from rsft.tuning.stopping import Stopping

FMRS = (0.01, 0.001)
VALIDATION_FRACTION = 0.25  # of the pool's people
MAX_VALIDATION_ITEMS = 2000
DRAWS = 500
LOSS_PRICE = 10.0  # how many points of gain a point of loss beyond the bound costs in the validation score
LEARNING_RATE_FACTORS = (1 / 3, 1.0, 3.0)

# what is compared: pictures with activations, and which of them
Measured = tuple[Features, Comparisons]


class WeightedPrototypeLoss(nn.Module):
    """`PrototypeLoss` of (classes, weights), the weights (B,) of mean 1 or None."""

    def __init__(self, loss: PrototypeLoss) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, embeddings: Tensor, targets: tuple[Tensor, Tensor | None]) -> Tensor:
        classes, weights = targets
        if weights is None:
            return self.loss(embeddings, classes)
        return (weights * F.cross_entropy(self.loss.logits(embeddings, classes), classes, reduction="none")).mean()


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
        held_out = np.isin(people, names[: round(VALIDATION_FRACTION * len(names))])
        self.rows = np.flatnonzero(~held_out)
        if len(names) < 8:
            raise InputError(f"a comparison needs 8 identities or more in the pool, got {len(names)}.")
        others = np.flatnonzero(held_out)
        others = np.sort(generator.permutation(others)[:MAX_VALIDATION_ITEMS])
        self._validation = pool.subset(others), all_comparisons(people[others])
        self._likeness = plan.likeness[others].numpy()
        self._classes = torch.from_numpy(np.unique(people[self.rows], return_inverse=True)[1])
        self._pool, self._plan, self._measured, self._recipe = pool, plan, measured, recipe
        self.views = pool.activations.shape[1]
        self.suffix = model.split(recipe.cut)[1]
        self._start = self._validation_scores(self.suffix)

    def methods(self, shifted: np.ndarray | None = None) -> dict[str, Method]:
        """The `alternatives` over the views that are trained on; `shifted` (N,) bool names the oracle's items."""
        return alternatives(self.of_views(self._plan), oracle=None if shifted is None else self._each_view(shifted))

    def of_views(self, plan: Plan) -> Plan:
        """A plan of the pool as one of the views that are trained on."""
        acceptance, log_ratio, likeness = (
            torch.from_numpy(self._each_view(values.numpy()))
            for values in (plan.acceptance, plan.log_ratio, plan.likeness)
        )
        classes = self._classes.repeat_interleave(self.views)
        rule = mind_identities(acceptance, classes, self._recipe.accept_by, self._recipe.floor)
        return replace(plan, acceptance=acceptance, log_ratio=log_ratio, likeness=likeness, rule=rule)

    def train(self, batches: Batches, learning_rate: float, seed: int) -> nn.Module:
        """Tune a copy of the last stages."""
        recipe = self._recipe.model_copy(update={"learning_rate": learning_rate})
        suffix = copy.deepcopy(self.suffix)
        prototypes = class_means(torch.from_numpy(self._pool.embeddings[self.rows] / 2), self._classes)
        loss = PrototypeLoss(
            prototypes,
            scale=recipe.scale,
            margin_rad=recipe.margin_rad,
            ramp_batches=round(recipe.margin_ramp_fraction * len(batches)),
            learnt=recipe.learnt_prototypes,
        )
        of_views = ((self._inputs(items), (self._classes[items // self.views], weights)) for items, weights in batches)
        tune_by(
            recipe,
            suffix,
            of_views,
            WeightedPrototypeLoss(loss),
            stop=Stopping(steps=len(batches)),
            affine=(*AFFINE, Affine),
            seed=seed,
        )
        return suffix

    def measure(self, suffix: nn.Module) -> dict[str, np.ndarray]:
        """TAR at each FMR on every set, with draws of identities; an FMR without sufficient data is left out."""
        result = {}
        for key, (features, comparisons) in self._measured.items():
            trial = Trial(comparisons, {"": cosine_scores(embed_activations(suffix, features), comparisons)})
            report = verify([trial], fmrs=FMRS, draws=DRAWS)
            for fmr, interval in report.systems[""].tar_at_fmr.items():
                if interval.value is not None:
                    result[f"{key} TAR at FMR {fmr:g}"] = np.concatenate([[interval.value], report.draws[""][fmr]])
        return result

    def validate(self, suffix: nn.Module) -> float:
        """Gain of target-like pairs of people held out, less what all pairs lose beyond the recipe's bound."""
        target, every = self._validation_scores(suffix)
        excess = max(0.0, self._start[1] - every - self._recipe.max_retention_loss)
        return target - self._start[0] - LOSS_PRICE * excess

    def _validation_scores(self, suffix: nn.Module) -> tuple[float, float]:
        features, comparisons = self._validation
        scores = cosine_scores(embed_activations(suffix, features), comparisons)
        genuine = comparisons.genuine
        alike = self._likeness[comparisons.a] * self._likeness[comparisons.b]
        target, every = (
            weighted_tar(scores, genuine, weights, VALIDATION_FMRS) for weights in (alike, np.ones(len(scores)))
        )
        return target, every

    def _inputs(self, items: Tensor) -> Tensor:
        activations = self._pool.activations
        assert activations is not None
        rows, views = self.rows[(items // self.views).numpy()], (items % self.views).numpy()
        return as_input(torch.from_numpy(np.array(activations[rows, views])))

    def _each_view(self, values: np.ndarray) -> np.ndarray:
        return np.repeat(values[self.rows], self.views)
