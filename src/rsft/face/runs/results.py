"""Results of a run: metrics, verdict and plan."""

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from rsft.data.listing import identity_of
from rsft.face.adaptation.advice import Advice
from rsft.face.adaptation.gate import mean_point
from rsft.face.adaptation.swap import Swap
from rsft.face.adaptation.tune import WHITENED, Tuned
from rsft.face.evaluation.det import DetBand
from rsft.face.evaluation.protocol import TARGET
from rsft.face.evaluation.verification import VerificationReport
from rsft.face.networks.bundle import FaceModel
from rsft.face.runs.closer_look import Errors
from rsft.face.runs.decision import decide, headline_fmr
from rsft.face.runs.pseudonyms import Pseudonyms
from rsft.plan import Plan
from rsft.promise import Promise
from rsft.ranking import Ranked
from rsft.report.run import ACCEPTED_FILE, PLAN_FILE
from rsft.types import TUNED

NAMED = Pseudonyms(None)


@dataclass(frozen=True, kw_only=True)
class PoolUsed:
    """The pictures of a pool that a run embedded.

    Attributes:
        pictures: Number of pictures of the pool.
        ids: (n,) ids of the embedded ones.
        acceptance: (n,) float64 acceptance probability; 0 if a picture only served as a prototype.
        log_ratio: (n,) float64 log ratio, with the retained share; NaN where nothing needed it.
        accepted: (n,) bool, True where epoch 0 accepts the picture.
    """

    pictures: int
    ids: Sequence[str]
    acceptance: np.ndarray
    log_ratio: np.ndarray
    accepted: np.ndarray

    @staticmethod
    def of_plan(plan: Plan, ids: Sequence[str]) -> "PoolUsed":
        """Return the whole pool that a plan was made on; `ids` are those of its (N,) items."""
        accepted = np.isin(np.arange(len(ids)), plan.accepted())
        return PoolUsed(
            pictures=len(ids),
            ids=ids,
            acceptance=plan.acceptance.numpy(),
            log_ratio=plan.log_ratio.numpy(),
            accepted=accepted,
        )


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The results of a run before they are written.

    Attributes:
        title: The headline of the report.
        config: The contents of `config.toml`.
        seed: Seed of the run.
        seconds: Duration of each stage.
        pool: The pictures that the first plan and its training used.
        promise: How what was met compares with the plan; None if the plan saw all of the pool.
        plans: The plan of each fold of people; `rsft fit` has one fold.
        tuned: The tuned network of each fold of people.
        reports: Verification on "target" and, if given, on "retain".
        groups: System -> error rates of the groups, or None if they were not asked for.
        curves: Name of each set -> system -> its `DetBand`, or None where no FMR is supported.
        errors: Name of each set -> the widest errors of the tuned network.
        features: Kind of features that the first plan was made on, and the kinds that it was chosen from; see
            `OpenPool.compared`.
        images_decoded: Number of pictures of the pool that were opened.
        images_embedded: Number of pictures of the pool that passed through the network.
        images_trained: Number of samples trained on, those of the cross-validation included.
        quarantined: Id and reason of each picture left out.
        passed_over: `FaceInputs.passed_over` of the inputs.
        quarantined: Id and reason of each picture of pool and target that was opened and cannot be used.
    """

    title: str
    config: Mapping[str, Any]
    seed: int
    seconds: Mapping[str, float]
    pool: PoolUsed
    promise: Promise | None = None
    plans: Sequence[Plan]
    tuned: Sequence[Tuned]
    reports: Mapping[str, VerificationReport]
    groups: Mapping[str, Any] | None = None
    curves: Mapping[str, Mapping[str, DetBand | None]] = field(default_factory=dict)
    errors: Mapping[str, Errors] = field(default_factory=dict)
    features: Mapping[str, Any] = field(default_factory=dict)
    images_decoded: int
    images_embedded: int
    images_trained: int
    quarantined: Sequence[tuple[str, str]] = ()
    passed_over: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def summarise(found: Findings, pseudonym: Pseudonyms = NAMED) -> dict[str, Any]:
    """Return the contents of `metrics.json`. `pseudonym` replaces the ids of the pictures left out."""
    fmr, shares = headline_fmr(found.reports[TARGET]), [run.gate.share for run in found.tuned]
    systems = list(found.reports[TARGET].systems)
    decision = decide(
        found.reports,
        share=float(np.mean(shares)),
        kept_because=found.tuned[0].gate.reason,
        max_loss=found.config["recipe"]["max_retention_loss"],
        folds=len(found.tuned),
    )
    metrics = {
        "version": importlib.metadata.version("rsft"),
        "title": found.title,
        "seed": found.seed,
        "folds": len(found.tuned),
        "headline_fmr": f"{fmr:g}",
        "verdict": decision.to_dict(),
        **{name: {key: r.systems[name].to_dict() for key, r in found.reports.items()} for name in systems},
        "differences": {
            f"{TUNED} - {other}": {key: r.differences(TUNED, other) for key, r in found.reports.items()}
            for other in systems
            if other != TUNED
        },
        "curves": {
            key: {name: band and band.to_dict() for name, band in bands.items()} for key, bands in found.curves.items()
        },
        "validation": _validation(found.tuned),
        "doubtful_labels": sum(run.doubtful for run in found.tuned),
        "acceptance_rate": float(np.mean([plan.envelope.acceptance_rate for plan in found.plans])),
        "pool_pictures": found.pool.pictures,
        "images_decoded": found.images_decoded,
        "images_embedded": found.images_embedded,
        "features": found.features.get("kind"),
        "images_trained": found.images_trained,
        "promise": found.promise and found.promise.to_dict(),
        "seconds": dict(found.seconds),
        "quarantined": [[pseudonym(item), reason] for item, reason in found.quarantined],
        "passed_over": {name: dict(counts) for name, counts in found.passed_over.items()},
    }
    return metrics if found.groups is None else metrics | {"groups": dict(found.groups)}


def _validation(runs: Sequence[Tuned]) -> dict[str, Any]:
    """Return the validation scores of each share, the gates and the mean share kept, averaged over folds of people."""
    points = zip(*(run.gate.path for run in runs), strict=True)
    share = float(np.mean([run.gate.share for run in runs]))
    text = (
        f"{share:.0%} of the way from the pretrained to the tuned weights is kept, chosen on identities of the pool "
        "that were held out"
    )
    doubtful = sum(run.doubtful for run in runs)
    left_out = f" {doubtful} items with doubtful labels were left out." if doubtful else ""
    if len(runs) > 1:
        text += f" (mean over {len(runs)} folds of people)."
    else:
        gate = runs[0].gate
        text += (
            f": {gate.reason}. There, at {gate.candidate:.0%} of the way, pairs that look like the target gain "
            f"{gate.gain.signed()} and the other pairs lose {gate.loss.signed()} (validation TAR, means over FMRs from "
            ".001 to 1 and to .01, with 95 % intervals from a bootstrap over held-out identities)."
        )
    whitened = all(run.line.is_whitened for run in runs)
    if whitened and all(run.line.whitened is not None for run in runs):
        text += f" The whitened weights, before any training, are {WHITENED:.0%} of the way."
    elif not whitened:
        text += " The embedding was not whitened."
    return {
        "share": share,
        "whitened": whitened,
        "path": [vars(mean_point(fold)) for fold in points],
        "gates": [run.gate.to_dict() for run in runs],
        "text": text + left_out,
    }


def write_plan(
    folder: Path,
    plan: Plan,
    pool: PoolUsed,
    *,
    retain_fraction: float,
    features: Mapping[str, Any] | None = None,
    advised: Mapping[str, Any] | None = None,
    pseudonym: Pseudonyms = NAMED,
    **columns: np.ndarray,
) -> None:
    """Write `plan.json`, and `accepted.parquet` with one row for each picture used.

    Args:
        folder: Folder to write into.
        plan: The plan.
        pool: The pictures of the pool that were used.
        retain_fraction: Share of the pool in the target mixture, which is written into `plan.json`.
        features: `Findings.features`, which are written into `plan.json` too.
        advised: The networks at hand, the advice and what was left out, which are written into `plan.json` too.
        pseudonym: Replaces the names of items and people. Its salt is written too, because `rsft forget` needs it.
        **columns: Further columns (n,) of `accepted.parquet`.
    """
    told = {"retain_fraction": retain_fraction, "features": dict(features or {}), **(advised or {})}
    (folder / PLAN_FILE).write_text(json.dumps(plan.to_dict() | told, indent=1))
    table = pa.table(
        {
            "path": [pseudonym(item) for item in pool.ids],
            "identity": [pseudonym(identity_of(item)) for item in pool.ids],
            "log_ratio": pool.log_ratio,
            "acceptance": pool.acceptance,
            "accepted": pool.accepted,
            **columns,
        },
        metadata={"ids": "named" if pseudonym.salt is None else "hashed"},
    )
    pseudonym.save(folder)
    pa.parquet.write_table(table, folder / ACCEPTED_FILE)


@dataclass(frozen=True)
class FitResult:
    """The results of a run.

    Attributes:
        verdict: The verdict as text.
        metrics: The contents of `metrics.json`.
        plan: The plan, with the acceptance probability of each item.
        model: The model to use; the pretrained one if the gate kept its weights.
        out: The run folder.
    """

    verdict: str
    metrics: dict[str, Any]
    plan: Plan
    model: FaceModel
    out: Path


@dataclass(frozen=True)
class PlanResult:
    """A plan for folders of pictures.

    Attributes:
        plan: The plan; the best of the ranking if there is one.
        ranking: Plans on each kind of features, the best first; empty if they were not to be compared.
        features: Kind of features of the plan, and the kinds that it was chosen from, with their cost; see
            `OpenPool.told`. Empty if the pool was embedded already.
        swap: The networks at hand, side by side on pictures of the pool.
        advice: What to do.
        passed_over: `FaceInputs.passed_over` of the inputs.
        quarantined: Id and reason of each picture of pool and target that was opened and cannot be used.
    """

    plan: Plan
    ranking: Sequence[Ranked]
    features: Mapping[str, Any]
    swap: Swap
    advice: Advice
    passed_over: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    quarantined: Sequence[tuple[str, str]] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return all but the ranking as JSON values."""
        told = {"features": dict(self.features)} if self.features else {}
        advised = {"models": self.swap.to_dict(), "advice": self.advice.to_dict()}
        left_out = {"passed_over": dict(self.passed_over), "quarantined": [list(one) for one in self.quarantined]}
        return self.plan.to_dict() | told | advised | left_out
