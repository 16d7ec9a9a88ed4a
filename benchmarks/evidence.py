"""Does it help? Rejection against what is free, on shifts of LFW and MUCT.

    python benchmarks/evidence.py --lfw DIR [--muct DIR] [--shifts night,mask] [--methods M,...] [--work DIR]

DIR is LFW in its standard layout, a folder per person, or an archive of it; MUCT likewise. Every method gets the same
samples and seeds, and its learning rate from the same choice by a quarter of the pool's people, who are never trained
on; nobody evaluated is in the pool, the target or the validation. On the drawn shifts "fresh subset" and "oracle"
(trained on the items known to carry the shift) are compared as well. What is done is kept in `--work`, so an
interrupted run goes on. Writes `benchmarks/results/evidence.json`, `docs/evidence.md` and its figure.
"""

import argparse
import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runs import about, read_arguments
from shifted_faces import DRAWN, MUCT, SHARE, TARGET_PICTURES, TURNS, Case, Cases
from tables import difference

from rsft.baselines import LOSS_WEIGHTS, ORACLE, REJECTION, SUBSET, WEIGHTED
from rsft.compare import compare
from rsft.face.adaptation.planning import plan_faces
from rsft.face.adaptation.recipe import Recipe
from rsft.face.adaptation.trial import FaceTrial
from rsft.face.networks.load import load_model
from rsft.report.figures.methods import comparison_figure
from rsft.types import PRETRAINED, UNIFORM

RESULTS = Path(__file__).parent / "results" / "evidence.json"
PAGE = Path(__file__).parents[1] / "docs" / "evidence.md"
FIGURE, PICTURED = PAGE.with_suffix(".svg"), "mixed"
MORE_PEOPLE = " with more people"  # in the pool
COMPARED = [*DRAWN, *TURNS, *MUCT, *(name + MORE_PEOPLE for name in DRAWN)]
PLANNED = ["none", "no-support"]
RECIPE = Recipe(features="activations", batch_size=64, steps=150, shares=(0.0, 0.75))
LEARNING_RATES = (1e-5, 3e-5)
METHODS = (UNIFORM, WEIGHTED, LOSS_WEIGHTS, REJECTION)
ON_DRAWN = (*METHODS, SUBSET, ORACLE)
OTHERS = (SUBSET, WEIGHTED, LOSS_WEIGHTS, ORACLE)


def build(cases: Cases, name: str) -> Case:
    """The case of a shift as it is named here."""
    return cases.build(name.removesuffix(MORE_PEOPLE), more_people=name.endswith(MORE_PEOPLE))


def measure(name: str, case: Case, model: Any, options: argparse.Namespace) -> dict[str, Any]:
    """One shift: its plan, and what every method reached."""
    plan = plan_faces(case.pool, case.target, **RECIPE.plan_options(), seed=0)
    result: dict[str, Any] = {
        "pool": len(case.pool),
        "views": 2 * len(case.pool),
        "people": int(case.people.max()) + 1,
        "shifted_fraction": float(case.shifted.mean()),
        "target": len(case.target),
        "plan": plan.to_dict(),
    }
    if name in PLANNED:
        return result
    sets = {"target": case.evaluation, "retain": case.retention}
    trial = FaceTrial(model, case.pool, plan, sets, RECIPE)
    chosen = options.methods.split(",") if options.methods else ON_DRAWN if name in DRAWN else METHODS
    methods = {name: method for name, method in trial.methods(case.shifted).items() if name in chosen}
    comparison = compare(
        trial.train,
        trial.measure,
        methods,
        start=trial.suffix,
        steps=RECIPE.steps,
        batch_size=RECIPE.batch_size,
        learning_rates=LEARNING_RATES,
        validate=trial.validate,
        seeds=options.seeds,
        out=options.work / "compared" / name,
        config={"recipe": RECIPE.model_dump(mode="json"), "model": model.fingerprint},
        workers=options.workers,
        on_run=lambda done, total: print(f"{name}: {done} of {total} trainings", flush=True),
    )
    print(comparison.verdict(), flush=True)
    return result | {"comparison": comparison.to_dict(), "verdict": comparison.verdict()}


def page(found: dict[str, Any]) -> str:
    """The results as a page."""
    about = found["about"]
    compared = {name: shift["comparison"] for name, shift in found["shifts"].items() if "comparison" in shift}
    recipe = about["recipe"]
    rates = ", ".join(f"{rate:g}" for rate in about["learning_rates"])
    how = (
        f"A pool of LFW (or MUCT) people, at most {SHARE:.0%} of it with the shift; the target is known by "
        f"up to {TARGET_PICTURES} unlabelled pictures of other people, and other people again are evaluated. "
        f"{MORE_PEOPLE.strip()!r} has all LFW people with one picture who are not in the target in the pool too. "
        f"{recipe['steps']} steps of {recipe['batch_size']} views, the last {-recipe['cut']} stages of dlib's network, "
        f"whose weights then go {max(recipe['shares']):.0%} of the way from the pretrained to the tuned ones; "
        f"the learning rate of every method is chosen among {rates} by validation on a quarter of the pool's people, "
        "who are not trained on. 95 % intervals from the seeds and a bootstrap over the evaluated identities, paired; "
        f"bold where they leave out zero. rsft {about['rsft']}, commit {about['commit']}, torch {about['torch']}."
    )
    lines = [
        "# Does it help?",
        "",
        "What rejection gains on shifts of real faces, against the pretrained network and against what is free. Made",
        "by `make evidence`; all numbers are in `benchmarks/results/evidence.json`.",
        "",
        *textwrap.wrap(how, 120),
        "",
        f"![Every method's TAR on the shift {PICTURED!r}]({FIGURE.name})",
        "",
        f"The shift {PICTURED!r}: each picture has one of the three that are drawn.",
        "",
        "## Against the pretrained network and equal-size uniform training",
        "",
    ]
    for metric in ("target TAR at FMR 0.001", "target TAR at FMR 0.01", "retain TAR at FMR 0.001"):
        lines += [
            f"### {metric[0].upper() + metric[1:]}",
            "",
            "| shift | seeds | pretrained | uniform | rejection | rejection - pretrained | rejection - uniform |",
            "|---|---|---|---|---|---|---|",
        ]
        lines += [_row(name, of, metric) for name, of in compared.items() if metric in of["metrics"]]
        lines.append("")
    others = [name for name in OTHERS if any(name in comparison["values"] for comparison in compared.values())]
    lines += ["## Against the others", ""]
    for metric in ("target TAR at FMR 0.001", "retain TAR at FMR 0.001"):
        lines += [f"Rejection less the other, {metric}.", ""]
        lines += ["| shift | " + " | ".join(others) + " |", "|---|" + "---|" * len(others)]
        lines += [_others(name, comparison, others, metric) for name, comparison in compared.items()]
        lines.append("")
    lines += _cost(compared[PICTURED]) if PICTURED in compared else []
    lines += ["## What the plan said before any training", ""]
    lines += ["| pool | people | views | target | outcome | reason |", "|---|---|---|---|---|---|"]
    for name, shift in found["shifts"].items():
        verdict = shift["plan"]["verdict"]
        size = f"{shift['people']:,} | {shift['views']:,} | {shift['target']:,}"
        lines.append(f"| {name} | {size} | {verdict['outcome']} | {verdict['reason']} |")
    return "\n".join(lines) + "\n"


def _row(name: str, comparison: dict[str, Any], metric: str) -> str:
    values = [f"{comparison['values'][m][metric]['value']:.3f}" for m in (PRETRAINED, UNIFORM, REJECTION)]
    differences = [difference(comparison["differences"][REJECTION][m][metric]) for m in (PRETRAINED, UNIFORM)]
    return f"| {name} | {comparison['cost'][REJECTION]['seeds']} | {' | '.join(values)} | {' | '.join(differences)} |"


def _others(name: str, comparison: dict[str, Any], others: Sequence[str], metric: str) -> str:
    cells = [
        difference(comparison["differences"][REJECTION][m][metric]) if m in comparison["values"] else "not run"
        for m in others
    ]
    return f"| {name} | {' | '.join(cells)} |"


def _cost(comparison: dict[str, Any]) -> list[str]:
    lines = [
        "## What a training saw",
        "",
        f"On the shift {PICTURED!r}, mean over seeds.",
        "",
        "| method | learning rate | views trained on | distinct |",
        "|---|---|---|---|",
    ]
    for name, cost in comparison["cost"].items():
        lines.append(f"| {name} | {cost['learning_rate']:g} | {cost['samples']:,} | {cost['distinct']:,.0f} |")
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--shifts", default=",".join([*COMPARED, *PLANNED]))
    parser.add_argument("--methods", help='such as "uniform,rejection"; by default all')
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    options = read_arguments(parser)
    model = load_model("dlib")
    cases = Cases(model, RECIPE.cut, options.lfw, options.muct, options.work / "embedded")
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"shifts": {}}
    found["about"] = about(recipe=RECIPE.model_dump(mode="json"), learning_rates=LEARNING_RATES)
    for name in options.shifts.split(","):
        if name in MUCT and options.muct is None:
            print(f"{name}: left out, give --muct", flush=True)
            continue
        found["shifts"][name] = measure(name, build(cases, name), model, options)
        RESULTS.write_text(json.dumps(found, indent=1))
        PAGE.write_text(page(found))
        if name == PICTURED:
            FIGURE.write_text(comparison_figure(found["shifts"][name]["comparison"]))


if __name__ == "__main__":
    main()
