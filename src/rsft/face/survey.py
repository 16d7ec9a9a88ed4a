"""`rsft doctor POOL TARGET EVAL`: what the data are, before any network sees them, and what a run would cost."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from rsft.data.images import ImageSet, find_images
from rsft.face.adaptation.recipe import Recipe
from rsft.face.evaluation.protocol import read_protocol
from rsft.face.evaluation.rule_of_30 import is_supported
from rsft.face.evaluation.verification import FMRS
from rsft.face.runs.prints import Prints, read_prints, shared_pictures
from rsft.face.runs.progress import Listener, Stages, silent
from rsft.types import PathLike
from rsft.verdict import MIN_TARGET

SAMPLED = 400  # pictures of each set that are read
# From `benchmarks/pool_size.py` on two cores, in docs/log.md: dlib, the default recipe, landmarks given.
EMBED_MS, KEPT_BYTES = 12.0, 66_700  # of a picture, of the row in which the whole pool is embedded
EMBEDDED, TUNING_SECONDS = 8_231, 16.0  # the most of all rows by rejection
SOURCE = (
    "reading is measured here; 12 ms and 67 kB a picture, 8,231 pictures embedded at most and 16 s of tuning are those "
    "of dlib on two cores in docs/log.md, with landmarks given: finding faces comes on top, and another network or "
    "machine may take some times as much"
)


def survey(
    pool: PathLike | None = None,
    target: PathLike | None = None,
    evaluation: PathLike | None = None,
    *,
    listener: Listener = silent,
) -> dict[str, Any]:
    """Look at data sets in seconds: list them, read at most `SAMPLED` pictures of each, embed none.

    Args:
        pool: Labelled pictures, in any form that `find_images` reads.
        target: Pictures of the deployment, in any of these forms.
        evaluation: An evaluation set, as for `read_protocol`.
        listener: Callback that receives (stage, done, total) as each stage advances.

    Returns:
        A dictionary that can be written as JSON, without names of pictures or people: "sets", name -> "form",
        "pictures", "identities" (of labelled ones), "passed_over" (reason -> number), "sampled", "unreadable" (in the
        sample) and "read_ms" of a picture; "evaluation", numbers of comparisons and the FMRs that they support;
        "leaks", for each two sets the numbers of shared "identities", "exact" and "near" duplicates in the samples;
        "estimate", about how many seconds and bytes `rsft plan` and `rsft fit` take, with their "source"; and "next".

    Raises:
        InputError: A set cannot be listed.
    """
    stages, sets, comparisons = Stages(listener), dict[str, ImageSet](), dict[str, Any]()
    people: dict[str, set[str]] = {}
    if pool is not None:
        sets["pool"] = find_images(pool, labelled=True)
        people["pool"] = set(sets["pool"].people_names)
    if target is not None:
        sets["target"] = find_images(target)
    if evaluation is not None:
        protocol = read_protocol(evaluation)
        sets["evaluation"], people["evaluation"] = protocol.images, set(protocol.people)
        genuine, impostor = protocol.pairs.counts
        supported = [f"{fmr:g}" for fmr in FMRS if is_supported(fmr, impostor)]
        comparisons = {"genuine": genuine, "impostor": impostor, "fmrs": supported}
    prints, told = dict[str, Prints](), dict[str, dict[str, Any]]()
    for name, images in sets.items():
        began = time.perf_counter()
        prints[name] = read_prints(_sample(images), stages, f"read {name}")
        sampled = min(len(images), SAMPLED)
        told[name] = {
            "form": "folder" if images.root.is_dir() else images.root.suffix.lower() or "file",
            "pictures": len(images),
            "identities": len(people[name]) if name in people else None,
            "passed_over": images.passed_over.numbers(),
            "sampled": sampled,
            "unreadable": len(prints[name].unreadable),
            "read_ms": 1000 * (time.perf_counter() - began) / max(1, sampled),
        }
    leaks = {
        f"{first} and {second}": _leaks(first, second, prints, people)
        for first, second in (("pool", "evaluation"), ("target", "evaluation"), ("pool", "target"))
        if first in sets and second in sets
    }
    return {
        "sets": told,
        "evaluation": comparisons,
        "leaks": leaks,
        "estimate": _estimate(told),
        "next": _next(told, comparisons, leaks),
    }


def _sample(images: ImageSet) -> ImageSet:
    """Return all pictures of a small set, else `SAMPLED` random ones, the same at every call."""
    if len(images) <= SAMPLED:
        return images
    return images.subset(np.sort(np.random.default_rng(0).choice(len(images), SAMPLED, replace=False)))


def _leaks(first: str, second: str, prints: Mapping[str, Prints], people: Mapping[str, set[str]]) -> dict[str, Any]:
    """Count what two sets share: people by name, and sampled pictures by their bytes and their looks."""
    shared = shared_pictures(prints[first], prints[second])
    named = len(people[first] & people[second]) if first in people and second in people else None
    return {
        "identities": named,
        "exact": len(shared["exact_duplicates"]),
        "near": len(shared["near_duplicates"]),
    }


def _estimate(told: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what `rsft plan` and `rsft fit` take, roughly; nothing without a pool and a target."""
    if not {"pool", "target"} <= told.keys():
        return {}
    looked_at = min(told["pool"]["pictures"], Recipe().max_looks)
    seconds = {
        name: of["read_ms"] * (looked_at if name == "pool" else of["pictures"]) / 1000 for name, of in told.items()
    }
    planned = min(told["pool"]["pictures"], EMBEDDED) + told["target"]["pictures"]
    fitted = planned + told.get("evaluation", {}).get("pictures", 0)
    plan = seconds["pool"] + seconds["target"] + EMBED_MS * planned / 1000
    fit = sum(seconds.values()) + EMBED_MS * fitted / 1000 + TUNING_SECONDS
    return {
        "plan_seconds": round(plan),
        "fit_seconds": round(fit),
        "fit_bytes": fitted * KEPT_BYTES,
        "source": SOURCE,
    }


def _next(told: Mapping[str, Mapping[str, Any]], comparisons: Mapping[str, Any], leaks: Mapping[str, Any]) -> str:
    """Say what to do first."""
    target, leak = told.get("target"), leaks.get("pool and evaluation", {})
    if leak.get("identities"):
        return "people of the pool are also evaluated: pass --drop-overlap to `rsft fit`, or evaluate other people"
    if any(of["exact"] or of["near"] for of in leaks.values()):
        return (
            "pictures are in two of the sets: `rsft data check POOL --against EVAL` names them all; remove them first"
        )
    if comparisons and not comparisons["fmrs"]:
        return f"add people to the evaluation: {comparisons['impostor']} impostor comparisons support no FMR"
    if target is not None and target["pictures"] < MIN_TARGET:
        return f"add target pictures: {target['pictures']} are few, {MIN_TARGET} or more tell a shift better"
    if target is None:
        return "give the target too, and an evaluation set: rsft doctor POOL TARGET EVAL"
    return "rsft plan --pool POOL --target TARGET --out PLAN: it says whether tuning is worth trying"
