"""Pools as they are in life, for shifts that nobody drew: age (LAG), masks really worn (MFR2), CCTV (FRMDB).

Each pool is LFW and the ordinary pictures of a part of the set's people, with a few pictures of the shift. The target
is known by unlabelled pictures of the shift of further people, and the rest of the people is evaluated: across the
shift (a picture of the shift against an ordinary one), within it, and on ordinary pictures alone. The people are dealt
out to folds by a hash, and each fold is evaluated in turn; a run of `fit` on such a pool needs another seed than 0, or
it deals the same people out alike. LFW people who are in a set too, by name or by face, are not
in its pool.
"""

import csv
import re
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from shifted_faces import Chips, between
from target_nuisances import like_target

from rsft.data.features import DESCRIPTION_FILE, Features, join_features, load_features
from rsft.data.images import find_images
from rsft.errors import NoFaceError, UnreadableImageError
from rsft.face.adaptation.candidates import deal_people
from rsft.face.evaluation.pairs import PairList, list_all_pairs
from rsft.face.networks.bundle import FaceModel
from rsft.face.pictures.covariates import covariates
from rsft.face.pictures.drawn_shifts import SHIFTS
from rsft.face.pictures.embedding import embed, face_reader

LFW = "lfw-folds1-6"
SAME_FACE = 0.6  # cosine of SFace: LFW impostors reach .63 once in a million, and names told apart all pairs above .6
MAX_OF_A_PERSON = 12  # pictures in a pool
LIKE_TARGET = "like-target"  # views with the target's own light, contrast, blur and noise


@dataclass(frozen=True)
class Shift:
    """A shift of real pictures.

    Attributes:
        archive: Name of the set's files, `NAME.tar` and `NAME.csv` with path, identity and domain.
        carries: Domain of the pictures with the shift.
        drawn: Shift that is drawn on LFW pictures of the pool: a key of `SHIFTS`, `LIKE_TARGET`, or None.
        folds: Number of parts of the people, each evaluated in turn.
        of_target: Share of the people who are not evaluated and give the target.
        shares: Shares of the pool with the shift.
    """

    archive: str
    carries: str
    drawn: str | None
    folds: int
    of_target: float
    shares: Sequence[float]


REAL = {
    "age": Shift("lag-dev", "young", None, 3, 0.25, (0.01, 0.05, 0.1)),
    "masks": Shift("mfr2-dev", "masked", "mask", 2, 1.0, (0.06,)),
    "cctv": Shift("frmdb-dev", "cctv", None, 2, 0.5, (0.06,)),
    "cctv-drawn": Shift("frmdb-dev", "cctv", "low-resolution", 2, 1.0, (0.06,)),
    "cctv-like": Shift("frmdb-dev", "cctv", LIKE_TARGET, 2, 1.0, (0.06,)),
}


@dataclass(frozen=True)
class RealCase:
    """One fold of a shift.

    Attributes:
        pool: With activations.
        shifted: (N,) bool, which items of the pool carry the shift.
        target: Unlabelled pictures, with activations.
        sets: "target" (across the shift), "within" and "retain" -> pictures and pairs of the evaluated people.
        people: Number of evaluated people.
    """

    pool: Features
    shifted: np.ndarray
    target: Features
    sets: dict[str, tuple[Features, PairList]]
    people: int


class RealPools:
    """Makes the cases of a network; what costs most is kept in a folder and used again.

    Args:
        model: Embeds.
        cut: First stage that is tuned.
        data: Folder with the archives.
        work: Where to keep what was made.
        views: Number of views of a picture of the pool.
    """

    def __init__(self, model: FaceModel, cut: int, data: Path, work: Path, views: int = 2) -> None:
        self._model, self._data, self._work, self._views = replace(model, cut=cut), data, work, views
        work.mkdir(parents=True, exist_ok=True)

    def build(self, name: str, fold: int, share: float, deal: int = 0) -> RealCase:
        """Return the case of a shift.

        Args:
            name: A key of `REAL`.
            fold: Fold of the people who are evaluated.
            share: Share of the pool that carries the shift.
            deal: Seed of the way in which the people are dealt out to folds, target and pool.
        """
        shift = REAL[name]
        chips = self.chips(shift.archive)
        features = self._embedded(chips, shift.archive)
        domain = _domains(self._data / f"{shift.archive}.csv", shift.archive)
        carries = np.array([domain[item] == shift.carries for item in features.ids])
        names = sorted(features.identities.names)
        part = deal_people(names, shift.folds, deal)[features.people]
        rest = np.array([name for name in names if name in set(np.array(features.identities)[part != fold])])
        order = np.random.default_rng([fold, deal]).permutation(rest)
        gives = np.isin(features.identities, order[: round(shift.of_target * len(order))])
        evaluated, target = part == fold, (part != fold) & gives & carries
        in_pool = (part != fold) & ~gives
        lfw = self._lfw(shift.archive)
        plain = [lfw, features.subset(np.flatnonzero(in_pool & ~carries))]
        size = sum(map(len, plain))
        few = round(share / (1 - share) * size)
        generator = np.random.default_rng([fold, 1, deal])
        if shift.drawn:
            some = np.sort(generator.permutation(len(lfw))[: round(share * size)])
            known = features.subset(np.flatnonzero(target))
            drawn = self._drawn(lfw, shift.drawn, some, known, f"{shift.archive}-{fold}" + f"-{deal}" * bool(deal))
            kept = np.setdiff1d(np.arange(len(lfw)), some)
            plain[0] = lfw.subset(kept)
        else:
            drawn = features.subset(np.sort(generator.permutation(np.flatnonzero(in_pool & carries))[:few]))
        pool = join_features([part for part in (*plain, drawn) if len(part)])
        shifted = np.arange(len(pool)) >= len(pool) - len(drawn)
        theirs = features.subset(np.flatnonzero(evaluated))
        with_it, pairs = carries[evaluated], list_all_pairs(theirs.people)
        sets = {
            "target": (theirs, between(pairs, with_it, ~with_it)),
            "within": (theirs, between(pairs, with_it, with_it)),
            "retain": (theirs, between(pairs, ~with_it, ~with_it)),
        }
        people = len(np.unique(theirs.people))
        return RealCase(pool, shifted, features.subset(np.flatnonzero(target)), sets, people)

    def overlap(self, archive: str) -> tuple[list[str], list[str]]:
        """Return the LFW people who are in a set too: by name, and by face under another name.

        Faces are compared by this network. Give SFace: `SAME_FACE` is its cosine.
        """
        sets = [self._embedded(self.chips(name), name) for name in (LFW, archive)]
        names = [np.array([_letters(person.partition("-")[2]) for person in features.identities]) for features in sets]
        units = [f.embeddings / np.linalg.norm(f.embeddings, axis=1, keepdims=True) for f in sets]
        alike = np.concatenate([(part @ units[1].T).max(1) for part in np.array_split(units[0], 20)]) >= SAME_FACE
        by_name = np.isin(names[0], names[1])
        people = np.array(sets[0].identities)
        return sorted(set(people[by_name])), sorted(set(people[alike & ~by_name]) - set(people[by_name]))

    def chips(self, archive: str) -> Chips:
        """Return all faces of an archive on the model's template."""
        kept = self._work / f"{archive}-{self._model.size}.npz"
        if not kept.exists():
            images, template = find_images(self._data / f"{archive}.tar"), np.array(self._model.template)
            to_face = face_reader(self._model)
            ids, chips, turn = [], [], []
            for index, item in enumerate(images.ids):
                try:
                    face = to_face(images.read(index))
                except (NoFaceError, UnreadableImageError):
                    continue
                ids.append(_named(archive, item))
                chips.append(face.chip)
                turn.append(abs(covariates(face, template)["yaw"]))
            np.savez(kept, ids=ids, chips=np.stack(chips), turn=np.array(turn))
        found = np.load(kept)
        return Chips(found["ids"].tolist(), found["chips"], found["turn"])

    def _lfw(self, archive: str) -> Features:
        """Return LFW without the people of a set, and with at most `MAX_OF_A_PERSON` pictures of each."""
        features = self._embedded(self.chips(LFW), LFW)
        left_out = set((self._work / f"{archive}-in-lfw.txt").read_text().split("\n"))
        seen: dict[str, int] = {}
        rows = []
        for row, person in enumerate(features.identities):
            seen[person] = seen.get(person, 0) + 1
            if seen[person] <= MAX_OF_A_PERSON and person not in left_out:
                rows.append(row)
        return features.subset(np.array(rows))

    def write_overlap(self, archive: str) -> tuple[int, int]:
        """Keep the people of `overlap` for the other networks, and return how many were found by name and by face."""
        by_name, by_face = self.overlap(archive)
        (self._work / f"{archive}-in-lfw.txt").write_text("\n".join([*by_name, *by_face]))
        return len(by_name), len(by_face)

    def _drawn(self, lfw: Features, shift: str, some: np.ndarray, target: Features, name: str) -> Features:
        """Return some rows of LFW with a drawn shift."""
        change = like_target(target, np.array(self._model.template)) if shift == LIKE_TARGET else SHIFTS[shift]
        chips = self.chips(LFW)
        place = {item: row for row, item in enumerate(chips.ids)}
        rows = np.array([place[lfw.ids[row]] for row in some])
        return self._embedded(chips.subset(rows).drawn(change), f"{name}-{shift}-{len(some)}")

    def _embedded(self, chips: Chips, name: str) -> Features:
        """Return the features with all views, embedded once."""
        folder = self._work / f"{name}-{self._model.fingerprint}-{self._model.cut}-{self._views}"
        if not (folder / DESCRIPTION_FILE).exists():
            folder.mkdir(exist_ok=True)
            embed(self._model, chips, views=self._views, aligned=True, folder=folder).save(folder)
        return load_features(folder)


def photographs(case: RealCase, shift: str, data: Path, folder: Path) -> None:
    """Write the photographs of pool, target and evaluated people into a folder, and the manifests of pool and target.

    A picture is there as in its archive, so a shift that is drawn is not.
    """
    archives = {name.partition("-")[0]: name for name in (LFW, REAL[shift].archive)}
    wanted: dict[str, set[str]] = {}
    for item in {*case.pool.ids, *case.target.ids, *case.sets["target"][0].ids}:
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


def _domains(path: Path, archive: str) -> dict[str, str]:
    """Read the domain of each picture."""
    with path.open(newline="") as file:
        return {_named(archive, row["path"]): row["domain"] for row in csv.DictReader(file)}


def _letters(name: str) -> str:
    """Return the letters of a name, in lower case."""
    return re.sub("[^a-z]", "", name.lower())


def _named(archive: str, item: str) -> str:
    """Return an id whose person tells the set too."""
    return f"{archive.partition('-')[0]}-{item}"
