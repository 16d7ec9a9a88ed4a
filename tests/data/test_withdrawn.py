from pathlib import Path

import numpy as np
import pytest
from forms import FORMS, picture, record, write_rec
from PIL import Image

from rsft.data.images import find_images
from rsft.data.withdrawn import withdrawn_set
from rsft.errors import WithdrawnDataWarning


@pytest.mark.parametrize(
    ("path", "identities", "found"),
    [
        ("data/faces_emore/train.rec", ["0", "1"], "MS-Celeb-1M"),
        ("data/ms1m-retinaface-t1/train.rec", ["0"], "MS-Celeb-1M"),
        ("data/MegaFace/images", ["a"], "MegaFace"),
        ("data/VGG-Face2/train", ["a"], "VGGFace2"),
        ("data/faces", ["m.01_0d4", "m.0abc1", "m.04yyy"], "MS-Celeb-1M"),
        ("data/faces", ["n000001", "n000002", "n009279"], "VGGFace2"),
        ("data/faces", ["10000001@N00", "35468148136@N01", "8675309@N02"], "MegaFace"),
        ("data/faces", ["n000001", "ann", "bob"], None),
        ("data/faces", ["n000001"], None),  # a single name is no evidence
        ("data/lfw", ["Ann_Smith", "Bob", "Cy"], None),
    ],
)
def test_a_withdrawn_set_is_recognised_by_names(path: str, identities: list[str], found: str | None) -> None:
    told = withdrawn_set(Path("/x") / path, identities)
    assert (told or "").partition(",")[0] == (found or "")


def test_a_rec_of_a_withdrawn_set_warns_by_its_number_of_identities(tmp_path: Path) -> None:
    path = write_rec(tmp_path / "train.rec", {key: record(0, key, picture(key)) for key in range(3)})
    for text, words in (("85742,112,112", "MS-Celeb-1M"), ("8631,112,112", "VGGFace2"), ("672057,112,112", "MegaFace")):
        (tmp_path / "property").write_text(text)
        with pytest.warns(WithdrawnDataWarning, match=f"{words}, by the number of identities"):
            find_images(path)
    for text in ("10572,112,112", "no number", ""):  # CASIA-WebFace, and files without a number
        (tmp_path / "property").write_text(text)
        assert len(find_images(path)) == 3


def test_a_withdrawn_set_is_recognised_by_the_lst_beside_its_rec(tmp_path: Path) -> None:
    """The `.lst` has the format of insightface: aligned, path, label."""
    path = write_rec(tmp_path / "train.rec", {key: record(0, key, picture(key)) for key in range(4)})
    for people, words in (
        (("n000001", "n000002", "n000003", "n000004"), "VGGFace2"),
        (("ann", "bob", "cy", "di"), None),
    ):
        lines = [f"1\t/data/faces/{person}/0001_01.jpg\t{key}\n" for key, person in enumerate(people)]
        (tmp_path / "train.lst").write_text("".join(lines))
        assert (withdrawn_set(path, ["0", "1", "2", "3"]) or "").partition(",")[0] == (words or "")
    (tmp_path / "train.lst").write_bytes(b"\xff" * 100)
    assert withdrawn_set(path, ["0", "1", "2", "3"]) is None


def test_a_folder_with_freebase_ids_warns(tmp_path: Path) -> None:
    for person in ("m.01_0d4", "m.0abc1", "m.04yyy"):
        (tmp_path / person).mkdir()
        Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / person / "1.png")
    with pytest.warns(WithdrawnDataWarning, match="appears to be MS-Celeb-1M.* check that you may use it"):
        find_images(tmp_path)


@pytest.mark.parametrize("form", FORMS)
def test_other_pools_give_no_warning(form: str, tmp_path: Path) -> None:
    find_images(FORMS[form](tmp_path))
