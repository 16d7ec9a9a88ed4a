"""`rsft data check`: find problems of a pool before training on it."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rsft.data.composition import composed
from rsft.data.features import load_features
from rsft.data.images import ImageSet, find_images
from rsft.data.listing import identity_of
from rsft.data.withdrawn import withdrawn_set
from rsft.errors import InputError
from rsft.face.adaptation.label_noise import label_margin
from rsft.face.evaluation.protocol import read_protocol
from rsft.face.runs.prints import near_in, read_prints, shared_pictures
from rsft.face.runs.progress import Listener, Stages, silent
from rsft.types import PathLike

# Attributes that state where pictures come from and how they may be used.
PROVENANCE = ("licence", "license", "source", "provenance", "consent")


def check_pool(
    pool: PathLike,
    *,
    against: PathLike | None = None,
    against_root: PathLike | None = None,
    embeddings: PathLike | None = None,
    listener: Listener = silent,
) -> dict[str, Any]:
    """Find unreadable pictures, duplicates, overlap with an evaluation set, doubtful labels and more in a pool.

    Args:
        pool: Labelled pictures, in any form that `find_images` reads.
        against: Evaluation set to compare the pool with, in any form that `read_protocol` reads.
        against_root: Folder or archive that the paths of a pairs CSV in `against` are relative to. Defaults to the
            folder of the CSV.
        embeddings: An output of `rsft embed` for the pool. Without it, doubtful labels are not searched for.
        listener: Callback that receives (stage, done, total) as each stage advances.

    Returns:
        A dictionary that can be written as JSON:

        - "pictures", "identities": Their numbers.
        - "unreadable": [id, reason] of each picture that cannot be read.
        - "single": The identities with fewer than two readable pictures.
        - "case_collisions": Lists of identities that differ only in case.
        - "exact_duplicates": Lists of ids of pictures with the same bytes. The first of each list stands for all in
          the search for near duplicates.
        - "near_duplicates": [id, id, number of 64 bits that differ] for each pair that looks nearly the same, sorted
          by this number.
        - "against": None without `against`. Otherwise a dictionary with "exact_duplicates" and "near_duplicates"
          between the two sets, the id in the pool first, and the "identities" that both sets have.
        - "doubtful_labels": None without `embeddings`. Otherwise [id, `label_margin`] of each picture whose margin is
          below 0, in rising order.
        - "provenance": For each attribute of `PROVENANCE` that the pool has, the number of pictures with each value.
        - "passed_over": What was found beside the pictures and not listed: "files", a dictionary of the reason -> the
          "count" and an "example"; and "folders", the names of the first folders in which no picture is listed.
        - "withdrawn": The withdrawn data set that the pool appears to be, and the reason; or None.

    Raises:
        InputError: An input cannot be read, or the embeddings are of other pictures or of a single identity.
    """
    stages = Stages(listener)
    images = find_images(pool, labelled=True)
    protocol = None if against is None else read_protocol(against, against_root)
    doubtful = None if embeddings is None else _doubtful(Path(embeddings), images)
    prints = read_prints(images, stages, "read pool")
    readable = Counter(identity_of(item) for item in prints.ids)
    identities = sorted(images.people_names)
    return {
        "pictures": len(images),
        "identities": len(identities),
        "unreadable": [list(entry) for entry in prints.unreadable],
        "single": [name for name in identities if readable[name] < 2],
        "case_collisions": _groups((composed(name.casefold()), name) for name in identities),
        "exact_duplicates": _groups(zip(prints.digests, prints.ids, strict=True)),
        "near_duplicates": near_in(prints),
        "against": None
        if protocol is None
        else shared_pictures(prints, read_prints(protocol.images, stages, "read evaluation"))
        | {"identities": sorted(set(identities) & set(protocol.people))},
        "doubtful_labels": doubtful,
        "provenance": {
            name: dict(Counter(images.attributes[name])) for name in PROVENANCE if name in images.attributes
        },
        "passed_over": images.passed_over.to_dict(),
        "withdrawn": withdrawn_set(images.root, identities),
    }


def _groups(pairs: Iterator[tuple[Any, str]]) -> list[list[str]]:
    """Return the names that share a key, for each key of two or more names."""
    names = defaultdict(list)
    for key, name in pairs:
        names[key].append(name)
    return [group for group in names.values() if len(group) > 1]


def _doubtful(folder: Path, images: ImageSet) -> list[list[Any]]:
    """Return [id, margin] of the items that look more like another identity, sorted by rising margin."""
    features = load_features(folder)
    strange = sorted(set(features.ids) - set(images.ids))
    if strange:
        raise InputError(
            f"'{folder}' has embeddings of pictures that are not in '{images.root}', such as '{strange[0]}'."
        )
    people = features.people
    if people.max() == 0:
        raise InputError(f"'{folder}' has embeddings of a single identity: doubtful labels need two or more.")
    margins = label_margin(features.embeddings, people)
    order = np.argsort(margins, kind="stable")
    return [[features.ids[row], float(margins[row])] for row in order if margins[row] < 0]
