"""Pools with a shift that is drawn, as pictures that every network can read: chips that hold the crops of all of them.

The pool is LFW, with people of several pictures and people of one; the target is known by drawn pictures of further
people, and further people again are evaluated: a drawn picture against a plain one, drawn ones with each other, and
plain ones with each other. For "masks", whose pool has drawn masks and whose target has real ones, pool and target are
those of `real_pools.py`.
"""

import csv
import zlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from real_pools import RealCase
from shifted_faces import Chips, between

from rsft.data.features import DESCRIPTION_FILE, Features, load_features
from rsft.data.images import find_images
from rsft.face.evaluation.pairs import PairList, list_all_pairs
from rsft.face.networks.bundle import FaceModel
from rsft.face.networks.chip_points import similarity_transform
from rsft.face.networks.load import load_model
from rsft.face.pictures.drawn_shifts import SHIFTS
from rsft.face.pictures.embedding import embed
from rsft.face.pictures.landmarks import read_landmarks

COMMON = "sface+dlib"  # its chip holds those of both
NONE = "none"  # the target is like the pool
SETTINGS = (*SHIFTS, NONE)
POOL_PEOPLE, POOL_ALONE, TARGET, EVALUATED = 250, 350, 120, 120  # people; those alone have one picture
MAX_OF_A_PERSON = 5
LANDMARKS = "landmarks.csv"
SHIFTED = "-shifted"  # ends the names of evaluated pictures with the shift
Row = tuple[str, int, bool]  # part of the setting, row of the chip, whether the shift is drawn on it


def rows_of(shift: str, chips: Chips, share: float) -> list[Row]:
    """Deal LFW out to the parts of a setting.

    Args:
        shift: A name of `SETTINGS`.
        chips: LFW.
        share: Share of the pool that carries the shift.
    """
    people, generator, has = chips.people, np.random.default_rng(0), shift != NONE
    counts = np.bincount(people)
    several = generator.permutation(np.flatnonzero(counts > 1))
    alone = generator.permutation(np.flatnonzero(counts[people] == 1)).tolist()
    pool, evaluated = (
        [row for person in some for row in np.flatnonzero(people == person)[:MAX_OF_A_PERSON].tolist()]
        for some in (several[:POOL_PEOPLE], several[POOL_PEOPLE : POOL_PEOPLE + EVALUATED])
    )
    pool += alone[:POOL_ALONE]
    rows = [("pool", row, has and bool(generator.random() < share)) for row in pool]
    rows += [("target", row, has) for row in alone[POOL_ALONE : POOL_ALONE + TARGET]]
    return rows + [("evaluated", row, shifted) for shifted in {False, has} for row in evaluated]


def masked_rows(case: RealCase, chips: Chips) -> list[Row]:
    """Return the rows of pool and target of a case whose pool has a drawn shift.

    Args:
        case: The case.
        chips: Those of its pictures at least.
    """
    place = {item: row for row, item in enumerate(chips.ids)}
    rows = [("pool", place[item], bool(has)) for item, has in zip(case.pool.ids, case.shifted, strict=True)]
    return rows + [("target", place[item], False) for item in case.target.ids]


def write(shift: str, chips: Chips, rows: Iterable[Row], folder: Path) -> None:
    """Write the pictures of a setting, with their landmarks.

    Args:
        shift: Name of the shift, if a row has it.
        chips: The pictures on the chip of `COMMON`.
        rows: Which picture goes where.
        folder: A new folder.
    """
    common, dlib = load_model(COMMON), load_model("dlib")
    to_common = similarity_transform(np.array(dlib.template), np.array(common.template))
    told = []
    for part, row, has in rows:
        person, _, name = chips.ids[row].partition("/")
        stem = Path(name).stem + (SHIFTED if has and part == "evaluated" else "")
        path = folder / part / person / f"{stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        chip = chips.chips[row]
        if has:
            chip = _drawn(chip, shift, chips.ids[row], to_common, dlib.size)
        Image.fromarray(chip).save(path)
        told.append((f"{person}/{path.name}", *np.ravel(common.template).tolist()))
    with (folder / LANDMARKS).open("w", newline="") as file:
        header = ("path", *(f"{axis}{number}" for number in range(1, 6) for axis in "xy"))
        csv.writer(file).writerows([header, *told])


def _drawn(chip: np.ndarray, shift: str, item: str, to_common: np.ndarray, size: int) -> np.ndarray:
    """Draw a shift on that part of the common chip which is dlib's; the picture's name decides what is random."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    inner = cv2.warpAffine(chip, to_common, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    drawn = SHIFTS[shift](inner, np.random.default_rng(zlib.crc32(item.encode())))
    back, inside = (cv2.warpAffine(part, to_common, chip.shape[:2]) for part in (drawn, np.full_like(drawn, 255)))
    return np.where(inside == 255, back, chip)


def build(folder: Path, model: FaceModel, cut: int) -> RealCase:
    """Return the case of a setting for a network; its features are kept beside the pictures.

    Args:
        folder: What `write` wrote.
        model: Embeds.
        cut: First stage that is tuned.
    """
    pool, target, theirs = (
        _embedded(folder, part, replace(model, cut=cut)) for part in ("pool", "target", "evaluated")
    )
    has = np.array([Path(item).stem.endswith(SHIFTED) for item in theirs.ids])
    with_it = has if has.any() else ~has  # without a shift all pictures are like the target
    photograph = np.array([item.removesuffix(".png").removesuffix(SHIFTED) for item in theirs.ids])
    pairs = list_all_pairs(theirs.people)
    others = photograph[pairs.a] != photograph[pairs.b]  # a photograph is not compared with itself
    pairs = PairList(pairs.a[others], pairs.b[others], pairs.identity)
    sets = {
        "target": (theirs, between(pairs, with_it, ~has)),
        "within": (theirs, between(pairs, with_it, with_it)),
        "retain": (theirs, between(pairs, ~has, ~has)),
    }
    return RealCase(pool, np.zeros(len(pool), bool), target, sets, len(np.unique(theirs.people)))


def _embedded(folder: Path, part: str, model: FaceModel) -> Features:
    kept = folder / "features" / f"{part}-{model.fingerprint}"
    if not (kept / DESCRIPTION_FILE).exists():
        kept.mkdir(parents=True, exist_ok=True)
        images, points = find_images(folder / part), read_landmarks(folder / LANDMARKS)
        embed(model, images, views=2, landmarks=points, folder=kept).save(kept)
    return load_features(kept)
