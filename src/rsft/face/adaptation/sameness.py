"""Target pictures that repeat one another, and those of people in the pool, found by their embeddings."""

import numpy as np

from rsft.data.features import Features
from rsft.groups import linked

# Two pictures are copies if their embeddings are at most ALIKE times as far apart, in 1 - cosine, as two of the target
# usually are, and brightness and contrast differ by at most WITHIN standard deviations of the target. By dlib and YuNet
# 4 pairs of different pictures pass among 150 of ORL, whose ten of a person are of one session (105 with 0.1), and
# none among 120 of LFW. docs/log.md says how many altered copies are found. Where most pictures are one, as of a camera
# that hangs, two are usually not apart at all; so what is as near as rounding makes copies is always a copy.
ALIKE, WITHIN = 0.03, 0.35
ROUNDING = 1e-6  # of 1 - cosine
SAME_LOOK = ("brightness", "contrast")
BLOCK = 2048  # rows of cosines at a time
# A target picture shows one of the pool's people if it is nearer to a picture there than the USUAL quantile of the
# pool's pictures are to one of other people. Fewer than the share NEWS of the target are not told.
USUAL, NEWS = 0.99, 0.1
MIN_POOL, MIN_PEOPLE = 200, 50


def copies(target: Features) -> np.ndarray:
    """Group the pictures that are copies of one another, or frames of one moment: (K,) int64.

    Args:
        target: Features of K pictures. If the covariates lack what tells a look, or there are fewer than three
            pictures, no picture is a copy.
    """
    items = len(target)
    group = np.arange(items)
    if items < 3 or not set(SAME_LOOK) <= set(target.covariates):
        return group
    unit = _unit(target.embeddings)
    looks = [target.covariates[name] for name in SAME_LOOK]
    rows = np.linspace(0, items - 1, min(items, BLOCK)).astype(int)
    usual = float(np.median((1 - unit[rows] @ unit[rows].T)[np.triu_indices(len(rows), 1)]))
    first, second = [], []
    for start in range(0, items, BLOCK):
        near = 1 - unit[start : start + BLOCK] @ unit.T <= max(ALIKE * usual, ROUNDING)
        for values in looks:
            near &= np.abs(values[start : start + BLOCK, None] - values) <= WITHIN * values.std()
        a, b = np.nonzero(near)
        first.append(start + a)
        second.append(b)
    return linked(np.concatenate(first), np.concatenate(second), items)


def people_met(pool: Features, target: Features) -> list[str]:
    """Say whether a good share of the target pictures seem to show people of the pool; nothing if not.

    How near a picture of the pool comes to one of other people is taken over all of them, as for a target picture, so
    their number needs no correction.

    Args:
        pool: Features of the pictures of the pool that were looked at.
        target: Features of the target pictures.
    """
    if len(pool) < MIN_POOL or pool.people.max() + 1 < MIN_PEOPLE or not pool.embeddings.shape[1]:
        return []
    strangers = nearest(pool.embeddings, pool.embeddings, (pool.people, pool.people))
    found = int((nearest(target.embeddings, pool.embeddings) > np.quantile(strangers, USUAL)).sum())
    if found < NEWS * len(target):
        return []
    return [
        f"about {found} of the {len(target)} target pictures are probably of people in the pool: they are nearer to a "
        f"picture there than {USUAL:.0%} of the pool's are to those of other people"
    ]


def nearest(probes: np.ndarray, gallery: np.ndarray, people: tuple[np.ndarray, np.ndarray] | None = None) -> np.ndarray:
    """Return the highest cosine of each probe with the gallery: (n,).

    Args:
        probes: (n, D) embeddings.
        gallery: (N, D) embeddings.
        people: (n,) and (N,) people; pictures of the same one are left out. None to compare all.
    """
    unit, result = _unit(gallery), np.empty(len(probes))
    for start in range(0, len(probes), BLOCK):
        cosines = _unit(probes[start : start + BLOCK]) @ unit.T
        if people is not None:
            cosines[people[0][start : start + BLOCK, None] == people[1]] = -1
        result[start : start + BLOCK] = cosines.max(1)
    return result


def _unit(embeddings: np.ndarray) -> np.ndarray:
    """Return embeddings of length 1; those of length 0 stay."""
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings / np.where(lengths > 0, lengths, 1)
