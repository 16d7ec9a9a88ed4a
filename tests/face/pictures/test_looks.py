"""Each picture is looked at once, also over interruptions, and what was found serves all that follows."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_people import draw_people, tiny_model
from PIL import Image

from rsft.data.images import ImageSet, find_images
from rsft.face.networks.load import load_model
from rsft.face.pictures import looks as looks_module
from rsft.face.pictures.align import AlignedFace, FaceAligner
from rsft.face.pictures.embedding import embed
from rsft.face.pictures.looks import Look, Looks
from rsft.face.pictures.orl import orl_faces

BROKEN, WITHOUT_FACE = "pool0/broken.jpg", "pool1/missing.png"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    """72 chips, and between them a file that is no picture and one that was removed after it was listed."""
    root = draw_people(tmp_path_factory.mktemp("people")) / "pool"
    (root / BROKEN).write_bytes(b"no picture")
    Image.new("RGB", (112, 112)).save(root / WITHOUT_FACE)
    images = find_images(root)
    (root / WITHOUT_FACE).unlink()
    return images


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often each picture was opened; a picture that is set to a negative number ends the run."""
    counts = Counter[int]()
    original = ImageSet.read_bytes

    def counted(self: ImageSet, index: int) -> bytes:
        if counts[index] < 0:
            raise KeyboardInterrupt
        counts[index] += 1
        return original(self, index)

    monkeypatch.setattr(ImageSet, "read_bytes", counted)
    return counts


def looks_at(images: ImageSet, folder: Path | None = None, **options: Any) -> Looks:
    return Looks(tiny_model(), images, folder=folder, **{"aligned": True, **options})


def as_plain(looks: list[Look]) -> list[tuple[Any, ...]]:
    return [
        (dict(look.covariates), None if look.points is None else look.points.tolist(), look.reason) for look in looks
    ]


def test_each_picture_is_opened_once_in_whatever_order_it_is_asked_for(images: ImageSet, read: Counter[int]) -> None:
    looks = looks_at(images)
    first = looks(np.array([5, 3, 9]))
    again = looks(np.array([9, 60, 5, 5]))
    assert read == Counter([3, 5, 9, 60])
    assert looks.decoded == 4
    assert looks.known.tolist() == [3, 5, 9, 60]
    assert as_plain([again[0], again[2], again[3]]) == as_plain([first[2], first[0], first[0]])
    assert looks(np.empty(0, np.int64)) == []
    whole = embed(tiny_model(), images, aligned=True)  # which measures the same
    row = list(whole.ids).index(images.ids[60])
    assert {name: values[row] for name, values in whole.covariates.items()} == again[1].covariates


def test_failures_are_kept_with_their_reason(images: ImageSet, tmp_path: Path, read: Counter[int]) -> None:
    every = np.arange(len(images))
    looks = looks_at(images, tmp_path)
    failed = {images.ids[item] for item in every.tolist() if looks(every)[item].reason is not None}
    assert failed == {BROKEN, WITHOUT_FACE}
    told = [(BROKEN, "unreadable: not an image file"), (WITHOUT_FACE, "unreadable: No such file or directory")]
    assert looks.quarantined() == told
    read.clear()
    continued = looks_at(images, tmp_path)
    assert continued.quarantined() == told
    assert as_plain(continued(every)) == as_plain(looks(every))
    assert (sum(read.values()), continued.decoded) == (0, 0)
    assert continued.known.tolist() == every.tolist()


def test_after_a_stop_in_the_middle_of_a_line_only_that_picture_is_opened_again(
    images: ImageSet, tmp_path: Path, read: Counter[int]
) -> None:
    every = np.arange(len(images))
    whole = as_plain(looks_at(images, tmp_path)(every))
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    ends = [place for place, byte in enumerate(content) if byte == ord("\n")]
    for end in (0, 1, ends[0], ends[0] + 1, ends[5] - 3, ends[20] + 2, len(content) - 1):
        file.write_bytes(content[:end])
        read.clear()
        assert as_plain(looks_at(images, tmp_path)(every)) == whole
        kept = content[:end].count(b"\n")
        assert sum(read.values()) == len(images) - kept
        assert file.read_bytes() == content
        read.clear()
        looks_at(images, tmp_path)(every)
        assert not read


def test_a_call_that_is_interrupted_keeps_what_it_had_found(
    images: ImageSet, tmp_path: Path, read: Counter[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most the parts under way are lost."""
    monkeypatch.setattr(looks_module, "PART_PICTURES", 8)
    every = np.arange(len(images))
    read[50] = -1
    with pytest.raises(KeyboardInterrupt):
        looks_at(images, tmp_path)(every)
    assert len(looks_at(images, tmp_path).known) == 48
    del read[50]
    found = as_plain(looks_at(images, tmp_path)(every))
    assert found == as_plain(looks_at(images)(every))
    opened = read - Counter(every.tolist())  # the second time without a file
    assert set(opened) == set(every.tolist())
    assert {item for item, times in opened.items() if times > 1} <= set(range(48, 56))


def test_other_chips_and_other_ways_to_find_faces_are_looked_at_anew(
    images: ImageSet, tmp_path: Path, read: Counter[int]
) -> None:
    """Their covariates and points differ. Each way continues its own file."""
    items = np.array([2, 7])
    points = {images.ids[item]: np.array(tiny_model().template, np.float32) for item in items.tolist()}
    moved = {item: of_item + 1 for item, of_item in points.items()}
    ways: list[dict[str, Any]] = [{}, {"aligned": False, "landmarks": points}, {"aligned": False, "landmarks": moved}]
    found = []
    for number, options in enumerate(ways, 1):
        found.append(as_plain(looks_at(images, tmp_path, **options)(items)))
        assert sum(read.values()) == 2 * number
    Looks(load_model("dlib"), images, aligned=True, folder=tmp_path)(items)
    assert sum(read.values()) == 8
    assert [as_plain(looks_at(images, tmp_path, **options)(items)) for options in ways] == found
    assert sum(read.values()) == 8
    assert found[0] != found[1] != found[2]


def test_faces_are_detected_once_and_embedded_by_their_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by points from the file of an interrupted run, to the same embeddings, bit for bit."""
    model, images = load_model("dlib"), orl_faces().subset([0, 100, 200])
    items = np.arange(3)
    expected = embed(model, images)
    detected = []
    original = FaceAligner.__call__

    def counted(self: FaceAligner, image: np.ndarray) -> AlignedFace:
        detected.append(image)
        return original(self, image)

    monkeypatch.setattr(FaceAligner, "__call__", counted)
    looks = Looks(model, images, folder=tmp_path)
    found = looks(items)
    assert len(detected) == 3
    for name, values in expected.covariates.items():
        assert [look.covariates[name] for look in found] == values.tolist()
    for known in (looks, Looks(model, images, folder=tmp_path)):
        assert as_plain(known(items)) == as_plain(found)
        again = embed(model, images, landmarks=known.points(items))
        np.testing.assert_array_equal(again.embeddings, expected.embeddings)
    assert len(detected) == 3


def test_a_face_outside_its_picture_is_left_out_at_once(images: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its points it could not be embedded."""
    outside = AlignedFace(np.zeros((112, 112, 3), np.uint8), np.full((5, 2), -3, np.float32))
    monkeypatch.setattr(looks_module, "face_finder", lambda *arguments, **options: lambda image, item: outside)
    (look,) = looks_at(images, aligned=False)(np.array([4]))
    assert look.reason == "its landmarks lie outside the picture"
