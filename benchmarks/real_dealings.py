"""Does whitening help on real shifts, however the people are dealt out? Five ways of dealing, no training step.

    python benchmarks/real_dealings.py [--models dlib,sface] [--settings "age 0.05;cctv 0.06"] [--deals 5] [--work DIR]

The pools, targets and evaluated people of `real_pools.py`, dealt out anew for each seed: other people are in the pool,
the target and each fold. Each network and their fusion as they are, and whitened alone by the pool's pairs: by those
that rejection for the target includes, and by all alike. Whitening is a closed form, so nothing else depends on a seed.
The five dealings have the same people in other parts, so they do not narrow the interval: it is the mean of the
dealings' intervals (over the evaluated people of all folds, paired, also between networks). Beside it are the least and
the largest value of the dealings. Writes `benchmarks/results/real_dealings.json`, in which other settings stay, and
`docs/real-dealings.md`; what is done is kept in `--work`.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from real_pools import REAL, RealCase, RealPools
from real_shifts import RECIPE
from runs import Kept, about, data_folder
from tables import difference

from rsft.baselines import REJECTION
from rsft.compare import Batches
from rsft.face.adaptation.planning import plan_faces
from rsft.face.adaptation.trial import FaceTrial
from rsft.face.networks.bundle import FaceModel
from rsft.face.networks.load import load_model
from rsft.types import CONFIDENCE, PRETRAINED, UNIFORM, Interval

RESULTS = Path(__file__).parent / "results" / "real_dealings.json"
PAGE = Path(__file__).parents[1] / "docs" / "real-dealings.md"
SETTINGS = "age 0.01;age 0.05;age 0.1;masks 0.06;cctv 0.06;cctv-drawn 0.06"
METHODS = (REJECTION, UNIFORM)
NAMES = {PRETRAINED: "{}", REJECTION: "{}, whitened", UNIFORM: "{}, whitened by all alike"}  # of a network's systems
BEST_KNOWN = "sface"
SHOWN = ("target TAR at FMR 0.01", "target TAR at FMR 0.001", "retain TAR at FMR 0.01")
Figures = Mapping[str, Mapping[str, np.ndarray]]  # method -> metric -> (1 + B,) value and draws


def measure(model: FaceModel, case: RealCase) -> dict[str, dict[str, np.ndarray]]:
    """Return what the network reaches on one fold, as it is and whitened."""
    plan = plan_faces(case.pool, case.target, **RECIPE.plan_options(), seed=0)
    trial = FaceTrial(model, case.pool, plan, case.sets, RECIPE, target=case.target)
    methods = trial.methods()
    found = {PRETRAINED: trial.measure(trial.suffix)}
    for name in METHODS:
        batches = Batches(methods[name], 0, RECIPE.batch_size, seed=0)
        found[name] = trial.measure(trial.train(batches, RECIPE.learning_rate, 0))
    return found


def mean_over_folds(folds: list[Figures]) -> dict[str, dict[str, np.ndarray]]:
    """Return every method's figures, averaged over folds; metrics that a fold cannot tell are left out."""
    metrics = [metric for metric in folds[0][PRETRAINED] if all(metric in fold[PRETRAINED] for fold in folds)]
    return {
        method: {metric: np.mean([fold[method][metric] for fold in folds], axis=0) for metric in metrics}
        for method in folds[0]
    }


def over_dealings(dealings: list[np.ndarray]) -> dict[str, Any]:
    """Return the mean over dealings, the mean of their intervals, and the least and largest value."""
    values = [float(figures[0]) for figures in dealings]
    ends = [np.nanquantile(figures[1:], ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)) for figures in dealings]
    low, high = np.mean(ends, axis=0)
    return Interval(float(np.mean(values)), float(low), float(high)).to_dict() | {
        "least": min(values),
        "largest": max(values),
    }


def summed_up(dealings: Mapping[str, list[Figures]]) -> dict[str, Any]:
    """Return value and paired differences of every system, by metric.

    Args:
        dealings: Network -> its figures in each dealing.
    """
    result: dict[str, Any] = {}
    for metric in next(iter(dealings.values()))[0][PRETRAINED]:
        systems = {
            NAMES[method].format(model): [figures[method][metric] for figures in of]
            for model, of in dealings.items()
            for method in NAMES
            if all(metric in figures[method] for figures in of)
        }
        values = {name: over_dealings(figures) for name, figures in systems.items()}
        differences = {
            name: {
                other: over_dealings([a - b for a, b in zip(figures, systems[other], strict=True)])
                for other in systems
                if other != name
            }
            for name, figures in systems.items()
        }
        result[metric] = {"values": values, "differences": differences}
    return result


ABOUT = """# Whitening on real shifts, dealt out five ways

`benchmarks/real_dealings.py`: the pools and people of [real-shifts.md](real-shifts.md), dealt out anew for each of
{deals} seeds, for what takes no training step: "whitened" by the pairs of the pool that rejection for the target
includes, and by all alike. "target" compares pictures of the shift with ordinary ones, "retain" ordinary ones among
themselves; TAR at FMR 0.01 and 0.001. The differences are means over the dealings, with the mean of their
95 % intervals over the evaluated people (paired; the dealings have the same people, so they do not narrow it) and,
behind it, the least and the largest of the dealings. Bold where the interval leaves out zero. "sface+dlib" is the
fusion of both. The pools of "cctv-drawn" and "cctv-like" are LFW alone, with 6 % of it drawn: in low resolution, or
with the light, contrast, blur and noise of the target's own pictures. rsft {rsft}, commit {commit}.

"""


def page(found: dict[str, Any]) -> str:
    """Return the results as a page."""
    lines = [ABOUT.format(**found["about"]).rstrip(), ""]
    for setting, metrics in found["settings"].items():
        shift, _, share = setting.partition(" ")
        lines += [f"## {shift}, {float(share):.0%} of the pool", ""]
        for metric in filter(metrics.get, SHOWN):
            of = metrics[metric]
            lines += [f"{metric[0].upper()}{metric[1:]}", ""]
            lines += [f"| system | value | less itself untouched | less untouched {BEST_KNOWN} |", "|---" * 4 + "|"]
            for system, value in of["values"].items():
                itself = system.partition(",")[0]
                cells = [_cell(of["differences"][system].get(other)) for other in (itself, BEST_KNOWN)]
                lines.append(f"| {system} | {value['value']:.3f} | {' | '.join(cells)} |")
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    interval = {name: row[name] for name in ("value", "low", "high")}
    return f"{difference(interval)}; {row['least']:+.3f} to {row['largest']:+.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--models", default="dlib,sface,sface+dlib")
    parser.add_argument("--settings", default=SETTINGS)
    parser.add_argument("--deals", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path("real-shifts"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = data_folder(parser)
    finder = RealPools(load_model("sface"), RECIPE.cut, data, options.work)
    for archive in sorted({shift.archive for shift in REAL.values()}):
        if not (options.work / f"{archive}-in-lfw.txt").exists():
            finder.write_overlap(archive)
    kept = Kept(options.work / "dealings.json", recipe=RECIPE.model_dump(mode="json"))
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"settings": {}}
    found["about"] = about(deals=options.deals, recipe=RECIPE.model_dump(mode="json"))
    for setting in options.settings.split(";"):
        shift, _, share = setting.partition(" ")
        dealt: dict[str, list[Figures]] = {}
        for name in options.models.split(","):
            model = load_model(name)
            pools = RealPools(model, RECIPE.cut, data, options.work)
            for deal in range(options.deals):
                folds = []
                for fold in range(REAL[shift].folds):
                    key = f"{setting} {model.fingerprint} {deal} {fold}"
                    told = kept.result(
                        key,
                        lambda p=pools, s=shift, f=fold, h=share, d=deal, m=model: listed(  # type: ignore[misc]
                            measure(m, p.build(s, f, float(h), d))
                        ),
                    )
                    print(
                        key,
                        {method: round(of["target TAR at FMR 0.01"][0], 3) for method, of in told.items()},
                        flush=True,
                    )
                    folds.append({m: {k: np.array(v) for k, v in of.items()} for m, of in told.items()})
                dealt.setdefault(name, []).append(mean_over_folds(folds))
        found["settings"][setting] = summed_up(dealt)
    RESULTS.write_text(json.dumps(found, indent=1))
    PAGE.write_text(page(found))


def listed(found: Figures) -> dict[str, dict[str, list[float]]]:
    return {method: {metric: values.tolist() for metric, values in of.items()} for method, of in found.items()}


if __name__ == "__main__":
    main()
