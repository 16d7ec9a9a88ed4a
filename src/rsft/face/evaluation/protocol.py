"""Evaluation protocols: listed pairs, or all pairs of a set of pictures."""

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph

from rsft.data.composition import composed
from rsft.data.features import Features
from rsft.data.images import ImageSet, find_images
from rsft.data.listing import identity_of
from rsft.data.verification_set import read_verification_set
from rsft.errors import InputError
from rsft.face.evaluation.pairs import AllPairs, PairList

TARGET, RETAIN = "target", "retain"  # names of the protocols of a run
COLUMNS = ("a", "b", "same")
MAX_HEADER = 1 << 16  # number of characters read of a header line
MIN_KEPT_FRACTION = 0.5  # smallest share of the pairs that must be usable
FOLDS = 10  # number of folds of a `.bin`, as in insightface
TRUE, FALSE = {"1", "true", "yes"}, {"0", "false", "no"}


@dataclass(frozen=True)
class PairRows:
    """Rows of a CSV file of pairs.

    Attributes:
        first: (P,) column `a`.
        second: (P,) column `b`.
        same: (P,) bool column `same`.
        fold: (P,) int column `fold`, or None if the column does not exist or has a single value.
    """

    first: Sequence[str]
    second: Sequence[str]
    same: np.ndarray
    fold: np.ndarray | None


@dataclass(frozen=True)
class Protocol:
    """Pictures, and the pairs of them that are compared.

    Attributes:
        images: The N pictures.
        pairs: Pairs of indices into `images`.
        people: (N,) name of the identity of each picture, or the id of the picture if its identity is unknown.
    """

    images: ImageSet
    pairs: PairList | AllPairs
    people: Sequence[str]

    def restricted_to(self, ids: Sequence[str]) -> tuple[PairList | AllPairs, int]:
        """Restrict the pairs to some of the pictures.

        Args:
            ids: Ids of the pictures to keep.

        Returns:
            The remaining pairs, as indices into `ids`, and the number of pairs that were left out.
        """
        place = {item: row for row, item in enumerate(ids)}
        row = np.array([place.get(item, -1) for item in self.images.ids])
        pairs = self.pairs.restricted_to(row)
        return pairs, len(self.pairs) - len(pairs)


def read_protocol(path: str | os.PathLike[str], root: str | os.PathLike[str] | None = None) -> Protocol:
    """Read a CSV of pairs (`a,b,same[,fold]`), a `.bin` verification set, or labelled pictures.

    Labelled pictures are all compared with each other. In a CSV, the folder of a picture is its identity; if some
    pictures are in no folder, pictures that are linked by pairs with `same` = 1 have one identity. A `.bin` does not
    name identities: different pairs are taken for different people. Its intervals over identities are therefore
    intervals over pairs, and too narrow if people occur in several pairs.

    Args:
        path: The CSV, the `.bin`, or any path that `find_images` reads.
        root: The pictures that the CSV names, as any path that `find_images` reads; by default the folder of the CSV.

    Raises:
        InputError: If a column, picture or value is missing or contradictory, or there is nothing to compare.
    """
    path = Path(path)
    if path.suffix.lower() == ".bin":
        return _verification_set(path)
    listed = listed_pairs(path)
    if listed is None:
        images = find_images(path, labelled=True)
        _, rank = np.unique(images.people_names, return_inverse=True)
        return Protocol(images, AllPairs(rank[images.people]), images.identities)
    first, second = ([_normal(name) for name in names] for names in (listed.first, listed.second))
    images = find_images(root if root is not None else path.parent)
    place = {item: index for index, item in enumerate(images.ids)}
    named = sorted({*first, *second})
    missing = [name for name in named if name not in place]
    if missing:
        raise InputError(
            f"'{path}' names {len(missing)} pictures that are not in '{images.root}', such as '{missing[0]}': "
            "pass the folder that its paths are relative to as --eval-root."
        )
    images = images.subset([place[name] for name in named])
    place = {item: index for index, item in enumerate(named)}
    a, b = (np.array([place[name] for name in names]) for names in (first, second))
    identity = _identities(named, a[listed.same], b[listed.same])
    pairs = PairList(a, b, identity, listed.fold)
    check_same(pairs, listed, path)
    return Protocol(images, pairs, images.identities)


def listed_pairs(path: Path) -> PairRows | None:
    """Return the rows of a CSV of pairs, or None if the path is anything else.

    Raises:
        InputError: If a column or value is missing, or the file has no rows.
    """
    if path.suffix.lower() != ".csv" or _is_manifest(path):
        return None
    rows = _read_rows(path)
    same = np.array([_truth(row["same"], path, line) for line, row in enumerate(rows, 2)])
    return PairRows([row["a"] for row in rows], [row["b"] for row in rows], same, _folds(rows, path))


def check_same(pairs: PairList, listed: PairRows, path: Path) -> None:
    """Raise an error if the column `same` contradicts the identities of the pairs.

    Args:
        pairs: The P pairs.
        listed: Their rows in the CSV.
        path: Path of the CSV, for the message.

    Raises:
        InputError: If a genuine pair has `same` = 0, or an impostor pair has `same` = 1.
    """
    wrong = np.flatnonzero(pairs.genuine != listed.same)
    if len(wrong):
        row = wrong[0]
        raise InputError(
            f"'{path}' line {row + 2} contradicts itself: '{listed.first[row]}' and '{listed.second[row]}' have "
            f"same={int(listed.same[row])}, but their folders or other pairs say otherwise."
        )


def _verification_set(path: Path) -> Protocol:
    """Read a `.bin` verification set."""
    _, same = read_verification_set(path)
    images = find_images(path)
    a, b = np.arange(0, 2 * len(same), 2), np.arange(1, 2 * len(same), 2)
    pairs = PairList(a, b, _identities(images.ids, a[same], b[same]), pair_folds(same))
    return Protocol(images, pairs, images.ids)


def pair_folds(same: np.ndarray) -> np.ndarray | None:
    """Divide the pairs of a verification set into ten folds.

    The folds consist of consecutive pairs, as in insightface, if each of them has pairs of both kinds. Otherwise, for
    instance if all genuine pairs are listed first, the pairs of each kind are dealt to the folds in turn: the threshold
    learnt on the other folds would not suit a fold of a single kind.

    Args:
        same: (P,) bool, True for genuine pairs.

    Returns:
        (P,) int fold of each pair, 0 to 9, or None if there are fewer than ten pairs of either kind.
    """
    if min(same.sum(), (~same).sum()) < FOLDS:
        return None
    consecutive = np.repeat(np.arange(FOLDS), [len(part) for part in np.array_split(same, FOLDS)])
    if all(0 < same[consecutive == fold].sum() < (consecutive == fold).sum() for fold in range(FOLDS)):
        return consecutive
    fold = np.empty(len(same), int)
    for kind in (same, ~same):
        fold[kind] = np.arange(kind.sum()) % FOLDS
    return fold


def _is_manifest(path: Path) -> bool:
    """Return whether a CSV lists pictures rather than pairs."""
    if not path.is_file():
        return False
    with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
        header = next(csv.reader([file.readline(MAX_HEADER)]), [])
    return "path" in header and "a" not in header


def _read_rows(path: Path) -> list[Mapping[str, str]]:
    """Read the rows of a CSV of pairs, and check its columns."""
    if not path.is_file():
        raise InputError(f"'{path}' does not exist.")
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        absent = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
        if absent:
            raise InputError(
                f"'{path}' needs a header line with the columns a,b,same (and optionally fold); "
                f"it lacks {', '.join(absent)}."
            )
        rows: list[Mapping[str, str]] = list(reader)
    if not rows:
        raise InputError(f"'{path}' lists no pairs.")
    return rows


def _normal(name: str) -> str:
    """Return a path with forward slashes, composed as ids are."""
    return composed(str(PurePosixPath(name.replace("\\", "/"))))


def _truth(text: str, path: Path, line: int) -> bool:
    """Parse a value of the column `same`."""
    if text.strip().lower() not in TRUE | FALSE:
        raise InputError(f"'{path}' line {line}: same needs 1 or 0, got '{text}'.")
    return text.strip().lower() in TRUE


def _folds(rows: Sequence[Mapping[str, str]], path: Path) -> np.ndarray | None:
    """Parse the column `fold`; return None if it does not exist or has a single value."""
    if "fold" not in rows[0]:
        return None
    try:
        fold = np.array([int(row["fold"]) for row in rows])
    except (TypeError, ValueError) as error:
        raise InputError(f"'{path}': fold needs a whole number in every line ({error}).") from error
    return fold if len(np.unique(fold)) > 1 else None


def _identities(ids: Sequence[str], a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the identity (N,) int of each picture.

    Pictures in one folder have one identity. If some are in no folder, pictures linked by the pairs (a, b) have one.
    """
    if all("/" in item for item in ids):
        return np.unique([identity_of(item) for item in ids], return_inverse=True)[1]
    links = scipy.sparse.coo_array((np.ones(len(a)), (a, b)), shape=(len(ids), len(ids)))
    return scipy.sparse.csgraph.connected_components(links, directed=False)[1]


def usable(protocol: Protocol, features: Features) -> PairList | AllPairs:
    """Return the pairs of a protocol whose pictures were embedded, as indices into the features.

    Args:
        protocol: The protocol.
        features: Features of its pictures. Unusable pictures are missing.

    Raises:
        InputError: If fewer than half of the pairs remain.
    """
    pairs, left_out = protocol.restricted_to(features.ids)
    if left_out > (1 - MIN_KEPT_FRACTION) * len(protocol.pairs):
        item, reason = features.quarantined[0]
        raise InputError(
            f"{left_out} of {len(protocol.pairs)} comparisons have a picture that could not be used, such as "
            f"'{item}': {reason}."
        )
    return pairs


def without_overlap(pool: ImageSet, protocols: Mapping[str, Protocol], *, allow: bool, drop: bool) -> ImageSet:
    """Check that no identity of the pool is evaluated, or remove those that are.

    Args:
        pool: Pictures of the pool.
        protocols: Name -> protocol.
        allow: Whether the pool may keep identities that are also evaluated.
        drop: Whether such identities are removed from the pool, unless `allow` is set.

    Returns:
        The pool, without the removed identities.

    Raises:
        InputError: If such identities exist and neither `allow` nor `drop` is set, or if no identity remains.
    """
    evaluated = {person for protocol in protocols.values() for person in protocol.people}
    shared = sorted(evaluated.intersection(pool.people_names))
    if not shared or allow:
        return pool
    if not drop:
        raise InputError(
            f"{len(shared)} identities of the pool are also evaluated, such as '{shared[0]}': pass --drop-overlap to "
            "leave them out of the pool, or --allow-overlap to evaluate on them anyway."
        )
    stays = np.array([person not in evaluated for person in pool.people_names])
    if not stays.any():
        raise InputError("all identities of the pool are also evaluated: nothing is left to train on.")
    return pool.subset(np.flatnonzero(stays[pool.people]))
