"""The output of the commands: tables and JSON."""

import json
import logging
import math
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rsft.types import PRETRAINED, TUNED, UNIFORM, Interval

SYSTEMS = (PRETRAINED, UNIFORM, TUNED)
EFFECTIVE = (
    "Each epoch accepts items anew, at random. Effective size: over all epochs they are worth so many items that are "
    "accepted equally often, so it may exceed the number of one epoch."
)
SETS = {"target": "target", "retain": "retention"}


def log_to_stderr() -> None:
    """Print the log messages of the library, such as the licence of a model, on the error stream."""
    logger = logging.getLogger("rsft")
    logger.setLevel(logging.INFO)
    logger.addHandler(logging.StreamHandler())


def print_json(value: Any) -> None:
    """Print one JSON document on standard output."""
    print(json.dumps(value, indent=1))


def print_metrics(metrics: dict[str, Any], out: str) -> None:
    """Print the table of a run, its verdict and the path of its report."""
    console = Console(highlight=False)
    fmrs = list(metrics[TUNED]["target"]["tar_at_fmr"])
    fmrs = [fmr for fmr in fmrs if metrics[PRETRAINED]["target"]["tar_at_fmr"][fmr]["value"] is not None] or fmrs[:1]
    console.print(f"[bold]{escape(metrics['title'])}[/bold]: TAR at each FMR, and EER")
    for key, name in SETS.items():
        values = {system: metrics[system][key] for system in SYSTEMS if key in metrics.get(system, {})}
        if values:
            table = Table(box=box.SIMPLE, pad_edge=False, collapse_padding=True)
            for heading in (name, *values):
                table.add_column(heading, no_wrap=True)
            for fmr in fmrs:
                table.add_row(f"FMR {fmr}", *(str(Interval(**of["tar_at_fmr"][fmr])) for of in values.values()))
            table.add_row("EER", *(f"{of['eer']:.3f}" for of in values.values()))
            console.print(table)
    verdict = metrics["verdict"]
    console.print(f"\n[bold]{verdict['action'].capitalize()}.[/bold] {escape(verdict['reason'])}")
    for told in (verdict["risk"], f"{verdict['shipped']} {verdict['then']}"):
        if told:
            console.print(escape(told))
    console.print(
        f"{_read_in_words(metrics['images_decoded'], metrics['pool_pictures'])}, embedded "
        f"{metrics['images_embedded']:,}, trained on {metrics['images_trained']:,} views; "
        f"{metrics['acceptance_rate']:.1%} accepted per epoch, {len(metrics['quarantined'])} left out, "
        f"{sum(metrics['seconds'].values()):.0f} s."
    )
    if metrics["promise"]:
        console.print(_promise_in_words(metrics["promise"]))
    console.print(f"Report: {escape(out)}/report.html")


def _read_in_words(decoded: int, pictures: int) -> str:
    """Say how much of the pool was read. Each fold of a run reads its own part, so a picture may be read repeatedly."""
    if decoded > pictures:
        return f"Read pictures of the pool {decoded:,} times (it has {pictures:,}, and each fold reads its own)"
    return f"Read {decoded:,} of {pictures:,} pictures of the pool"


def _promise_in_words(promise: dict[str, Any]) -> str:
    """State what a run found of its plan on pictures that the plan had not seen."""
    mean, rate = (Interval(**promise[name]) for name in ("mean_ratio", "acceptance_rate"))
    return (
        f"Of {promise['items']:,} pictures that the plan had not seen: mean ratio {mean} (1 as planned), "
        f"acceptance rate {rate}, {promise['clipped_mass']:.1%} of the target clipped"
        + (f". {promise['broken'][0].upper()}{promise['broken'][1:]}." if promise["broken"] else ".")
    )


def print_plans(plan: dict[str, Any], ranking: list[dict[str, Any]], *, compare: bool, as_json: bool) -> None:
    """Print a plan and, with `compare`, the ranking that it is the best of."""
    if as_json:
        print_json(plan | ({"ranking": ranking} if compare else {}))
    else:
        print_ranking(ranking)
        print_plan(plan)


def print_ranking(ranking: list[dict[str, Any]]) -> None:
    """Print several plans as a table, the best first; print nothing for fewer than two."""
    if len(ranking) < 2:
        return
    table = Table(title="Plans, best first", title_justify="left", box=box.SIMPLE)
    for heading in ("features", "method", "outcome", "accepted vs. target", "effective size"):
        table.add_column(heading)
    for plan in ranking:
        after = "-" if plan["after"] is None else f"AUC {plan['after']:.3f} (pool {plan['before']:.3f})"
        size = f"{plan['envelope']['effective_size']:.0f}"
        table.add_row(plan["features"], plan["method"], plan["verdict"]["outcome"], after, size)
    Console(highlight=False).print(table)


def print_plan(plan: dict[str, Any]) -> None:
    """Print a plan."""
    console = Console(highlight=False)
    envelope, figures, arrival = plan["envelope"], plan["diagnostics"], plan["arrival"]
    console.print(f"[bold]{plan['verdict']['outcome'].capitalize()}[/bold]: {escape(plan['verdict']['reason'])}.")
    for note in plan["notes"]:
        console.print(f"Note: {escape(note)}.")
    pilot = plan.get("pilot")
    rows = {
        "envelope": f"{envelope['rule']}: M = {plan['m']:.2f}" + _ends(pilot, "m", ".2f"),
        "acceptance rate": f"{envelope['acceptance_rate']:.1%}" + _ends(pilot, "acceptance_rate", ".1%"),
        "accepted per epoch": f"{figures['expected_accepted']:.0f} of {figures['pool_items']:.0f} items",
        "clipped (total variation)": f"{envelope['clipped_mass']:.1%}" + _ends(pilot, "clipped_mass", ".1%"),
        "effective size": f"{pilot['effective_size']['value'] if pilot else envelope['effective_size']:.0f}"
        + _ends(pilot, "effective_size", ".0f")
        + " items",
    }
    if pilot:
        rows["looked at"] = f"{pilot['items']} items; {pilot['like_target']:.0f} like the target, in effect"
    if plan.get("features"):
        rows["features"] = _features_in_words(plan["features"])
    if "pool_identities" in figures:
        low, high = (figures[f"pool_identities_accepted_{end}"] for end in ("low", "high"))
        rows["identities accepted"] = f"{low:.0f} to {high:.0f} of {figures['pool_identities']:.0f}"
    elif "identities" in figures:
        rows["identities accepted"] = (
            f"{figures['identities_accepted']:.0f} of {figures['identities']:.0f} "
            f"(uniform subset: {figures['identities_uniform']:.0f})"
        )
    if arrival:
        rows["target outside the pool"] = f"{figures['unsupported_fraction']:.1%} (1 % is usual)" + (
            f": {', '.join(arrival['unsupported'])}" if arrival["unsupported"] else ""
        )
        rows["mean ratio over the pool"] = f"{figures['mean_ratio']:.3f} +- {figures['mean_ratio_error']:.3f}"
        for name, key in (("pool vs. target (AUC)", "before"), ("accepted vs. target (AUC)", "after")):
            if arrival[key]:
                rows[name] = str(Interval(**arrival[key]["auc"]))
    table = Table(show_header=False)
    for name, value in rows.items():
        table.add_row(name, escape(value))
    console.print(table)
    console.print(EFFECTIVE)
    if arrival and arrival["covariates"]:
        console.print(_covariate_table(arrival["covariates"]))
    console.print(_price_table(plan["prices"], figures["pool_items"] / pilot["looked_at"] if pilot else 1.0))


def _ends(pilot: dict[str, Any] | None, name: str, form: str) -> str:
    """Return the ends of the interval of a figure of a pilot as text; nothing if the whole pool was looked at."""
    if not pilot or pilot[name]["low"] == pilot[name]["high"]:
        return ""
    return f" [{pilot[name]['low']:{form}}, {pilot[name]['high']:{form}}]"


def _features_in_words(features: dict[str, Any]) -> str:
    """Name the features of a plan, with the AUC of the accepted against the target and the cost of each kind."""
    told = []
    for kind in features["compared"]:
        after = "-" if kind["after"] is None else f"{kind['after']:.2f}"
        seconds = kind["seconds_of_a_picture"]
        told.append(f"{kind['features']} {after}" + ("" if seconds is None else f", {1000 * seconds:.0f} ms"))
    compared = f" (AUC of accepted against target, and cost of a picture: {'; '.join(told)})" if told else ""
    return features["kind"] + compared


def _covariate_table(covariates: list[dict[str, Any]]) -> Table:
    """Return a table of covariate means, and their distances from the target in standard deviations of the pool."""
    table = Table(title="What shifts", title_justify="left", box=box.SIMPLE)
    for heading in ("covariate", "pool", "accepted", "target", "pool differs by", "accepted differs by"):
        table.add_column(heading, justify="left" if heading == "covariate" else "right")
    for row in covariates:
        means = [f"{row[key]:.2f}" for key in ("pool", "accepted", "target")]
        gaps = [f"{row[key]['value']:+.2f} ± {row[key]['high'] - row[key]['value']:.2f}" for key in ("before", "after")]
        table.add_row(escape(row["name"]), *means, *gaps)
    return table


def _price_table(prices: list[dict[str, Any]], scale: float) -> Table:
    """Return a table of other envelopes and their cost; `scale` is the size of the pool over that of its pilot."""
    table = Table(title="Other envelopes", title_justify="left", box=box.SIMPLE)
    for heading in ("rule", "M", "accepted", "clipped", "effective size"):
        table.add_column(heading, no_wrap=True)
    for price in prices:
        size = f"{scale * price['effective_size']:.0f}"
        values = f"{price['acceptance_rate']:.1%}", f"{price['clipped_mass']:.1%}", size
        table.add_row(price["rule"], f"{math.exp(price['log_m']):.2f}", *values)
    return table


def print_verification(result: dict[str, Any], title: str) -> None:
    """Print the result of `evaluate_folders` for one set."""
    table = Table(show_header=False, title=escape(title), title_justify="left", title_style="bold")
    if result["accuracy"]:
        note = result["accuracy"].get("note")
        table.add_row("accuracy", f"{Interval(**result['accuracy'])}{f' ({note})' if note else ''}")
    if result["folds"]:
        for name, rule in (("exact", "exact thresholds"), ("grid", "insightface's grid of thresholds")):
            brief = result["folds"][name]
            text = f"{brief['mean']:.4f}, spread {brief['spread']:.4f}, standard error {brief['standard_error']:.4f}"
            table.add_row(f"over {result['folds']['count']} folds, {rule}", text)
    for fmr, tar in result["tar_at_fmr"].items():
        table.add_row(f"TAR at FMR {fmr}", str(Interval(**tar)))
    table.add_row("EER", f"{result['eer']:.4f}")
    table.add_row("comparisons", f"{result['pairs_genuine']} genuine, {result['pairs_impostor']} impostor")
    table.add_row("pictures left out", str(result["quarantined"]))
    if "templates" in result:
        table.add_row("templates", f"{result['templates']['compared']}, {result['templates']['left_out']} left out")
    for rank, rate in result.get("identification", {}).get("hit_at_rank", {}).items():
        table.add_row(f"mate within rank {rank}", str(Interval(**rate)))
    for fpir, rate in result.get("identification", {}).get("fnir_at_fpir", {}).items():
        table.add_row(f"FNIR at FPIR {fpir}", str(Interval(**rate)))
    if "identification" in result:
        of = result["identification"]
        searches = f"{of['probes_mated']} mated, {of['probes_non_mated']} non-mated probes"
        table.add_row("searches", f"{searches}; {of['gallery']} enrolled, {of['distractors']} of them distractors")
    Console(highlight=False).print(table)
    if "groups" in result:
        print_groups(result["groups"])


def print_groups(found: dict[str, Any]) -> None:
    """Print FMR and FNMR of every group, with one table for each threshold."""
    console = Console(highlight=False)
    for fmr, threshold in found["thresholds"].items():
        title = f"By {escape(found['attribute'])}, at threshold {threshold:.4f}: FMR {fmr} over all"
        table = Table(title=title, title_justify="left", box=box.SIMPLE)
        for heading in ("group", "people", "FMR", "FNMR"):
            table.add_column(heading)
        for value, group in found["groups"].items():
            table.add_row(escape(value), str(group["people"]), _rate(group["fmr"][fmr]), _rate(group["fnmr"][fmr]))
        ratios = [found["min_over_max"][fmr][rate] for rate in ("fmr", "fnmr")]
        table.add_row("smallest / largest", "", *("-" if ratio is None else f"{ratio:.2f}" for ratio in ratios))
        console.print(table)
    if found["accuracies"]:
        ser = found["accuracies"]["ser"]
        console.print(
            f"Accuracies of the groups: mean {found['accuracies']['mean']:.4f}, standard deviation "
            f"{found['accuracies']['std']:.4f}, largest error over smallest {'-' if ser is None else f'{ser:.2f}'}."
        )
    if found["unknown"]:
        console.print(f"{found['unknown']} pictures have no value and are in no group.")


def print_thresholds(found: dict[str, Any]) -> None:
    """Print each threshold, the measured rate and its upper bound."""
    table = Table(box=box.SIMPLE)
    for heading in ("FMR", "threshold", "measured", "at most", "matches", "safe"):
        table.add_column(heading, no_wrap=True)
    for wished, one in found.items():
        numbers = f"{one['threshold']:.4f}", f"{one['safe']:.4f}"
        values = numbers[0], _rate(one["fmr"]), f"{one['bound']:.2g}", str(one["false_matches"]), numbers[1]
        table.add_row(wished, *values)
    console = Console(highlight=False)
    console.print(table)
    for wished, one in found.items():
        if "note" in one["fmr"]:
            console.print(f"FMR {wished}: {one['fmr']['note']}.")


def _rate(rate: dict[str, Any]) -> str:
    """Return a small rate with its interval as text."""
    if rate["value"] is None:
        return str(rate.get("note", "-"))
    return f"{rate['value']:.2g} [{rate['low']:.2g}, {rate['high']:.2g}]"


def print_forgotten(found: dict[str, Any]) -> None:
    """Print how each run used the person, what to do, and what was removed from manifests."""
    for run in found["runs"]:
        told = f"{run['run']}: {run['pictures']} pictures of the person"
        if run["trained"] is not None:
            told += f", trained on {run['trained']} times"
        elif run["accepted"] is not None:
            told += f", {run['accepted']} accepted"
        if run["through"]:
            told += f"; it started from {run['through']}, which used the person"
        print(told + (". Make the run again without the person." if run["pictures"] or run["through"] else "."))
    for manifest in found["manifests"]:
        print(f"{manifest['manifest']}: {manifest['removed']} rows removed, {manifest['kept']} kept.")


def print_comparison(result: dict[str, Any]) -> None:
    """Print the figures of every method, the differences of rejection from them, and their cost."""
    console = Console(highlight=False)
    for metric in result["metrics"]:
        table = Table(title=escape(metric), title_justify="left", title_style="bold", box=box.SIMPLE)
        for heading in ("method", "value", "rejection minus method"):
            table.add_column(heading, no_wrap=True)
        for method, values in result["values"].items():
            difference = result["differences"]["rejection"].get(method)
            less = Interval(**difference[metric]).signed() if difference else ""
            table.add_row(method, str(Interval(**values[metric])), less)
        console.print(table)
    table = Table(title="Cost of one training", title_justify="left", title_style="bold", box=box.SIMPLE)
    for heading in ("method", "learning rate", "samples", "distinct", "seconds"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for method, cost in result["cost"].items():
        figures = (cost["samples"], f"{cost['distinct']:.0f}", f"{cost['seconds']:.0f}")
        table.add_row(method, f"{cost['learning_rate']:.3g}", *map(str, figures))
    console.print(table)
    console.print(f"[bold]{escape(result['verdict'])}[/bold]")


def print_check(found: dict[str, Any]) -> None:
    """Print the number of each kind of finding, and one example."""
    against = found["against"] or {}
    rows = {
        "pictures that cannot be read": found["unreadable"],
        "identities with fewer than two readable pictures": found["single"],
        "identities that differ in case only": found["case_collisions"],
        "groups of pictures with the same bytes": found["exact_duplicates"],
        "pairs that look nearly the same": found["near_duplicates"],
        "identities that are also evaluated": against.get("identities"),
        "pictures that are also evaluated": against.get("exact_duplicates"),
        "pairs that look nearly the same as an evaluated one": against.get("near_duplicates"),
        "doubtful labels": found["doubtful_labels"],
        "folders without a picture": found["passed_over"]["folders"],
    }
    table = Table(title=f"{found['pictures']} pictures of {found['identities']} identities", title_justify="left")
    for heading in ("finding", "number", "example"):
        table.add_column(heading, justify="right" if heading == "number" else "left")
    for name, findings in rows.items():
        if findings is not None:
            first = "" if not findings else findings[0]
            example = first if isinstance(first, str) else ", ".join(str(part) for part in first[:3])
            table.add_row(name, str(len(findings)), escape(example))
    for reason, told in found["passed_over"]["files"].items():
        table.add_row(f"passed over: {reason}", str(told["count"]), escape(told["example"]))
    console = Console(highlight=False)
    console.print(table)
    for name, values in found["provenance"].items():
        told = ", ".join(f"{value or 'not stated'} ({count})" for value, count in values.items())
        console.print(f"{name}: {escape(told)}")
    if not found["provenance"]:
        print("The licence and source of the pictures are not stated. A manifest can state them in columns.")
    if found["withdrawn"]:
        print(f"The pool appears to be {found['withdrawn']}. Its authors have withdrawn this data set.")
    print("Use --json to list all findings.")
