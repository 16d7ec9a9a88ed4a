"""What in a recipe helps: one thing changed at a time, measured on people of the pool who are not trained on.

    python benchmarks/ablation.py --lfw DIR [--shifts low-resolution,mask] [--shifted 0.06] [--seeds 1] [--work DIR]

The pools of `shifted_faces.py`. Their held-out people are seen with the shift drawn on every picture, and without it,
so that more pairs tell than a user's validation has; nobody of the evaluation is looked at. Each training is measured
at three shares of the line from the pretrained to the tuned weights. Intervals are of the held-out identities, over all
shifts and seeds together. Writes `benchmarks/results/ablation.json`, with what earlier runs kept in `--work`.
"""

import argparse
import copy
import functools
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from evidence import RECIPE
from runs import Kept, about, read_arguments
from shifted_faces import SHARE, Case, Cases
from tables import difference

import rsft
from rsft.baselines import LOSS_WEIGHTS, ORACLE, REJECTION, WEIGHTED, Method, rejection
from rsft.compare import Batches
from rsft.face.adaptation.label_noise import label_margin
from rsft.face.adaptation.planning import plan_faces
from rsft.face.adaptation.trial import FaceTrial
from rsft.face.evaluation.bootstrap import interval
from rsft.face.networks.bundle import FaceModel
from rsft.face.networks.load import load_model
from rsft.sampling.identities import identity_log_ratio
from rsft.tuning.freezing import interpolate
from rsft.types import UNIFORM

RESULTS = Path(__file__).parent / "results" / "ablation.json"
SHARES = (0.5, 0.75, 1.0)
METRICS = {"target": "target TAR at FMR 0.001", "retain": "retain TAR at FMR 0.001"}
LEARNING_RATE = 1e-5
PLAIN = RECIPE.model_copy(update={"shares": (0.0, 1.0)})


def harder(plan: rsft.Plan, case: Case) -> torch.Tensor:
    """The plan's ratio, and items that the network tells less clearly from other people more often."""
    return plan.log_ratio + rsft.percentile_tilt(-clearness(case), 0.5)


def hard_and_learnable(plan: rsft.Plan, case: Case) -> torch.Tensor:
    """The plan's ratio, and of the items outside the harder half or in its hardest tenth one in four."""
    return plan.log_ratio + rsft.band_tilt(-clearness(case), 0.5, 0.9, outside=0.25)


def same_for_identities(plan: rsft.Plan, case: Case) -> torch.Tensor:
    """What the target is like, but its identities as often as the pool has them."""
    return plan.log_ratio - identity_log_ratio(plan.log_ratio, torch.from_numpy(case.people))


def clearness(case: Case) -> torch.Tensor:
    """(N,) margin of each item's own identity; an item alone in its identity is as clear as the clearest."""
    margin = torch.from_numpy(label_margin(case.pool.embeddings, case.people))
    return margin.clamp(max=float(margin[torch.isfinite(margin)].max()))


# what is changed: settings of the recipe, the learning rate, the method, or
# ratio: (plan, case) -> log ratio in place of the plan's; envelopes: one after the other in equal parts of the samples;
# mean_of: so many trainings of other seeds, whose weights are averaged
CHANGES: dict[str, dict[str, Any]] = {
    "rejection": {},
    "cut 8 stages": {"cut": -8},
    "cut 12 stages": {"cut": -12},
    "mean of three trainings": {"mean_of": 3},
    "harder": {"ratio": harder},
    "hard and learnable": {"ratio": hard_and_learnable},
    "same for identities": {"ratio": same_for_identities},
    "M from sharp to flat": {"envelopes": ("max", "max_tv=0.1", "max_tv=0.3")},
    "M from flat to sharp": {"envelopes": ("max_tv=0.3", "max_tv=0.1", "max")},
    "identities accepted whole": {"accept_by": "identity"},
    "at least 4 views of an identity": {"floor": 4},
    "three times the rate": {"learning_rate": 3e-5},
    "half the steps": {"steps": 75},
    "a quarter retained": {"retain_fraction": 0.25},
    "three quarters retained": {"retain_fraction": 0.75},
    "warm-up of half the steps": {"warmup_fraction": 0.5},
    "margin .1": {"margin_rad": 0.1},
    "scale 16": {"scale": 16.0},
    "learnt prototypes": {"learnt_prototypes": True},
    "ratio in the embedding": {"features": "embedding"},
    "ratio in the covariates": {"features": "covariates"},
    "exact M": {"envelope": "max"},
    "M at the 97th percentile": {"envelope": "quantile=0.97"},
    "a fifth clipped": {"envelope": "max_tv=0.2"},
    "distillation": {"distillation": 20.0},
    "pull to the start": {"pull_to_start": 1.0},
    "affine only": {"trains": "affine"},
    "adapters": {"trains": "lora"},
    UNIFORM: {"method": UNIFORM},
    WEIGHTED: {"method": WEIGHTED},
    LOSS_WEIGHTS: {"method": LOSS_WEIGHTS},
    ORACLE: {"method": ORACLE},
}


def trained(model: FaceModel, cases: Cases, case: Case, change: dict[str, Any], seed: int) -> dict[str, Any]:
    """Target and retention TAR of one training, less those of the pretrained network, at each share.

    Each with its draws of identities.
    """
    settings = {"learning_rate": LEARNING_RATE, "method": REJECTION, "ratio": None, "envelopes": (), "mean_of": 1}
    settings |= change
    method, ratio, envelopes, mean_of = (settings.pop(name) for name in ("method", "ratio", "envelopes", "mean_of"))
    recipe = PLAIN.model_copy(update=settings)
    plan = plan_faces(case.pool, case.target, **recipe.plan_options(), seed=0)
    if ratio is not None:
        plan = rsft.plan_from_ratio(ratio(plan, case), envelope=recipe.envelope)
    rows = FaceTrial(model, case.pool, plan, {}, recipe).rows
    trial = FaceTrial(model, case.pool, plan, cases.held_out(case.name, case, rows), recipe)
    drawn, steps = trial.methods(case.shifted)[method], recipe.steps
    if envelopes:
        plans = [trial.of_views(rsft.plan_from_ratio(plan.log_ratio, envelope=rule)) for rule in envelopes]
        drawn = in_turn([rejection(of_views) for of_views in plans], steps * recipe.batch_size)
    ends = []
    for place in range(mean_of):
        batches = Batches(drawn, steps, recipe.batch_size, seed + place)
        ends.append(trial.train(batches, recipe.learning_rate, seed + place).state_dict())
    end = {name: torch.stack([weights[name] for weights in ends]).mean(0) for name in ends[0]}
    before, start, suffix = trial.measure(trial.suffix), trial.suffix.state_dict(), copy.deepcopy(trial.suffix)
    result = {}
    for share in SHARES:
        suffix.load_state_dict(interpolate(start, end, share))
        after = trial.measure(suffix)
        result[f"{share:g}"] = {key: (after[m] - before[m]).round(5).tolist() for key, m in METRICS.items()}
    return result


def in_turn(methods: Sequence[Method], samples: int) -> Method:
    """Epochs of the first until its equal part of the samples is drawn, then of the next."""

    def epochs(seed: int) -> Iterator[np.ndarray]:
        drawn, all_epochs = 0, [method.epochs(seed) for method in methods]
        while True:
            epoch = next(all_epochs[min(len(methods) - 1, drawn * len(methods) // samples)])
            drawn += len(epoch)
            yield epoch

    return Method(epochs)


def summary(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over shifts and seeds: gains over the pretrained network, and at `max(RECIPE.shares)` over "rejection"."""
    gains: dict[tuple[float, str], dict[Any, Any]] = {}
    for result in results:
        kept = gains.setdefault((result["shifted"], result["change"]), {})
        for share, by_key in result["gain"].items():
            for key, drawn in by_key.items():
                kept.setdefault((share, key), {})[result["shift"], result["seed"]] = np.array(drawn)
    rows = []
    for (shifted, change), kept in gains.items():
        row: dict[str, Any] = {"shifted": shifted, "change": change, "trainings": len(kept["1", "target"])}
        for (share, key), by_run in kept.items():
            value, *draws = np.mean(list(by_run.values()), axis=0)
            row[f"{key} at {share}"] = interval(value, draws).to_dict()
        share = f"{max(RECIPE.shares):g}"
        for key in METRICS if change != REJECTION and (shifted, REJECTION) in gains else ():
            mine, plain = kept[share, key], gains[shifted, REJECTION][share, key]
            value, *draws = np.mean([mine[run] - plain[run] for run in mine if run in plain], axis=0)
            row[f"{key} less rejection"] = interval(value, draws).to_dict()
        rows.append(row)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Points gained on the shift / on clean faces at each share of the way, and what the change does to rejection."""
    lines = [
        "| shifted | | " + " | ".join(f"{share:g}" for share in SHARES) + " | target less rejection | clean less |"
    ]
    lines.append("|---" * (4 + len(SHARES)) + "|")
    for row in rows:
        cells = [
            f"{100 * row[f'target at {share:g}']['value']:+.1f} / {100 * row[f'retain at {share:g}']['value']:+.1f}"
            for share in SHARES
        ]
        cells += [difference(row[name]) if (name := f"{key} less rejection") in row else "" for key in METRICS]
        lines.append(f"| {row['shifted']:.0%} | {row['change']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="What in a recipe helps.")
    parser.add_argument("--shifts", default="low-resolution,mask")
    parser.add_argument("--shifted", type=float, default=SHARE, help="share of the pool that carries the shift")
    parser.add_argument("--changes", default=",".join(CHANGES))
    parser.add_argument("--seeds", type=int, default=1)
    options = read_arguments(parser)
    model = load_model("dlib")
    settings = {"learning_rate": LEARNING_RATE, "recipe": PLAIN.model_dump(mode="json"), "model": model.fingerprint}
    kept = Kept(options.work / "ablation.json", **settings)
    cases = functools.cache(lambda cut: Cases(model, cut, options.lfw, None, options.work / "embedded"))
    case = functools.lru_cache(2)(lambda cut, shift: cases(cut).build(shift, options.shifted))
    everything = itertools.product(options.changes.split(","), options.shifts.split(","), range(options.seeds))
    for change, shift, seed in everything:
        of = {"shift": shift, "shifted": options.shifted, "change": change, "seed": seed}

        def make(of: dict[str, Any] = of) -> dict[str, Any]:
            change, shift = CHANGES[of["change"]], of["shift"]
            cut = change.get("cut", PLAIN.cut)
            return of | {"gain": trained(model, cases(cut), case(cut, shift), change, of["seed"])}

        kept.result(json.dumps(of), make)
    results = summary(list(kept.results.values()))
    RESULTS.write_text(json.dumps({"about": about(**settings), "results": results}, indent=1))
    print(table(results))


if __name__ == "__main__":
    main()
