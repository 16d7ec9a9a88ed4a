"""What a run found, as numbers and words, and its folder."""

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import tomli_w

from rsft.evaluation.comparison import Difference, in_words, judge
from rsft.face.adapt import Tuned
from rsft.face.gate import mean_point
from rsft.face.privacy import Pseudonyms
from rsft.face.verification import VerificationReport
from rsft.plan import Plan
from rsft.report.run import ACCEPTED_FILE, CONFIG_FILE, METRICS_FILE, PLAN_FILE

TUNED, PRETRAINED, UNIFORM = "tuned", "pretrained", "uniform"
HEADLINE_FMRS = (0.001, 0.01)
KEPT = "kept"
NAMED = Pseudonyms(None)


def summarise(
    title: str,
    reports: Mapping[str, VerificationReport],
    runs: Sequence[Tuned],
    plans: Sequence[Plan],
    *,
    seconds: Mapping[str, float],
    seed: int,
    images_decoded: int,
    images_trained: int,
    quarantined: Sequence[tuple[str, str]],
) -> dict[str, Any]:
    """The contents of `metrics.json`.

    Args:
        title: the headline.
        reports: for "target" and, if any, "retain".
        runs: one for each fold of people.
        plans: likewise.
        seconds: of each stage.
        seed: of the run.
        images_decoded: pictures opened.
        images_trained: samples trained on, those of the cross-validation included.
        quarantined: pictures left out, with the reason.
    """
    fmr = headline_fmr(reports["target"])
    systems = list(reports["target"].systems)
    return {
        "version": importlib.metadata.version("rsft"),
        "title": title,
        "seed": seed,
        "folds": len(runs),
        "headline_fmr": f"{fmr:g}",
        "verdict": verdict(reports, runs, fmr),
        **{name: {key: r.systems[name].to_dict() for key, r in reports.items()} for name in systems},
        "differences": {
            f"{TUNED} - {other}": {key: r.differences(TUNED, other) for key, r in reports.items()}
            for other in systems
            if other != TUNED
        },
        "validation": _validation(runs),
        "doubtful_labels": sum(run.doubtful for run in runs),
        "acceptance_rate": float(np.mean([plan.envelope.acceptance_rate for plan in plans])),
        "images_decoded": images_decoded,
        "images_trained": images_trained,
        "seconds": dict(seconds),
        "quarantined": [list(entry) for entry in quarantined],
    }


def headline_fmr(report: VerificationReport) -> float:
    """The first of `HEADLINE_FMRS` with 30 expected false matches; else the last."""
    tars = report.systems[PRETRAINED].tar_at_fmr
    return next((fmr for fmr in HEADLINE_FMRS if tars[fmr].value is not None and not tars[fmr].note), HEADLINE_FMRS[-1])


def verdict(reports: Mapping[str, VerificationReport], runs: Sequence[Tuned], fmr: float) -> dict[str, str]:
    """{"outcome": "better" | "worse" | "none" | "unknown" | "kept", "text": the same in a sentence or two}."""
    if all(run.gate.share == 0 for run in runs):
        text = f"The pretrained weights are kept: {runs[0].gate.reason}."
        return {"outcome": KEPT, "text": text}
    target = reports["target"]
    outcome = judge(target.difference(TUNED, PRETRAINED, fmr))
    others = [name for name in target.systems if name != TUNED]
    words = [in_words(target.difference(TUNED, other, fmr), other) for other in others]
    text = f"On the target, TAR at FMR {fmr:g} of the tuned model: {'; '.join(words)}."
    if "retain" in reports:
        fmr = headline_fmr(reports["retain"])
        loss = reports["retain"].difference(TUNED, PRETRAINED, fmr)
        text += f" On the retention set: {in_words(loss, PRETRAINED)}."
        if judge(loss) is Difference.WORSE:
            text += " Weigh the loss there against the gain."
    return {"outcome": str(outcome), "text": text}


def _validation(runs: Sequence[Tuned]) -> dict[str, Any]:
    """The path averaged over folds of people, and the mean share kept."""
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
    return {
        "share": share,
        "path": [vars(mean_point(fold)) for fold in points],
        "gates": [run.gate.to_dict() for run in runs],
        "text": text + left_out,
    }


def write_results(
    folder: Path,
    *,
    metrics: Mapping[str, Any],
    config: Mapping[str, Any],
    plan: Plan,
    retain_fraction: float,
    items: Sequence[str],
    people: Sequence[str],
    times_trained: np.ndarray,
    pseudonym: Pseudonyms = NAMED,
) -> None:
    """Write all of a run folder that is told in tables; `pseudonym` as in `write_plan`."""
    (folder / METRICS_FILE).write_text(json.dumps(metrics, indent=1))
    (folder / CONFIG_FILE).write_text(tomli_w.dumps(config))
    write_plan(folder, plan, retain_fraction, items, people, pseudonym=pseudonym, times_trained=times_trained)


def write_plan(
    folder: Path,
    plan: Plan,
    retain_fraction: float,
    items: Sequence[str],
    people: Sequence[str],
    *,
    pseudonym: Pseudonyms = NAMED,
    **columns: np.ndarray,
) -> None:
    """Write `plan.json`, and `accepted.parquet` with a row an item and any further columns.

    Items and people go by their `pseudonym`, whose salt is written too: `rsft forget` needs it.
    """
    (folder / PLAN_FILE).write_text(json.dumps(plan.to_dict() | {"retain_fraction": retain_fraction}, indent=1))
    table = pa.table(
        {
            "path": [pseudonym(item) for item in items],
            "identity": [pseudonym(person) for person in people],
            "log_ratio": plan.log_ratio.numpy(),
            "acceptance": plan.acceptance.numpy(),
            "accepted": np.isin(np.arange(len(items)), plan.sampler().accepted().numpy()),
            **columns,
        },
        metadata={"ids": "named" if pseudonym.salt is None else "hashed"},
    )
    pseudonym.save(folder)
    pa.parquet.write_table(table, folder / ACCEPTED_FILE)
