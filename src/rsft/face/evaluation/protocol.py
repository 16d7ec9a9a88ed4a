"""What a model is evaluated on: a list of pairs, or everybody against everybody."""

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph

from rsft.data.features import Features
from rsft.data.images import ImageSet, find_images
from rsft.data.listing import identity_of
from rsft.data.verification_set import read_verification_set
from rsft.errors import InputError
from rsft.face.evaluation.pairs import AllPairs, PairList

TARGET, RETAIN = "target", "retain"  # the protocols of a run: like the target, and what must not get worse
COLUMNS = ("a", "b", "same")
MAX_HEADER = 1 << 16  # characters
MIN_KEPT_FRACTION = 0.5  # of the pairs, that must be left where pictures could not be used
FOLDS = 10  # of a `.bin`, as insightface evaluates it
TRUE, FALSE = {"1", "true", "yes"}, {"0", "false", "no"}


@dataclass(frozen=True)
class PairRows:
    """The rows of a pairs CSV.

    Attributes:
        first: (P,) the column `a`.
        second: (P,) the column `b`.
        same: (P,) bool.
        fold: (P,) int, or None.
    """

    first: Sequence[str]
    second: Sequence[str]
    same: np.ndarray
    fold: np.ndarray | None


@dataclass(frozen=True)
class Protocol:
    """Pictures and the comparisons between them.

    Attributes:
        images: the pictures.
        pairs: indices into `images`.
        people: (N,) name of each picture's identity; the picture's own where the pairs do not tell.
    """

    images: ImageSet
    pairs: PairList | AllPairs
    people: Sequence[str]

    def restricted_to(self, ids: Sequence[str]) -> tuple[PairList | AllPairs, int]:
        """The comparisons among the pictures `ids`, as indices into them, and how many others were left out."""
        place = {item: row for row, item in enumerate(ids)}
        row = np.array([place.get(item, -1) for item in self.images.ids])
        pairs = self.pairs.restricted_to(row)
        return pairs, len(self.pairs) - len(pairs)


def read_protocol(path: str | os.PathLike[str], root: str | os.PathLike[str] | None = None) -> Protocol:
    """Read a pairs CSV (`a,b,same[,fold]`), a `.bin`, or pictures of identities, all of which are compared.

    Who is in a picture of a pairs CSV is told by the folder it lies in; where pictures lie in none, by the pairs that
    are the same. A `.bin` does not tell: each of its pairs stands for other people, so that intervals over identities
    are intervals over pairs, and narrower than they should be where people occur in several.

    Args:
        path: the pairs CSV, the `.bin`, or anything that `find_images` reads.
        root: what the CSV's paths are names in, likewise; by default the folder of the CSV.

    Raises:
        InputError: a column, picture or value is missing or contradictory, or there is nothing to compare.
    """
    path = Path(path)
    if path.suffix.lower() == ".bin":
        return _verification_set(path)
    listed = listed_pairs(path)
    if listed is None:
        images = find_images(path, labelled=True)
        _, identity = np.unique(images.identities, return_inverse=True)
        return Protocol(images, AllPairs(identity), images.identities)
    first, second = ([_normal(name) for name in names] for names in (listed.first, listed.second))
    images = find_images(root if root is not None else path.parent)
    place = {item: index for index, item in enumerate(images.ids)}
    named = sorted({*first, *second})
    missing = [name for name in named if name not in place]
    if missing:
        raise InputError(
            f"'{path}' names {len(missing)} pictures that are not in '{images.root}', such as '{missing[0]}': "
            "give the folder its paths are relative to with --eval-root."
        )
    images = images.subset([place[name] for name in named])
    place = {item: index for index, item in enumerate(named)}
    a, b = (np.array([place[name] for name in names]) for names in (first, second))
    identity = _identities(named, a[listed.same], b[listed.same])
    pairs = PairList(a, b, identity, listed.fold)
    check_same(pairs, listed, path)
    return Protocol(images, pairs, images.identities)


def listed_pairs(path: Path) -> PairRows | None:
    """The rows of a pairs CSV; None if the path is something else.

    Raises:
        InputError: a column or value is missing, or there are no rows.
    """
    if path.suffix.lower() != ".csv" or _is_manifest(path):
        return None
    rows = _read_rows(path)
    same = np.array([_truth(row["same"], path, line) for line, row in enumerate(rows, 2)])
    return PairRows([row["a"] for row in rows], [row["b"] for row in rows], same, _folds(rows, path))


def check_same(pairs: PairList, listed: PairRows, path: Path) -> None:
    """Refuse pairs whose `same` is not what their identities say."""
    wrong = np.flatnonzero(pairs.genuine != listed.same)
    if len(wrong):
        row = wrong[0]
        raise InputError(
            f"'{path}' line {row + 2} contradicts itself: '{listed.first[row]}' and '{listed.second[row]}' have "
            f"same={int(listed.same[row])}, but their folders or other pairs say otherwise."
        )


def _verification_set(path: Path) -> Protocol:
    _, same = read_verification_set(path)
    images = find_images(path)
    a, b = np.arange(0, 2 * len(same), 2), np.arange(1, 2 * len(same), 2)
    pairs = PairList(a, b, _identities(images.ids, a[same], b[same]), pair_folds(same))
    return Protocol(images, pairs, images.ids)


def pair_folds(same: np.ndarray) -> np.ndarray | None:
    """Ten folds of consecutive pairs, as insightface makes them, if each has pairs of both kinds.

    Otherwise, as in a set that lists all genuine pairs first, the pairs of each kind are dealt out in turns: a fold of
    one kind alone would be judged by a threshold that the others cannot teach.

    Args:
        same: (P,) bool.

    Returns:
        (P,) int, or None if there are fewer than ten pairs of a kind.
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
    """Whether a CSV lists pictures rather than pairs."""
    if not path.is_file():
        return False
    with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
        header = next(csv.reader([file.readline(MAX_HEADER)]), [])
    return "path" in header and "a" not in header


def _read_rows(path: Path) -> list[Mapping[str, str]]:
    if not path.is_file():
        raise InputError(f"'{path}' does not exist.")
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        absent = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
        if absent:
            raise InputError(
                f"'{path}' needs a header line with the columns a,b,same (and fold, if any); "
                f"it lacks {', '.join(absent)}."
            )
        rows: list[Mapping[str, str]] = list(reader)
    if not rows:
        raise InputError(f"'{path}' lists no pairs.")
    return rows


def _normal(name: str) -> str:
    return str(PurePosixPath(name.replace("\\", "/")))


def _truth(text: str, path: Path, line: int) -> bool:
    if text.strip().lower() not in TRUE | FALSE:
        raise InputError(f"'{path}' line {line}: same needs 1 or 0, got '{text}'.")
    return text.strip().lower() in TRUE


def _folds(rows: Sequence[Mapping[str, str]], path: Path) -> np.ndarray | None:
    if "fold" not in rows[0]:
        return None
    try:
        fold = np.array([int(row["fold"]) for row in rows])
    except (TypeError, ValueError) as error:
        raise InputError(f"'{path}': fold needs a whole number in every line ({error}).") from error
    return fold if len(np.unique(fold)) > 1 else None


def _identities(ids: Sequence[str], a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N,) int: pictures in one folder are one identity; without folders, those linked by pairs that are the same."""
    if all("/" in item for item in ids):
        return np.unique([identity_of(item) for item in ids], return_inverse=True)[1]
    links = scipy.sparse.coo_array((np.ones(len(a)), (a, b)), shape=(len(ids), len(ids)))
    return scipy.sparse.csgraph.connected_components(links, directed=False)[1]


def usable(protocol: Protocol, features: Features) -> PairList | AllPairs:
    """The comparisons of pictures that were embedded.

    Raises:
        InputError: they are fewer than half.
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
    """The pool less the identities that are evaluated, if so asked; refuses them otherwise."""
    evaluated = {person for protocol in protocols.values() for person in protocol.people}
    shared = sorted(evaluated & set(pool.identities))
    if not shared or allow:
        return pool
    if not drop:
        raise InputError(
            f"{len(shared)} identities of the pool are also evaluated, such as '{shared[0]}': pass --drop-overlap to "
            "leave them out of the pool, or --allow-overlap to count them all the same."
        )
    kept = [index for index, person in enumerate(pool.identities) if person not in evaluated]
    if not kept:
        raise InputError("all identities of the pool are also evaluated: nothing is left to train on.")
    return pool.subset(kept)
