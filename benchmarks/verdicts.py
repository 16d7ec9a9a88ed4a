"""Is the advice right? What `rsft plan` says before any training, against what each choice reached on other people.

    python benchmarks/verdicts.py [--settings "age 0.05;night"] [--models dlib,sface] [--work DIR]

The real pools of `real_pools.py` (first dealing and fold) as photographs, and the drawn ones of `drawn_pools.py`, with
each network as `--model` and the others at hand as they are by default. The choices are to leave the network, to whiten
it (what tuning does first, without a training step), and to swap it for another one. What they reached on real shifts
is that of `benchmarks/results/real_dealings.json`; on drawn ones it is measured here. An advice to act is right if it
is better than leaving the network, and one to leave it, for now or at all, if nothing else is better: by a paired
interval of the TAR at FMR 0.01 on the evaluated people that leaves out zero. What is better still is told. Writes
`benchmarks/results/verdicts.json` and `docs/verdicts.md`; what is done is kept in `--work`.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import drawn_pools
import numpy as np
import torch
from drawn_pools import build
from real_dealings import BEST_KNOWN, Figures, listed, measure, summed_up
from real_pools import LFW, REAL, RealPools, photographs
from real_shifts import RECIPE
from runs import Kept, about, data_folder
from shifted_faces import joined

from rsft.face.adaptation.advice import Action
from rsft.face.networks.load import load_model
from rsft.face.plan import plan_folders

HERE = Path(__file__).parent
RESULTS, REACHED = (HERE / "results" / f"{name}.json" for name in ("verdicts", "real_dealings"))
PAGE = HERE.parent / "docs" / "verdicts.md"
SETTINGS = "age 0.05;age 0.01;age 0.1;cctv 0.06;masks 0.06;low-resolution;mask;night;none"
SHARE = 0.06  # of a drawn pool
NETWORKS = ("dlib", "sface", "sface+dlib")
METRIC = "target TAR at FMR 0.01"
SEED = 1  # not 0, by which the people are dealt out already
ABOUT = """# Is the advice right?

`benchmarks/verdicts.py`: what `rsft plan` advises before any training, with all networks at hand, against what the
choices reached on people who are neither in the pool nor in the target (TAR at FMR 0.01 across the shift). Settings
with a share are real shifts ([real-dealings.md](real-dealings.md)); the others are drawn on 6% of a pool of LFW, and
in "none" the target is like the pool. An advice to act is right if it is better than leaving the network, and one to
leave it ("collect" is to leave it for now) if nothing else is better, by intervals that leave out zero. "whitened"
stands for tuning, of which it is the part without training. rsft {rsft}, commit {commit}.

"""


@dataclass(frozen=True)
class Prepare:
    """Writes the pictures of a setting below a folder, once.

    Attributes:
        data: Folder with the archives.
        work: The folder.
    """

    data: Path
    work: Path

    def __call__(self, setting: str) -> Path:
        """Return the folder of a setting."""
        shift, _, share = setting.partition(" ")
        folder = self.work / "photographs" / (setting.replace(" ", "-") if share else f"drawn-{setting}")
        done = folder / "done"
        if done.exists():
            return folder
        chips = self.pools(drawn_pools.COMMON).chips
        if not share:
            rows = drawn_pools.rows_of(shift, chips(LFW), SHARE)
            drawn_pools.write(shift, chips(LFW), rows, folder)
        elif REAL[shift].drawn is None:
            photographs(self.pools(BEST_KNOWN).build(shift, 0, float(share)), shift, self.data, folder)
        else:
            case = self.pools(BEST_KNOWN).build(shift, 0, float(share))
            both = joined(chips(LFW), chips(REAL[shift].archive))
            drawn_pools.write(REAL[shift].drawn, both, drawn_pools.masked_rows(case, both), folder)
        done.touch()
        return folder

    def pools(self, model: str) -> RealPools:
        return RealPools(load_model(model), RECIPE.cut, self.data, self.work)


def plan(folder: Path, model: str) -> dict[str, Any]:
    """Return what `rsft plan` says of a setting."""
    listed = (folder / "target.csv").exists()
    inputs: dict[str, Any] = {name: folder / (f"{name}.csv" if listed else name) for name in ("pool", "target")}
    landmarks = None if listed else folder / drawn_pools.LANDMARKS
    told = plan_folders(**inputs, model=model, landmarks=landmarks, seed=SEED).to_dict()
    return {key: told[key] for key in ("verdict", "advice", "models", "features")}


def drawn(kept: Kept, setting: str, folder: Path, name: str) -> Figures:
    """Return what a network reaches on a drawn setting, as it is and whitened."""
    model = load_model(name)
    told = kept.result(f"reached {setting} {name}", lambda: listed(measure(model, build(folder, model, RECIPE.cut))))
    return {method: {metric: np.array(values) for metric, values in of.items()} for method, of in told.items()}


def judge(
    model: str, advice: Mapping[str, str], networks: Mapping[str, Any], reached: Mapping[str, Any]
) -> dict[str, Any]:
    """Say whether an advice was right.

    Args:
        model: The network of the plan.
        advice: Its advice.
        networks: What the plan says of the networks at hand.
        reached: Values and paired differences of `METRIC` of all choices.
    """
    action = advice["action"]
    names = [each["name"] for each in networks["compared"]]
    named = next((name for name in sorted(names, key=len, reverse=True) if f"--model {name}" in advice["next"]), None)
    chosen = {Action.TUNE: f"{model}, whitened", Action.SWAP: named}.get(Action(action), model)
    assert chosen is not None
    others = {model, f"{model}, whitened", *(name for name in reached["values"] if "," not in name)} - {chosen}
    better = {
        other: less[chosen]
        for other, less in reached["differences"].items()
        if other in others and _is_gain(less[chosen])
    }
    right = not better if chosen == model else _is_gain(reached["differences"][chosen][model])
    return {"chosen": chosen, "value": reached["values"][chosen]["value"], "better": better, "right": right}


def _is_gain(difference: Mapping[str, float]) -> bool:
    return difference["low"] > 0


def page(found: dict[str, Any]) -> str:
    """Return the results as a page."""
    plans = {name: of for name, of in found["plans"].items() if "judged" in of}
    right = [name for name, of in plans.items() if of["judged"]["right"]]
    best = [name for name in right if not plans[name]["judged"]["better"]]
    lines = [ABOUT.format(**found["about"]).rstrip(), ""]
    lines += [f"Right: {len(right)} of {len(plans)}. Right, and no other choice clearly better: {len(best)}.", ""]
    lines += ["| setting | `--model` | advice | reached | better still | right |", "|---" * 6 + "|"]
    for name, of in plans.items():
        setting, _, model = name.rpartition(" ")
        judged = of["judged"]
        better = ", ".join(f"{other} {of_it['value']:+.3f}" for other, of_it in judged["better"].items())
        action = of["advice"]["action"] + (f" ({judged['chosen']})" if of["advice"]["action"] == Action.SWAP else "")
        told = "yes" if judged["right"] else "no"
        lines.append(f"| {setting} | {model} | {action} | {judged['value']:.3f} | {better} | {told} |")
    lines += ["", "## The reasons", ""]
    lines += [f"- **{name}**: {of['advice']['reason']}." for name, of in plans.items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--models", default="dlib,sface")
    parser.add_argument("--settings", default=SETTINGS)
    parser.add_argument("--work", type=Path, default=Path("real-shifts"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    prepare = Prepare(data_folder(parser), options.work)
    kept = Kept(options.work / "verdicts.json", seed=SEED)
    real = json.loads(REACHED.read_text())["settings"]
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"plans": {}}
    found = {"about": about(seed=SEED), "plans": found["plans"], "drawn": found.get("drawn", {})}
    for setting in options.settings.split(";"):
        folder = prepare(setting)
        for model in options.models.split(","):
            of_plan = kept.result(f"{setting} {model}", lambda f=folder, m=model: plan(f, m))  # type: ignore[misc]
            print(setting, model, of_plan["advice"], flush=True)
            found["plans"][f"{setting} {model}"] = of_plan
        if setting in drawn_pools.SETTINGS:
            systems = {name: [drawn(kept, setting, folder, name)] for name in NETWORKS}
            found["drawn"][setting] = {METRIC: summed_up(systems)[METRIC]}
        reached = (real | found["drawn"]).get(setting)
        for model in options.models.split(",") if reached else ():
            of_plan = found["plans"][f"{setting} {model}"]
            of_plan["judged"] = judge(model, of_plan["advice"], of_plan["models"], reached[METRIC])
        RESULTS.write_text(json.dumps(found, indent=1))
        PAGE.write_text(page(found))


if __name__ == "__main__":
    main()
