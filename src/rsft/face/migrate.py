"""`rsft gallery migrate`: embed enrolled faces with another model, and list the matches that change."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rsft.data.features import Features, load_features
from rsft.data.images import find_images
from rsft.data.listing import identity_of
from rsft.errors import InputError
from rsft.face.networks.load import ModelLike, load_model
from rsft.face.runs.inputs import inputs_of
from rsft.face.runs.progress import Listener, Stages, silent
from rsft.run_folder import check_output, writing
from rsft.types import PathLike

CHANGES_FILE = "changes.json"
OLD_PROBES = "probes, old model"
BLOCK = 1024


@dataclass(frozen=True)
class _Matches:
    """The nearest enrolled picture of each probe: its index (N,) and its cosine (N,)."""

    nearest: np.ndarray
    score: np.ndarray


def migrate(
    gallery: PathLike,
    *,
    pool: PathLike,
    model: ModelLike,
    out: PathLike,
    probes: PathLike | None = None,
    old_model: ModelLike | None = None,
    fmr: str = "0.001",
    aligned: bool = False,
    overwrite: bool = False,
    listener: Listener = silent,
) -> dict[str, Any]:
    """Embed a gallery with another model, and compare the matches before and after.

    Each probe is matched with the nearest enrolled picture. Without probes, every enrolled picture is matched with the
    nearest of the others. A match is accepted if its cosine is above the model's own threshold.
    `rsft.face.runs.inputs.Sources` describes the inputs.

    Args:
        gallery: An output of `rsft embed` by the old model.
        pool: See `Sources`. It must hold the pictures of the gallery; others are ignored, and no labels are needed.
        model: The new model; see `Sources`.
        out: Folder to create for the new gallery. Its `changes.json` lists the changes by name.
        probes: Pictures to search for in the gallery, in any form that `find_images` reads.
        old_model: The old model. It is needed for `probes`, and for the decisions before the migration.
        fmr: FMR of the threshold that accepts a match, as text: a key of the thresholds in each model's `bundle.json`.
        aligned: See `Sources`.
        overwrite: Replace an `out` that rsft wrote.
        listener: Callback that receives (stage, done, total) as each stage advances.

    Returns:
        A dictionary that can be written as JSON:

        - "enrolled", "left_out": Number of pictures in the new gallery, and of those that could not be embedded.
        - "probes": Number of probes compared.
        - "changed": Number of probes with another nearest picture.
        - "identity_changed": Number of probes whose nearest picture is of another identity.
        - "decision_changed": Number of probes accepted by one model only; None if a model has no threshold, since then
          no decision was compared.
        - "thresholds": Thresholds of the old and the new model, None for a model without a threshold for this FMR.
        - "accepted": Numbers of matches accepted before and after, None for such a model.
        - "out": The folder.

    Raises:
        InputError: The gallery was embedded with the new model, a picture of it is missing from the pool, `old_model`
            did not embed it, `probes` are given without `old_model`, or `out` may not be written.
    """
    try:
        fmr = f"{float(fmr):g}"  # as the thresholds of a model name it
    except ValueError as error:
        raise InputError(f"`fmr` needs a rate such as 0.001, got '{fmr}'.") from error
    read = (gallery, pool, model, probes, old_model)
    check_output(Path(out), inputs=read, overwrite=overwrite)
    before = load_features(Path(gallery))
    new = load_model(model)
    if before.fingerprint == new.fingerprint:
        raise InputError(f"'{gallery}' is already embedded with this model ({new.fingerprint}).")
    if probes is not None and old_model is None:
        raise InputError("probes are embedded with both models: give the old model too.")
    old = None if old_model is None else load_model(old_model)
    if old is not None and old.fingerprint != before.fingerprint:
        raise InputError(
            f"'{gallery}' was embedded with model {before.fingerprint}, but the old model is {old.fingerprint}: their "
            "embeddings are not comparable."
        )
    images = find_images(pool)
    place = {item: index for index, item in enumerate(images.ids)}
    missing = [item for item in before.ids if item not in place]
    if missing:
        raise InputError(
            f"{len(missing)} of the {len(before)} pictures in '{gallery}' are not in '{images.root}', such as "
            f"'{missing[0]}'."
        )
    enrolled = images.subset([place[item] for item in before.ids])
    looked_for = None if probes is None else find_images(probes)
    stages, sets = Stages(listener), {"gallery": enrolled} | ({} if looked_for is None else {"probes": looked_for})
    inputs = inputs_of(new, sets, aligned=aligned)
    with writing(Path(out), inputs=read, overwrite=overwrite, private=True) as folder:
        after = inputs.embed("gallery", stages)
        after.save(folder)
        both = _common(before, after)
        if looked_for is None:
            probe_ids = both[0].ids
            matches = [_nearest(part.embeddings, part.embeddings, leave_own=True) for part in both]
        else:
            assert old is not None
            of_old = inputs_of(old, {OLD_PROBES: looked_for}, aligned=aligned).embed(OLD_PROBES, stages)
            pairs = _common(of_old, inputs.embed("probes", stages))
            probe_ids = pairs[0].ids
            matches = [
                _nearest(probe.embeddings, part.embeddings, leave_own=False)
                for probe, part in zip(pairs, both, strict=True)
            ]
        thresholds = [None if old is None else old.thresholds.get(fmr), new.thresholds.get(fmr)]
        summary, changes = _compare(probe_ids, both[0].ids, matches, thresholds)
        (folder / CHANGES_FILE).write_text(json.dumps(changes, indent=1))
    return {"enrolled": len(after), "left_out": len(before) - len(after), **summary, "out": str(out)}


def _common(first: Features, second: Features) -> tuple[Features, Features]:
    """Return the rows of the pictures that both have, in the order of the first."""
    place = {item: row for row, item in enumerate(second.ids)}
    rows = [row for row, item in enumerate(first.ids) if item in place]
    return first.subset(np.array(rows)), second.subset(np.array([place[first.ids[row]] for row in rows]))


def _nearest(probes: np.ndarray, gallery: np.ndarray, *, leave_own: bool) -> _Matches:
    """Match each probe (N, D) with the gallery (G, D) by cosine; `leave_own` skips the row of the same index."""
    probes, gallery = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (probes, gallery))
    nearest, score = np.empty(len(probes), int), np.empty(len(probes))
    for start in range(0, len(probes), BLOCK):
        part = slice(start, start + BLOCK)
        cosine = probes[part] @ gallery.T
        if leave_own:
            own = np.arange(len(cosine))
            cosine[own, own + start] = -np.inf
        nearest[part], score[part] = cosine.argmax(1), cosine.max(1)
    return _Matches(nearest, score)


def _compare(
    probes: Any, enrolled: Any, matches: list[_Matches], thresholds: list[float | None]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Compare the matches before and after; return the counts, and the changes by name for `changes.json`."""
    before, after = matches
    people = np.array([identity_of(item) for item in enrolled])
    moved = before.nearest != after.nearest
    accepted = [None if t is None else m.score > t for m, t in zip(matches, thresholds, strict=True)]
    decided, compared = np.zeros(len(moved), bool), None not in thresholds
    if accepted[0] is not None and accepted[1] is not None:
        decided = accepted[0] != accepted[1]
    changes = [
        {
            "probe": probes[row],
            "before": enrolled[before.nearest[row]],
            "after": enrolled[after.nearest[row]],
            "before_cosine": round(float(before.score[row]), 4),
            "after_cosine": round(float(after.score[row]), 4),
            "before_accepted": None if accepted[0] is None else bool(accepted[0][row]),
            "after_accepted": None if accepted[1] is None else bool(accepted[1][row]),
        }
        for row in np.flatnonzero(moved | decided)
    ]
    summary = {
        "probes": len(moved),
        "changed": int(moved.sum()),
        "identity_changed": int((people[before.nearest] != people[after.nearest]).sum()),
        "decision_changed": int(decided.sum()) if compared else None,
        "accepted": [None if part is None else int(part.sum()) for part in accepted],
        "thresholds": thresholds,
    }
    return summary, changes
