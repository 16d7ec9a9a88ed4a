"""What a run was begun with, so that it is not continued with something else.

The names of the pictures, the pairs to compare and the model are noted here; their contents with what was made of each
picture, see `rsft.data.stamps`.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rsft.data.fingerprint import ids_fingerprint
from rsft.data.images import ImageSet
from rsft.data.reading import read_json
from rsft.disk.access import PRIVATE_FOLDER
from rsft.disk.whole import replace_file
from rsft.errors import InputError
from rsft.face.evaluation.protocol import Protocol
from rsft.face.networks.bundle import FaceModel

INPUTS_FILE = "inputs.json"


def check_same_inputs(
    folder: Path,
    sets: Mapping[str, ImageSet],
    *,
    protocols: Mapping[str, Protocol] | None = None,
    model: FaceModel | None = None,
) -> None:
    """Note inputs in a folder, or compare them with those that are noted there.

    Args:
        folder: Folder that keeps what a run has found; it is created.
        sets: Name -> pictures of each set.
        protocols: Name -> the pairs of each evaluation set.
        model: The network.

    Raises:
        InputError: Others are noted there. The message names the first.
    """
    noted = {f"the {name}": [len(images), ids_fingerprint(images.ids)] for name, images in sets.items()}
    noted |= {f"the list of pairs '{name}'": [len(p.pairs), _digest(p)] for name, p in (protocols or {}).items()}
    if model is not None:
        noted["the model"] = [1, model.fingerprint]
    folder.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
    file = folder / INPUTS_FILE
    before = read_json(file, dict[str, tuple[int, str]], "the inputs of a run") if file.exists() else noted
    for name, (count, digest) in noted.items():
        had = tuple(before.get(name, (0, "")))
        if had != (count, digest):
            how = f"it had {had[0]} items and now has {count}" if had[0] != count else "it is another one"
            raise InputError(
                f"{name} has changed since the run was interrupted ({how}, by '{file}'): put the old one back, or "
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
