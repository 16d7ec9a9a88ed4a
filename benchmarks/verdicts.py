"""Is the advice right? What `rsft plan` says before any training, against what each choice reached on other people.

    python benchmarks/verdicts.py [--settings "age 0.05;cctv 0.06"] [--models dlib,sface] [--work DIR]

The real pools of `real_pools.py` (first fold), as photographs, with each network as `--model` and the others at hand as
they are by default. The choices are to leave the network, to whiten it (what tuning does first, and what is measured
over five dealings), and to swap it for another one. By `benchmarks/results/real_dealings.json`, an advice to act is
right if it is better than leaving the network, and one to leave it, for now or at all, if nothing else is better: by a
paired interval of the TAR at FMR 0.01 on the evaluated people that leaves out zero. What is better still is told.
Writes `benchmarks/results/verdicts.json` and `docs/verdicts.md`; plans that are done are kept in `--work`.
"""

import argparse
import csv
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from real_pools import LFW, REAL, RealCase, RealPools
from real_shifts import RECIPE
from runs import Kept, about, data_folder

from rsft.face.adaptation.advice import Action
from rsft.face.networks.load import load_model
from rsft.face.plan import plan_folders

HERE = Path(__file__).parent
RESULTS, REACHED = (HERE / "results" / f"{name}.json" for name in ("verdicts", "real_dealings"))
PAGE = HERE.parent / "docs" / "verdicts.md"
SETTINGS = "age 0.05;age 0.01;age 0.1;cctv 0.06"  # not masks, whose pools have drawn pictures, and no photographs
METRIC = "target TAR at FMR 0.01"
SEED = 1  # not 0, by which the people are dealt out already
ABOUT = """# Is the advice right?

`benchmarks/verdicts.py`: what `rsft plan` advises on real shifts before any training (first dealing and fold of
`benchmarks/real_pools.py`, photographs, all networks at hand), against what the choices reached on people who are
neither in the pool nor in the target ([real-dealings.md](real-dealings.md), TAR at FMR 0.01 across the shift). An
advice to act is right if it is better than leaving the network, and one to leave it ("collect" is to leave it for now)
if nothing else is better, by intervals that leave out zero. "whitened" stands for tuning. rsft {rsft}, commit {commit}.

"""


def photographs(case: RealCase, shift: str, data: Path, folder: Path) -> None:
    """Write the pool's and the target's photographs and manifests into a folder."""
    archives = {name.partition("-")[0]: name for name in (LFW, REAL[shift].archive)}
    wanted: dict[str, set[str]] = {}
    for item in {*case.pool.ids, *case.target.ids}:
        archive, _, path = item.partition("-")
        wanted.setdefault(archive, set()).add(path)
    for archive, paths in wanted.items():
        with tarfile.open(data / f"{archives[archive]}.tar") as tar:
            for member in tar:
                path = member.name.removeprefix("./")
                if path in paths and (content := tar.extractfile(member)) is not None:
                    _write(folder / f"{archive}-{path}", content.read())
    people = list(zip(case.pool.ids, case.pool.identities, strict=True))
    _write_csv(folder / "pool.csv", ("path", "identity"), people)
    _write_csv(folder / "target.csv", ("path",), [(item,) for item in case.target.ids])


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _write_csv(path: Path, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


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
    right = [of["judged"]["right"] for of in found["plans"].values()]
    lines = [ABOUT.format(**found["about"]).rstrip(), "", f"Right: {sum(right)} of {len(right)}.", ""]
    lines += ["| setting | `--model` | advice | reached | better still | right |", "|---" * 6 + "|"]
    for name, of in found["plans"].items():
        setting, _, model = name.rpartition(" ")
        judged = of["judged"]
        better = ", ".join(f"{other} {of_it['value']:+.3f}" for other, of_it in judged["better"].items())
        action = of["advice"]["action"] + (f" ({judged['chosen']})" if of["advice"]["action"] == Action.SWAP else "")
        told = "yes" if judged["right"] else "no"
        lines.append(f"| {setting} | {model} | {action} | {judged['value']:.3f} | {better} | {told} |")
    lines += ["", "## The reasons", ""]
    lines += [f"- **{name}**: {of['advice']['reason']}." for name, of in found["plans"].items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--models", default="dlib,sface")
    parser.add_argument("--settings", default=SETTINGS)
    parser.add_argument("--work", type=Path, default=Path("real-shifts"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = data_folder(parser)
    pools = RealPools(load_model("dlib"), RECIPE.cut, data, options.work)
    kept = Kept(options.work / "verdicts.json", seed=SEED)
    reached = json.loads(REACHED.read_text())["settings"]
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"plans": {}}
    found["about"] = about(seed=SEED)
    for setting in options.settings.split(";"):
        shift, _, share = setting.partition(" ")
        folder = options.work / "photographs" / setting.replace(" ", "-")
        if not (folder / "target.csv").exists():
            photographs(pools.build(shift, 0, float(share)), shift, data, folder)
        for model in options.models.split(","):

            def plan(model: str = model, folder: Path = folder) -> dict[str, Any]:
                made = plan_folders(pool=folder / "pool.csv", target=folder / "target.csv", model=model, seed=SEED)
                told = made.to_dict()
                return {key: told[key] for key in ("verdict", "advice", "models", "features")}

            of_plan = kept.result(f"{setting} {model}", plan)
            print(setting, model, of_plan["advice"], flush=True)
            if setting in reached:
                judged = judge(model, of_plan["advice"], of_plan["models"], reached[setting][METRIC])
                found["plans"][f"{setting} {model}"] = of_plan | {"judged": judged}
    RESULTS.write_text(json.dumps(found, indent=1))
    PAGE.write_text(page(found))


if __name__ == "__main__":
    main()
