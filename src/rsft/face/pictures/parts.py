"""Finished parts of an embedding on disk, so that an interrupted run continues.

A part names its pictures by their numbers in the set, not by their names, and only its owner can read it.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from rsft.data.features import Features, load_features
from rsft.data.fingerprint import ids_fingerprint
from rsft.data.images import ImageSet
from rsft.data.reading import read_json
from rsft.data.stamps import Stamp, first_changed
from rsft.disk.access import make_private
from rsft.disk.whole import discard, replace_file, whole_folder
from rsft.errors import InputError

PICTURES_FILE = "pictures.json"


class _Pictures(BaseModel):
    """The shape of `pictures.json`."""

    ids: str
    stamps: list[tuple[int, int, int, str]]


def has_part(path: Path, images: ImageSet, part: range) -> bool:
    """Return whether a path holds the features of exactly these pictures.

    Args:
        path: Folder of the part.
        images: The set.
        part: The numbers of the pictures of the part.

    Raises:
        InputError: It does, but a picture has changed since.
    """
    try:
        noted: _Pictures = read_json(path / PICTURES_FILE, _Pictures, "the pictures of a part")
        if noted.ids != ids_fingerprint(images.ids.take(np.array(part))) or len(noted.stamps) != len(part):
            return False
        load_features(path)
    except InputError:
        return False
    changed = first_changed(noted.stamps, (images.sources[row] for row in part))
    if changed is not None:
        raise changed_picture(images, part[changed], path)
    return True


def changed_picture(images: ImageSet, row: int, kept: Path) -> InputError:
    """Return the error of a picture whose content is not the one that was used for what `kept` holds."""
    return InputError(
        f"'{images.ids[row]}' of '{images.root}' has changed since it was read for '{kept}': put the old picture back, "
        "or start anew, with another --out or with --overwrite where the command has it."
    )


def save_part(features: Features, path: Path, images: ImageSet, part: range, stamps: Mapping[int, Stamp]) -> None:
    """Write the features of a part; `path` never holds an incomplete one.

    Args:
        features: The features.
        path: Folder of the part.
        images: The set.
        part: The numbers of the pictures of the part.
        stamps: Number of each of these pictures -> its stamp, taken before it was read.
    """
    number = dict(zip((images.ids[row] for row in part), map(str, part), strict=True))
    unnamed = replace(
        features,
        ids=[number[item] for item in features.ids],
        quarantined=[(number[item], reason) for item, reason in features.quarantined],
    )
    noted = {"ids": ids_fingerprint(images.ids.take(np.array(part))), "stamps": [stamps[row] for row in part]}
    discard(path)  # of other pictures
    with whole_folder(path) as new:
        unnamed.save(new)
        replace_file(new / PICTURES_FILE, json.dumps(noted).encode())
        make_private(new)


def noted_digests(folder: Path, images: ImageSet) -> dict[str, str]:
    """Return id -> digest of the bytes of each picture, see `Stamp`, from the parts of a whole set.

    Args:
        folder: The folder that was given to `rsft.face.pictures.embedding.embed`.
        images: The set.
    """
    for parts in sorted(path for path in folder.iterdir() if path.is_dir()):
        noted = [json.loads(file.read_text()) for file in sorted(parts.glob(f"[0-9]*/{PICTURES_FILE}"))]
        stamps = [Stamp(*stamp) for part in noted for stamp in part["stamps"]]
        if len(stamps) == len(images):  # other parts are of a call that was interrupted
            return {item: stamp.digest for item, stamp in zip(images.ids, stamps, strict=True)}
    return {}


def load_part(path: Path, images: ImageSet) -> Features:
    """Read the features of a part that `has_part`, with the names of its pictures."""
    found = load_features(path)
    return replace(
        found,
        ids=[images.ids[int(number)] for number in found.ids],
        quarantined=[(images.ids[int(number)], reason) for number, reason in found.quarantined],
    )
