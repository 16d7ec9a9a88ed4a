"""Evaluation protocols: listed pairs, or all pairs of a set of pictures."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph

from rsft.data.composition import alike
from rsft.data.features import Features
from rsft.data.images import ImageSet, find_images, image_set
from rsft.data.lfw import PEOPLE, lfw_kind, list_people
from rsft.data.listing import identity_of
from rsft.data.remote import to_path
from rsft.data.verification_set import read_verification_set
from rsft.errors import InputError
from rsft.face.evaluation.pair_table import PairRows, check_known, check_same, listed_pairs
from rsft.face.evaluation.pairs import AllPairs, PairList

TARGET, RETAIN = "target", "retain"  # names of the protocols of a run
MIN_KEPT_FRACTION = 0.5  # smallest share of the pairs that must be usable
FOLDS = 10  # number of folds of a `.bin`, as in insightface


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
    """Read pairs (a table `a,b,same[,fold]` or LFW's `pairs.txt`), a `.bin` verification set, or labelled pictures.

    Labelled pictures are all compared with each other. In a table, the folder of a picture is its identity; if some
    pictures are in no folder, pictures that are linked by pairs with `same` = 1 have one identity. A `.bin` does not
    name identities: different pairs are taken for different people. Its intervals over identities are therefore
    intervals over pairs, and too narrow if people occur in several pairs.

    Args:
        path: The table, the `.bin`, or any path that `find_images` reads.
        root: The pictures that the table names, as any path that `find_images` reads; by default its folder.

    Raises:
        InputError: If a column, picture or value is missing or contradictory, a pair is listed twice or is of a picture
            and itself, or there is nothing to compare.
    """
    path = to_path(path)
    if path.suffix.lower() == ".bin":
        return _verification_set(path)
    listed = listed_pairs(path)
    if listed is None:
        images = find_images(_people(path, root), labelled=True)
        _, rank = np.unique(images.people_names, return_inverse=True)
        return Protocol(images, AllPairs(rank[images.people]), images.identities)
    images = find_images(root if root is not None else path.parent)
    place = _places(images, listed)
    check_known(
        listed,
        place.__contains__,
        lambda count, item, where: (
            f"'{path}' names {count} pictures that are not in '{images.root}', such as '{item}' in {where}: "
            "pass the folder that its paths are relative to as --eval-root."
        ),
    )
    rows = np.array([[place[name] for name in names] for names in (listed.first, listed.second)])
    named = np.unique(rows)
    a, b = np.searchsorted(named, rows)
    images = images.subset(named)
    identity = _identities(list(images.ids), a[listed.same], b[listed.same])
    pairs = PairList(a, b, identity, listed.fold)
    check_same(pairs, listed)
    return Protocol(images, pairs, images.identities)


def _people(path: Path, root: str | os.PathLike[str] | None) -> Path | ImageSet:
    """Return the pictures of LFW's list of people in `root`, or the path if it is another, or `root` is not given."""
    if root is None or lfw_kind(path) != PEOPLE:
        return path
    return image_set(list_people(path, to_path(root)), path)


def _places(images: ImageSet, listed: PairRows) -> dict[str, int]:
    """Map the names by which pairs call pictures to their rows."""
    if listed.suffixes:
        return {item: row for row, item in enumerate(images.ids)}
    place: dict[str, int] = {}
    for row, item in enumerate(images.ids):
        stem = item.rpartition(".")[0]
        if place.setdefault(stem, row) != row:
            raise InputError(f"'{images.root}' holds '{images.ids[place[stem]]}' and '{item}': which one is '{stem}'?")
    return place


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

    Names that differ only in case or in the signs between their parts count as those of one person; see `alike`.

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
    evaluated = {alike(person): person for protocol in protocols.values() for person in protocol.people}
    evaluated |= {person: person for protocol in protocols.values() for person in protocol.people}
    shared = [(person, evaluated.get(person) or evaluated.get(alike(person))) for person in pool.people_names]
    found = sorted((person, told) for person, told in shared if told is not None)
    if not found or allow:
        return pool
    if not drop:
        person, told = next((pair for pair in found if pair[0] == pair[1]), found[0])
        raise InputError(
            f"{len(found)} identities of the pool are also evaluated, such as '{person}'"
            f"{'' if told == person else f', there as {told!r}'}: pass --drop-overlap to "
            "leave them out of the pool, or --allow-overlap to evaluate on them anyway."
        )
    stays = np.array([told is None for _, told in shared])
    if not stays.any():
        raise InputError("all identities of the pool are also evaluated: nothing is left to train on.")
    return pool.subset(np.flatnonzero(stays[pool.people]))
