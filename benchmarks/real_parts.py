"""Which weights to train on a real shift: all of the last stages, their normalisation alone, or low-rank adapters?

    python benchmarks/real_parts.py [--models dlib,sface] [--setting "age 0.05"] [--parts all,affine,lora] [--work DIR]

The pools of `real_pools.py` (first dealing), whitened by the accepted pairs and then trained on accepted pictures, as
in `real_shifts.py`, each with two learning rates of its own to choose from by a quarter of the pool's people. One seed
a fold; 95 % intervals over the evaluated people of all folds, paired. Writes `benchmarks/results/real_parts.json`, in
which the other networks stay; what is done is kept in `--work`.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from real_pools import REAL, RealPools
from real_shifts import ALONE, RECIPE, joined
from runs import about, data_folder

from rsft.baselines import REJECTION
from rsft.compare import Comparison, compare
from rsft.evaluation.seeds import interval_over_seeds
from rsft.face.adaptation.planning import plan_faces
from rsft.face.adaptation.trial import FaceTrial
from rsft.face.networks.load import load_model
from rsft.types import PRETRAINED

RESULTS = Path(__file__).with_name("results") / "real_parts.json"
LEARNING_RATES = {"all": (1e-5, 3e-5), "affine": (1e-4, 1e-3), "lora": (1e-4, 1e-3)}
WHITENED = f"{REJECTION}, {ALONE}"
METRICS = ("target TAR at FMR 0.01", "target TAR at FMR 0.001", "retain TAR at FMR 0.01")


def compared(model: str, setting: str, fold: int, part: str, pools: RealPools, work: Path) -> Comparison:
    """Train one part of a network on one fold."""
    shift, _, share = setting.partition(" ")
    case, network = pools.build(shift, fold, float(share)), load_model(model)
    recipe = RECIPE.model_copy(update={"trains": part})
    plan = plan_faces(case.pool, case.target, **recipe.plan_options(), seed=0)
    trial = FaceTrial(network, case.pool, plan, case.sets, recipe, target=case.target)
    method = trial.methods()[REJECTION]
    methods = {REJECTION: method} | ({WHITENED: replace(method, steps=0)} if part == "all" else {})
    return compare(
        trial.train,
        trial.measure,
        methods,
        start=trial.suffix,
        steps=recipe.steps,
        batch_size=recipe.batch_size,
        learning_rates=LEARNING_RATES[part],
        validate=trial.validate,
        seeds=1,
        out=work / "parts" / f"{setting}-{model}-{part}-{fold}".replace(" ", "-"),
        config={"recipe": recipe.model_dump(mode="json"), "model": network.fingerprint},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--models", default="dlib,sface")
    parser.add_argument("--setting", default="age 0.05")
    parser.add_argument("--parts", default=",".join(LEARNING_RATES))
    parser.add_argument("--work", type=Path, default=Path("real-shifts"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = data_folder(parser)
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"networks": {}}
    found["about"] = about(
        setting=options.setting, learning_rates=LEARNING_RATES, recipe=RECIPE.model_dump(mode="json")
    )
    folds = range(REAL[options.setting.partition(" ")[0]].folds)
    for model in options.models.split(","):
        pools = RealPools(load_model(model), RECIPE.cut, data, options.work)
        measured: dict[str, dict[str, list[np.ndarray]]] = {}
        for part in options.parts.split(","):
            of_folds = [{part: compared(model, options.setting, fold, part, pools, options.work)} for fold in folds]
            for key, seeds in joined(of_folds).items():
                method, _, metric = key.partition(" | ")
                name = part if method == REJECTION else method
                measured.setdefault(metric, {})[name] = seeds
            print(
                model,
                part,
                {name: round(float(seeds[0][0]), 3) for name, seeds in measured[METRICS[0]].items()},
                flush=True,
            )
        found["networks"][model] = {
            metric: {
                name: {
                    "value": interval_over_seeds(seeds).to_dict(),
                    **{
                        f"less {other}": interval_over_seeds(
                            [a - b for a, b in zip(seeds, them, strict=True)]
                        ).to_dict()
                        for other, them in of.items()
                        if other in (PRETRAINED, WHITENED) and other != name
                    },
                }
                for name, seeds in of.items()
            }
            for metric, of in measured.items()
            if metric in METRICS
        }
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
