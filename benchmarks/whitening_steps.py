"""What each step of the whitening is worth on real shifts, in pools of many people and of few. No training step.

    python benchmarks/whitening_steps.py [--models sface,dlib,sface+dlib] [--settings "age 0.05;cctv 0.06"] [--work DIR]

The pools, targets and evaluated people of `real_pools.py`, dealt out `--deals` times, and pools of a few of their
people, drawn at random. Each step is added to the one before: whitening within a person alone, less of it with few
pairs, the weight of how people differ, and the move towards the mean, which is what rsft does. Beside it the whole mean
in place of half of it, all pairs alike, and the networks of a fusion whitened as one. The likeness is that of the plan
of the whole pool. Intervals as in `real_dealings.py`. Writes `benchmarks/results/whitening_steps.json` and
`docs/whitening-steps.md`; what is done is kept in `--work`.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from real_dealings import SHOWN, Figures, listed, mean_over_folds, over_dealings
from real_pools import REAL, RealCase, RealPools
from real_shifts import RECIPE
from runs import Kept, about, data_folder
from tables import difference
from torch import Tensor, nn

from rsft.face.adaptation.planning import plan_faces
from rsft.face.adaptation.whitening import (
    CENTRED,
    MIN_PAIRS,
    Whitening,
    between_people_covariance,
    whitening_map,
    whitenings_of,
    within_person_covariance,
)
from rsft.face.evaluation.trials import scored
from rsft.face.evaluation.verification import verify
from rsft.face.networks.load import load_model
from rsft.types import PRETRAINED

RESULTS = Path(__file__).parent / "results" / "whitening_steps.json"
PAGE = Path(__file__).parents[1] / "docs" / "whitening-steps.md"
PEOPLE = (0, 300, 60, 30)  # 0: the whole pool
DRAWS, FMRS = 200, (0.01, 0.001)
NOW = "rsft: and moved half way to the mean"
ABOUT = """# What each step of the whitening is worth

`benchmarks/whitening_steps.py`: [whitening](tuning.md#whitening) by the pools of [real-shifts.md](real-shifts.md), and
by some of their people alone (dealings of the people: {deals}). "target" compares pictures of the shift with ordinary
ones, "retain" ordinary ones among themselves. Behind each value what it is over the untouched network: means over the
dealings, with the mean of their 95 % intervals over the evaluated people, bold where they leave out zero. dlib's
embeddings lie aside of 0 and are not moved. rsft {rsft}, commit {commit}.

"""


def within_alone(covariance: Tensor, strength: float) -> Tensor:
    """The root of the inverse of (strength * S + (1 - strength) * s I): what whitening was at first."""
    values, vectors = torch.linalg.eigh(covariance)
    scales = (strength * values.clamp(min=0) + (1 - strength) * values.mean()).rsqrt()
    return vectors @ torch.diag(scales / scales.mean()) @ vectors.T


def steps(x: np.ndarray, people: np.ndarray, likeness: np.ndarray) -> dict[str, Whitening]:
    """Return the map of each step for one network; nothing if too few pairs are like the target."""
    strength, at_zero = RECIPE.whitening, torch.zeros(x.shape[1], dtype=torch.float64)
    covariance, pairs = within_person_covariance(x, people, likeness)
    if pairs < MIN_PAIRS:
        return {}
    trusted = strength * pairs / (pairs + len(covariance))
    between = between_people_covariance(x, people)
    made = {
        "within a person": Whitening(at_zero, within_alone(covariance, strength)),
        "and less with few pairs": Whitening(at_zero, within_alone(covariance, trusted)),
        "and between people": Whitening(at_zero, whitening_map(covariance, between, trusted)),
        NOW: next(whitenings_of(x, people, likeness, strength)),
        "rsft, all pairs alike": next(whitenings_of(x, people, np.ones(len(x)), strength)),
    }
    if made[NOW].centre.any():
        centre = made[NOW].centre / CENTRED
        moved = x - centre.numpy()
        covariance, _ = within_person_covariance(moved, people, likeness)
        whole = whitening_map(covariance, between_people_covariance(moved, people), trusted)
        made["rsft, but the whole mean"] = Whitening(centre, whole)
    return made


def whitened(
    pool: np.ndarray, people: np.ndarray, likeness: np.ndarray, width: int, embeddings: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the mapped embeddings of evaluated pictures by each step.

    Args:
        pool: (N, D) embeddings of the pool.
        people: (N,) their people.
        likeness: (N,) their likeness.
        width: Width of the part of each network.
        embeddings: (n, D) embeddings of the evaluated pictures.
    """
    starts = range(0, pool.shape[1], width)
    parts = [steps(pool[:, start : start + width], people, likeness) for start in starts]
    if not all(parts):
        return {}
    x = torch.from_numpy(embeddings).double()

    def mapped(name: str) -> np.ndarray:
        found = [each[name].of(x[:, start : start + width]) for each, start in zip(parts, starts, strict=True)]
        return torch.cat([nn.functional.normalize(part) for part in found], 1).numpy()

    result = {name: mapped(name) for name in parts[0] if all(name in each for each in parts)}
    if len(parts) > 1:
        as_one = next(whitenings_of(pool, people, likeness, RECIPE.whitening))
        result["rsft, but all networks as one"] = as_one.of(x).numpy()
    return result


def measure(case: RealCase, width: int, seed: int) -> dict[str, Figures]:
    """Return number of people -> the figures of each step on one fold; pools with too few pairs are left out."""
    likeness = plan_faces(case.pool, case.target, **RECIPE.plan_options(), seed=0).likeness.numpy()
    generator = np.random.default_rng(seed)
    theirs = case.sets["target"][0].embeddings / 2  # they are sums over two views
    result = {}
    for number in PEOPLE:
        people = np.unique(case.pool.people)
        some = generator.permutation(people)[: number or None]
        rows = np.flatnonzero(np.isin(case.pool.people, some))
        pool = case.pool.embeddings[rows] / 2
        systems = {PRETRAINED: theirs} | whitened(pool, case.pool.people[rows], likeness[rows], width, theirs)
        if len(systems) > 1:
            result[str(number)] = verified(case, systems)
    return result


def verified(case: RealCase, systems: dict[str, np.ndarray]) -> Figures:
    """Return system -> metric -> (1 + B,) value and draws on every set of pairs."""
    found: dict[str, dict[str, np.ndarray]] = {name: {} for name in systems}
    for key, (_, pairs) in case.sets.items():
        report = verify([scored(systems, pairs)], fmrs=FMRS, draws=DRAWS)
        for name in systems:
            for fmr, interval in report.systems[name].tar_at_fmr.items():
                if interval.value is not None:
                    values = np.concatenate([[interval.value], report.draws[name][fmr]])
                    found[name][f"{key} TAR at FMR {fmr:g}"] = values
    return found


def summed_up(dealings: list[Figures]) -> dict[str, Any]:
    """Return metric -> step -> its value and what it is over the untouched network."""
    return {
        metric: {
            name: {
                "value": over_dealings([figures[name][metric] for figures in dealings]),
                "gain": over_dealings([figures[name][metric] - figures[PRETRAINED][metric] for figures in dealings]),
            }
            for name in dealings[0]
            if all(name in figures and metric in figures[name] for figures in dealings)
        }
        for metric in SHOWN
        if metric in dealings[0][PRETRAINED]
    }


def page(found: dict[str, Any]) -> str:
    """Return the results as a page."""
    lines = [ABOUT.format(**found["about"]).rstrip(), ""]
    for setting, networks in found["settings"].items():
        for network, sizes in networks.items():
            for number, metrics in sizes.items():
                shift, _, share = setting.partition(" ")
                whom = f"{number} people" if int(number) else "the whole pool"
                lines += [f"## {network}, {shift} ({float(share):.0%}), {whom}", ""]
                lines += [f"| step | {' | '.join(metrics)} |", "|---" * (1 + len(metrics)) + "|"]
                for step in next(iter(metrics.values())):
                    cells = [_cell(of[step], gain=step != PRETRAINED) for of in metrics.values()]
                    lines.append(f"| {step} | {' | '.join(cells)} |")
                lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _cell(row: dict[str, Any], *, gain: bool) -> str:
    value = f"{row['value']['value']:.3f}"
    over = {name: row["gain"][name] for name in ("value", "low", "high")}
    return f"{value} {difference(over)}" if gain else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--models", default="sface,dlib,sface+dlib")
    parser.add_argument("--settings", default="age 0.05;cctv 0.06")
    parser.add_argument("--deals", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path("real-shifts"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = data_folder(parser)
    kept = Kept(options.work / "steps.json", recipe=RECIPE.model_dump(mode="json"), people=PEOPLE)
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"settings": {}}
    found["about"] = about(deals=options.deals)
    for setting in options.settings.split(";"):
        shift, _, share = setting.partition(" ")
        for name in options.models.split(","):
            model = load_model(name)
            width = model.embedding_size // max(1, len(model.parts))
            pools = RealPools(model, RECIPE.cut, data, options.work)
            dealt: dict[str, list[Figures]] = {}
            for deal in range(options.deals):
                folds: dict[str, list[Figures]] = {}
                for fold in range(REAL[shift].folds):
                    told = kept.result(
                        f"{setting} {model.fingerprint} {deal} {fold}",
                        _measured(pools, shift, fold, float(share), deal, width),
                    )
                    for number, figures in told.items():
                        of_fold = {m: {k: np.array(v) for k, v in of.items()} for m, of in figures.items()}
                        folds.setdefault(number, []).append(of_fold)
                for number, of_folds in folds.items():
                    if len(of_folds) == REAL[shift].folds:
                        dealt.setdefault(number, []).append(mean_over_folds(of_folds))
            sizes = {number: summed_up(dealings) for number, dealings in dealt.items()}
            found["settings"].setdefault(setting, {})[name] = sizes
            for number, metrics in sizes.items():
                print(setting, name, number, {s: round(r["value"]["value"], 3) for s, r in metrics[SHOWN[0]].items()})
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    PAGE.write_text(page(found))


def _measured(
    pools: RealPools, shift: str, fold: int, share: float, deal: int, width: int
) -> Callable[[], dict[str, dict[str, dict[str, list[float]]]]]:
    def make() -> dict[str, dict[str, dict[str, list[float]]]]:
        case = pools.build(shift, fold, share, deal)
        return {number: listed(figures) for number, figures in measure(case, width, deal).items()}

    return make


if __name__ == "__main__":
    main()
