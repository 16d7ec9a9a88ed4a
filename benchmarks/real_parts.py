"""What to train on a real shift: the last stages, more of them, normalisation, adapters; held to the start, or not?

    python benchmarks/real_parts.py [--models dlib,sface] [--setting "age 0.05"] [--parts "all;..."] [--work DIR]

The pools of `real_pools.py` (first dealing), whitened by the accepted pairs and then trained on accepted pictures, as
in `real_shifts.py`, each with two learning rates of its own to choose from by a quarter of the pool's people. "uniform"
is "all" with uniform draws, and whitened by all pairs alike. One seed a fold; 95 % intervals over the evaluated people
of all folds, paired. Writes `benchmarks/results/real_parts.json`, in which the other networks stay, and
`docs/real-parts.md`; what is done is kept in `--work`.
"""

import argparse
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from real_pools import REAL, RealPools
from real_shifts import ALONE, RECIPE, joined
from runs import about, data_folder
from tables import difference

from rsft.baselines import REJECTION
from rsft.compare import Comparison, compare
from rsft.evaluation.seeds import interval_over_seeds
from rsft.face.adaptation.planning import plan_faces
from rsft.face.adaptation.trial import FaceTrial
from rsft.face.networks.load import load_model
from rsft.types import PRETRAINED, UNIFORM

RESULTS = Path(__file__).with_name("results") / "real_parts.json"
PAGE = Path(__file__).parents[1] / "docs" / "real-parts.md"
WHITENED = f"{REJECTION}, {ALONE}"
ALL = "all"
REFERENCES = (PRETRAINED, UNIFORM, WHITENED)
METRICS = ("target TAR at FMR 0.01", "target TAR at FMR 0.001", "within TAR at FMR 0.01", "retain TAR at FMR 0.01")
LOW, HIGH = (1e-5, 3e-5), (1e-4, 1e-3)


@dataclass(frozen=True)
class Part:
    """What is trained: settings that differ from those of `real_shifts.py`, and the learning rates to choose from."""

    settings: dict[str, Any] = field(default_factory=dict)
    rates: tuple[float, ...] = LOW


PARTS = {
    ALL: Part(),
    "all, 400 steps": Part({"steps": 400}),
    "all, not held to the start": Part({"distillation": 0.0}),
    "more stages": Part({"cut": -12}),
    "normalisation": Part({"trains": "affine"}, HIGH),
    "adapters of rank 8": Part({"trains": "lora"}, HIGH),
}


def compared(model: str, setting: str, fold: int, name: str, data: Path, work: Path) -> Comparison:
    """Train one part of a network on one fold."""
    shift, _, share = setting.partition(" ")
    part, network = PARTS[name], load_model(model)
    recipe = RECIPE.model_copy(update=part.settings)
    case = RealPools(network, recipe.cut, data, work).build(shift, fold, float(share))
    plan = plan_faces(case.pool, case.target, **recipe.plan_options(), seed=0)
    trial = FaceTrial(network, case.pool, plan, case.sets, recipe, target=case.target)
    methods = {key: method for key, method in trial.methods().items() if key in (REJECTION, UNIFORM)}
    methods[WHITENED] = replace(methods[REJECTION], steps=0)
    return compare(
        trial.train,
        trial.measure,
        methods if name == ALL else {REJECTION: methods[REJECTION]},
        start=trial.suffix,
        steps=recipe.steps,
        batch_size=recipe.batch_size,
        learning_rates=part.rates,
        validate=trial.validate,
        seeds=1,
        out=work / "parts" / f"{setting}-{model}-{name}-{fold}".replace(" ", "-"),
        config={"recipe": recipe.model_dump(mode="json"), "model": network.fingerprint},
    )


def figures(measured: dict[str, dict[str, list[np.ndarray]]]) -> dict[str, Any]:
    """Return values and paired differences: metric -> what was trained -> figures.

    Args:
        measured: Metric -> what was trained -> (1 + B,) value and draws of each seed.
    """
    return {
        metric: {
            name: {
                "value": interval_over_seeds(seeds).to_dict(),
                **{
                    f"less {other}": interval_over_seeds(
                        [a - b for a, b in zip(seeds, of[other], strict=True)]
                    ).to_dict()
                    for other in REFERENCES
                    if other != name and other in of
                },
            }
            for name, seeds in of.items()
        }
        for metric, of in measured.items()
        if metric in METRICS
    }


ABOUT = """# What to train on a real shift

`benchmarks/real_parts.py`: the pools of [real-shifts.md](real-shifts.md) (first dealing of the people, {setting} of
the pool), whitened and then trained on accepted pictures for {steps} steps of {batch_size}, held to the whitened
network by a distillation of weight {distillation:g} unless it says otherwise. "all" trains the last five stages, "more
stages" the last twelve. "uniform" is "all" with uniform draws, whitened by all pairs alike. Each has two learning rates
to choose from by a quarter of the pool's people. "target" compares pictures of the shift with ordinary ones, "within"
two with the shift, "retain" two ordinary ones. One seed; 95 % intervals over the evaluated people, paired; bold where
they leave out zero. rsft {rsft}, commit {commit}.
"""


def page(found: dict[str, Any]) -> str:
    """Return the results as a page."""
    told = found["about"]
    lines = [ABOUT.format(**told | told["recipe"]).rstrip(), ""]
    for model, metrics in found["networks"].items():
        lines += [f"## {model}", ""]
        for metric, of in metrics.items():
            lines += [f"{metric[0].upper()}{metric[1:]}", ""]
            lines += [f"| trained | value | {' | '.join(f'less {other}' for other in REFERENCES)} |", "|---" * 5 + "|"]
            for name, row in of.items():
                cells = [difference(row[f"less {other}"]) if f"less {other}" in row else "" for other in REFERENCES]
                lines.append(f"| {name} | {row['value']['value']:.3f} | {' | '.join(cells)} |")
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--models", default="dlib,sface")
    parser.add_argument("--setting", default="age 0.05")
    parser.add_argument("--parts", default=";".join(PARTS), help='of them "all" must be one')
    parser.add_argument("--work", type=Path, default=Path("real-shifts"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = data_folder(parser)
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"networks": {}}
    found["about"] = about(
        setting=options.setting,
        parts={name: [part.settings, part.rates] for name, part in PARTS.items()},
        recipe=RECIPE.model_dump(mode="json"),
    )
    folds = range(REAL[options.setting.partition(" ")[0]].folds)
    for model in options.models.split(","):
        measured: dict[str, dict[str, list[np.ndarray]]] = {}
        for name in options.parts.split(";"):
            of_folds = [{name: compared(model, options.setting, fold, name, data, options.work)} for fold in folds]
            for key, seeds in joined(of_folds).items():
                method, _, metric = key.partition(" | ")
                measured.setdefault(metric, {})[name if method == REJECTION else method] = seeds
            shown = {trained: round(float(seeds[0][0]), 3) for trained, seeds in measured[METRICS[0]].items()}
            print(model, name, shown, flush=True)
            found["networks"][model] = figures(measured)
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")
            PAGE.write_text(page(found))


if __name__ == "__main__":
    main()
