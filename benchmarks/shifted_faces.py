"""Pools with a shifted share, targets and evaluations, made of LFW and MUCT: what `evidence.py` runs on.

Half of the LFW people with two pictures or more are in the pool, the others are evaluated; the target is seen in
unlabelled pictures of people with one picture. Nobody is on two sides. The pool of `more_people` has all other people
with one picture as well: twice the pictures, five times the people. A drawn shift is drawn on aligned chips, each
copy of a picture by itself; head turn is a picture's own, told by its five points. MUCT is cut likewise by its cameras
and lights, with the target seen in pictures of a quarter of its people.
"""

import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from rsft.data.features import DESCRIPTION_FILE, Features, load_features
from rsft.data.images import find_images
from rsft.data.listing import text_column
from rsft.errors import NoFaceError, UnreadableImageError
from rsft.face.evaluation.pairs import PairList, list_all_pairs
from rsft.face.networks.bundle import FaceModel
from rsft.face.pictures.chip_views import MAX_MOVE, move
from rsft.face.pictures.covariates import covariates
from rsft.face.pictures.drawn_shifts import SHIFTS, low_resolution, mask, night
from rsft.face.pictures.embedding import embed, face_reader

COPIES = 4
MAX_POOL_PICTURES, MAX_EVALUATED_PICTURES = 12, 10  # of a person
TARGET_PICTURES = 400
SHARE = 0.06
MODERATE_TURN, STRONG_TURN = 0.15, 0.25  # of the nose from the middle of the eyes, in distances of the eyes


def mixed(chip: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """One of the drawn shifts, each as likely."""
    return (low_resolution, mask, night)[generator.integers(3)](chip, generator)


DRAWN = {**SHIFTS, "mixed": mixed}
TURNS = {"moderate-turn": (MODERATE_TURN, STRONG_TURN), "strong-turn": (STRONG_TURN, np.inf)}
# place of the letter in a file's name, its usual and its new values
MUCT = {"muct-camera": (5, "abcd", "e"), "muct-light": (4, "qrtu", "sv")}
MUCT_DIVISION = (120, 160)  # people in the pool, and in the pool or the target, of 276


@dataclass(frozen=True)
class Chips:
    """Aligned pictures of people, read like an `ImageSet`.

    Attributes:
        ids: (N,) names, the person first.
        chips: (N, size, size, 3) uint8.
        turn: (N,) how far each head is turned.
        changes: (chip, generator) -> chip, applied on reading one after the other; the generator is the picture's own.
        root: Their folder, by name only.
        is_remote: Whether they are fetched.
    """

    ids: Sequence[str]
    chips: np.ndarray
    turn: np.ndarray
    changes: Sequence[Callable[[np.ndarray, np.random.Generator], np.ndarray]] = ()
    root: Path = Path("chips")
    is_remote: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", text_column(self.ids, self.root))

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, index: int) -> np.ndarray:
        chip = self.chips[index]
        for number, change in enumerate(self.changes):
            chip = change(chip, np.random.default_rng([zlib.crc32(self.ids[index].encode()), number]))
        return chip

    @contextmanager
    def opened(self, index: int) -> Iterator[np.ndarray]:
        yield self.read(index)

    @cached_property
    def sources(self) -> list[bytes]:
        """Each picture before its changes, by which an embedding that goes on later knows it again."""
        return [chip.tobytes() for chip in self.chips]

    @property
    def people(self) -> np.ndarray:
        """(N,) int."""
        return np.unique([item.partition("/")[0] for item in self.ids], return_inverse=True)[1]

    def subset(self, rows: np.ndarray) -> "Chips":
        """The pictures at `rows`."""
        return replace(self, ids=[self.ids[row] for row in rows], chips=self.chips[rows], turn=self.turn[rows])

    def copies(self) -> "Chips":
        """Each picture `COPIES` times, each moved by some pixels."""
        copied = self.subset(np.repeat(np.arange(len(self)), COPIES))
        return replace(
            copied, ids=[f"{item}#{place % COPIES}" for place, item in enumerate(copied.ids)], changes=(moved,)
        )

    def drawn(self, change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> "Chips":
        """With another change on top."""
        return replace(self, changes=(*self.changes, change))


def joined(one: Chips, other: Chips) -> Chips:
    """The pictures of two sets of one size."""
    arrays = {name: np.concatenate([getattr(part, name) for part in (one, other)]) for name in ("chips", "turn")}
    return replace(one, ids=[*one.ids, *other.ids], **arrays)


def moved(chip: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return move(chip, *generator.integers(-MAX_MOVE, MAX_MOVE + 1, 2))


@dataclass(frozen=True)
class Case:
    """One shift.

    Attributes:
        name: of the shift.
        pool: with activations of each picture and its mirror image.
        people: (N,) int of the pool.
        shifted: (N,) bool, which items of the pool carry the shift.
        target: unlabelled pictures of the deployment.
        evaluation: pictures of other people, and which of them are compared.
        retention: likewise, without the shift.
    """

    name: str
    pool: Features
    people: np.ndarray
    shifted: np.ndarray
    target: Features
    evaluation: tuple[Features, PairList]
    retention: tuple[Features, PairList]


class Cases:
    """Makes the cases of a network; what costs most is kept in a folder and used again.

    Args:
        model: embeds.
        cut: first stage that is tuned.
        lfw: folder or archive of LFW, a folder per person.
        muct: likewise of MUCT, if its shifts are wanted.
        work: where to keep what was made.
        target_pictures: how many unlabelled ones there are.
    """

    def __init__(
        self,
        model: FaceModel,
        cut: int,
        lfw: Path,
        muct: Path | None,
        work: Path,
        target_pictures: int = TARGET_PICTURES,
    ) -> None:
        work.mkdir(parents=True, exist_ok=True)
        self._model, self._cut, self._work = replace(model, cut=cut), cut, work
        self._archives = {"lfw": lfw, "muct": muct}
        self._target_pictures = target_pictures

    def build(self, name: str, share: float = SHARE, *, more_people: bool = False) -> Case:
        """The case of a shift.

        Args:
            name: a key of `DRAWN`, `TURNS` or `MUCT`, "none" (the target is like the pool) or "no-support" (masks, of
                which the pool has none).
            share: of the pool that carries the shift, if it has so much.
            more_people: whether those with one picture who are not in the target are also in a drawn shift's pool.
        """
        if more_people and name not in DRAWN:
            raise ValueError(f"there is no pool of more people for {name!r}, only for {', '.join(DRAWN)}.")
        if name in MUCT:
            return self._kinds(name, share)
        chips = self._aligned("lfw")
        people, generator = chips.people, np.random.default_rng(0)
        counts = np.bincount(people)
        pool_people, others = np.array_split(generator.permutation(np.flatnonzero(counts > 1)), 2)
        in_pool = _some_of_each(people, pool_people, MAX_POOL_PICTURES)
        alone = generator.permutation(np.flatnonzero(counts[people] == 1))
        if more_people:
            in_pool = np.concatenate([in_pool, alone[self._target_pictures :]])
        pool, target = chips.subset(in_pool).copies(), chips.subset(alone)
        evaluated = chips.subset(_some_of_each(people, others, MAX_EVALUATED_PICTURES))
        if name in TURNS:
            return self._turned(name, pool, target, evaluated, share)
        return self._drawn(name, pool, target, evaluated, share, "lfw-pool-more" if more_people else "lfw-pool")

    def held_out(self, name: str, case: Case, trained: np.ndarray) -> dict[str, tuple[Features, PairList]]:
        """The pool's people who are not trained on, drawn and as they are: what a recipe may be chosen by.

        Args:
            name: a key of `DRAWN`.
            case: of that shift.
            trained: (n,) rows of the pool that are trained on.
        """
        chips, others = self._aligned("lfw"), np.setdiff1d(np.arange(len(case.pool)), trained)
        pictures = {case.pool.ids[row].rpartition("#")[0] for row in others}
        left = chips.subset(np.array([row for row, item in enumerate(chips.ids) if item in pictures]))
        pairs = list_all_pairs(left.people)
        drawn = self._kept(left.drawn(DRAWN[name]), f"lfw-held-out-{name}")
        return {"target": (drawn, pairs), "retain": (self._kept(left, "lfw-held-out"), pairs)}

    def _drawn(self, name: str, pool: Chips, target: Chips, evaluated: Chips, share: float, kept_as: str) -> Case:
        shifted = np.random.default_rng(1).random(len(pool)) < (0.0 if name in ("none", "no-support") else share)
        target = target.subset(np.arange(self._target_pictures))
        features, clean = self._kept(pool, kept_as), self._kept(evaluated, "lfw-evaluated")
        there = clean
        if name != "none":
            draw = DRAWN["mask" if name == "no-support" else name]
            target, there = target.drawn(draw), self._kept(evaluated.drawn(draw), f"lfw-evaluated-{draw.__name__}")
            if shifted.any():
                features = _replaced(
                    features, shifted, self._embed(pool.subset(np.flatnonzero(shifted)).drawn(draw), 2)
                )
        pairs = list_all_pairs(evaluated.people)
        return Case(name, features, pool.people, shifted, self._embed(target), (there, pairs), (clean, pairs))

    def _turned(self, name: str, pool: Chips, target: Chips, evaluated: Chips, share: float) -> Case:
        low, high = TURNS[name]

        def carries(chips: Chips) -> np.ndarray:
            return (chips.turn >= low) & (chips.turn < high)

        rows = _mixture(carries(pool), pool.turn < MODERATE_TURN, share)
        target = target.subset(np.flatnonzero(carries(target))[: self._target_pictures])
        clean, pairs = self._kept(evaluated, "lfw-evaluated"), list_all_pairs(evaluated.people)
        probes, gallery = carries(evaluated), evaluated.turn < MODERATE_TURN
        return Case(
            name,
            self._kept(pool, "lfw-pool").subset(rows),
            pool.subset(rows).people,
            carries(pool)[rows],
            self._embed(target),
            (clean, between(pairs, probes, probes | gallery)),
            (clean, between(pairs, gallery, gallery)),
        )

    def _kinds(self, name: str, share: float) -> Case:
        """By camera or light: the last two characters of a file's name before the dash."""
        place, usual, new = MUCT[name]
        chips = self._aligned("muct")
        kind = np.array([item.rpartition("/")[2][place] for item in chips.ids])
        order = np.random.default_rng(0).permutation(chips.people.max() + 1)
        sides = [np.flatnonzero(np.isin(chips.people, part)) for part in np.split(order, MUCT_DIVISION)]
        pool, target, evaluated = (chips.subset(side) for side in sides)
        carries = [np.isin(kind[side], list(new)) for side in sides]
        pool = pool.copies()
        in_pool, plain = (np.repeat(which, COPIES) for which in (carries[0], np.isin(kind[sides[0]], list(usual))))
        rows = _mixture(in_pool, plain, share)
        features, pairs = self._kept(evaluated, "muct-evaluated"), list_all_pairs(evaluated.people)
        probes, gallery = carries[2], np.isin(kind[sides[2]], list(usual))
        return Case(
            name,
            self._kept(pool, "muct-pool").subset(rows),
            pool.subset(rows).people,
            in_pool[rows],
            self._embed(target.subset(np.flatnonzero(carries[1])[: self._target_pictures])),
            (features, between(pairs, probes, probes | gallery)),
            (features, between(pairs, gallery, gallery)),
        )

    def _aligned(self, name: str) -> Chips:
        """All faces of an archive on the model's template."""
        kept, archive = self._work / f"{name}.npz", self._archives[name]
        if not kept.exists():
            assert archive is not None
            images, template = find_images(archive), np.array(self._model.template)
            to_face = face_reader(self._model)
            ids, chips, turn = [], [], []
            for index, item in enumerate(images.ids):
                try:
                    face = to_face(images.read(index))
                except (NoFaceError, UnreadableImageError):
                    continue
                ids.append(item)
                chips.append(face.chip)
                turn.append(abs(covariates(face, template)["yaw"]))
            np.savez(kept, ids=ids, chips=np.stack(chips), turn=np.array(turn))
        found = np.load(kept)
        return Chips(found["ids"].tolist(), found["chips"], found["turn"])

    def _kept(self, chips: Chips, name: str) -> Features:
        """Embedded with the activations of the picture and its mirror image, once."""
        folder = self._work / f"{name}-{self._cut}"
        if not (folder / DESCRIPTION_FILE).exists():
            folder.mkdir(exist_ok=True)
            embed(self._model, chips, views=2, aligned=True, folder=folder).save(folder)
        return load_features(folder)

    def _embed(self, chips: Chips, views: int = 0) -> Features:
        return embed(self._model, chips, views=views, aligned=True)


def _some_of_each(people: np.ndarray, kept: np.ndarray, most: int) -> np.ndarray:
    """Rows of the `kept` people, the first `most` of each."""
    seen: Counter[int] = Counter()
    rows = []
    for row, person in enumerate(people.tolist()):
        seen[person] += 1
        if seen[person] <= most:
            rows.append(row)
    return np.array(rows)[np.isin(people[rows], kept)]


def _mixture(carries: np.ndarray, plain: np.ndarray, share: float) -> np.ndarray:
    """Rows of the plain items, and of so many drawn carriers that they are `share` of all."""
    carriers = np.random.default_rng(1).permutation(np.flatnonzero(carries))
    plain = np.flatnonzero(plain)
    return np.sort(np.concatenate([plain, carriers[: round(share / (1 - share) * len(plain))]]))


def _replaced(features: Features, where: np.ndarray, by: Features) -> Features:
    """Some rows of features exchanged for others."""
    assert features.activations is not None
    arrays = {name: np.array(getattr(features, name)) for name in ("embeddings", "nuisances", "activations")}
    for name, array in arrays.items():
        array[where] = getattr(by, name)
    told = {name: np.array(values) for name, values in features.covariates.items()}
    for name, values in told.items():
        values[where] = by.covariates[name]
    return replace(features, **arrays, covariates=told)


def between(pairs: PairList, some: np.ndarray, others: np.ndarray) -> PairList:
    """The pairs of one picture among `some` and one among `others`."""
    kept = (some[pairs.a] & others[pairs.b]) | (others[pairs.a] & some[pairs.b])
    return PairList(pairs.a[kept], pairs.b[kept], pairs.identity)
