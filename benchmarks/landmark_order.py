"""How often the check of landmarks' order alarms: at real points of YuNet, and with left and right exchanged.

    python benchmarks/landmark_order.py [--work DIR]

Faces of the archives in the folder that `RSFT_DATA` names. The thresholds of `rsft.face.pictures.point_order` were
chosen by these faces, so that there is no alarm is no test of them. Points are kept in `--work`. Writes
`benchmarks/results/landmark_order.json`.
"""

import argparse
import json
import warnings
from pathlib import Path

import cv2
import numpy as np
from runs import about, data_folder

from rsft.data.images import find_images
from rsft.errors import InputError, NoFaceError, UnreadableImageError
from rsft.face.networks.load import load_model
from rsft.face.pictures.embedding import face_reader
from rsft.face.pictures.point_order import check_order

RESULTS = Path(__file__).parent / "results" / "landmark_order.json"
ARCHIVES = ("lfw-folds1-6", "lag-dev", "mfr2-dev", "frmdb-dev")
MIRRORED = [1, 0, 2, 4, 3]


def points_of(archive: Path, kept: Path) -> np.ndarray:
    """Return the points (N, 5, 2) of all faces that YuNet finds in an archive."""
    if not kept.exists():
        images, to_face, found = find_images(archive), face_reader(load_model("sface")), []
        for index in range(len(images)):
            try:
                found.append(to_face(images.read(index)).points)
            except (NoFaceError, UnreadableImageError):
                continue
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.save(kept, np.stack(found))
    return np.load(kept)


def alarms(points: np.ndarray) -> int:
    """Return for how many faces the check alarms, each by itself."""
    number = 0
    for face in points[:, None]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a face upside down is no alarm of order
            try:
                check_order(face, lambda row: "")
            except InputError:
                number += 1
    return number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--work", type=Path, default=Path("landmark-order"))
    options = parser.parse_args()
    data = data_folder(parser)
    cv2.setNumThreads(1)
    found = {"about": about(), "archives": {}}
    for name in ARCHIVES:
        points = points_of(data / f"{name}.tar", options.work / f"{name}.npy")
        told = {"faces": len(points), "alarms": alarms(points), "alarms_mirrored": alarms(points[:, MIRRORED])}
        found["archives"][name] = told
        print(name, told, flush=True)
    RESULTS.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
