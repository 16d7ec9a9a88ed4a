"""What a run was begun with, so that it is not continued with something else.

The names of the pictures, the pairs to compare and the model are noted here; their contents with what was made of each
picture, see `rsft.data.stamps`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rsft.data.columns import Strings
from rsft.data.fingerprint import ids_fingerprint
from rsft.data.images import ImageSet
from rsft.data.reading import read_json
from rsft.disk.access import PRIVATE_FOLDER
from rsft.disk.whole import replace_file
from rsft.errors import InputError
from rsft.face.evaluation.protocol import Protocol
from rsft.face.networks.bundle import FaceModel
from rsft.face.pictures.landmarks import Landmarks, points_digest

INPUTS_FILE = "inputs.json"
NONE = (0, "")  # what is noted of an input that is not given


def noted_inputs(
    sets: Mapping[str, ImageSet],
    *,
    protocols: Mapping[str, Protocol] | None = None,
    model: FaceModel | None = None,
    points: Mapping[str, Landmarks | None] | None = None,
    groups: Mapping[str, str] | None = None,
) -> dict[str, tuple[int, str]]:
    """Return what is noted of inputs: the name of each -> its number of items and a digest; no picture is read.

    Args:
        sets: Name -> pictures of each set.
        protocols: Name -> the pairs of each evaluation set.
        model: The network.
        points: Name of each set -> the points of its faces, or None if they are found.
        groups: Id -> group of each picture whose group is evaluated.
    """
    noted = {f"the {name}": (len(images), ids_fingerprint(images.ids)) for name, images in sets.items()}
    noted |= {f"the list of pairs '{name}'": (len(p.pairs), _digest(p)) for name, p in (protocols or {}).items()}
    for name, told in (points or {}).items():
        noted |= {} if told is None else {f"the landmarks of the {name}": (len(told), points_digest(told))}
    if groups is not None:
        told_groups = Strings.of([text for pair in sorted(groups.items()) for text in pair])
        noted["the groups"] = (len(groups), ids_fingerprint(told_groups))
    return noted if model is None else noted | {"the model": (1, model.fingerprint)}


def change_between(before: Sequence[Any], now: Sequence[Any]) -> str | None:
    """Say how the number of items and the digest of an input have changed; None if they are the same."""
    if list(before) == list(now):
        return None
    if NONE in (tuple(before), tuple(now)):
        return "it was not given then" if tuple(before) == NONE else "it is not given now"
    return f"it had {before[0]} items and now has {now[0]}" if before[0] != now[0] else "it is another one"


def check_same_inputs(
    folder: Path,
    sets: Mapping[str, ImageSet],
    *,
    protocols: Mapping[str, Protocol] | None = None,
    model: FaceModel | None = None,
    points: Mapping[str, Landmarks | None] | None = None,
    aligned: bool = False,
) -> None:
    """Note inputs in a folder, or compare them with those that are noted there.

    Args:
        folder: Folder that keeps what a run has found; it is created.
        sets: See `noted_inputs`.
        protocols: See `noted_inputs`.
        model: See `noted_inputs`.
        points: See `noted_inputs`.
        aligned: Whether the pictures are aligned chips already.

    Raises:
        InputError: Others are noted there. The message names the first.
    """
    noted = noted_inputs(sets, protocols=protocols, model=model, points=points)
    noted |= {"the option --aligned": (1, "")} if aligned else {}
    folder.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
    file = folder / INPUTS_FILE
    before = read_json(file, dict[str, tuple[int, str]], "the inputs of a run") if file.exists() else noted
    for name in {**before, **noted}:
        how = change_between(before.get(name, NONE), noted.get(name, NONE))
        if how is not None:
            raise InputError(
                f"{name} changed since the run was interrupted ({how}, by '{file}'): put the old one back, or "
                "start anew, with another --out or with --overwrite where the command has it."
            )
    replace_file(file, json.dumps(noted).encode())


def _digest(protocol: Protocol) -> str:
    """Return 16 hexadecimal digits that tell apart the pairs and the people of protocols."""
    digest = hashlib.blake2b("\n".join(protocol.people).encode("utf-8", "surrogatepass"), digest_size=8)
    for name, values in sorted(vars(protocol.pairs).items()):
        if isinstance(values, np.ndarray):
            digest.update(name.encode() + np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
