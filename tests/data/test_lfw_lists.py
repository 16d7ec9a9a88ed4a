"""LFW's own `people.txt` and `pairs.txt` are read where pictures and pairs are asked for."""

from pathlib import Path

import pytest
from forms import picture

from rsft.data.images import find_images
from rsft.errors import InputError
from rsft.face.evaluation.protocol import read_protocol

PEOPLE = "2\n1\nAnn_Lee\t2\n2\nBob_Day\t3\nEve_Fox\t1\n"
PAIRS = (
    "2\t1\nAnn_Lee\t1\t2\nAnn_Lee\t1\tBob_Day\t1\nBob_Day\t1\t2\nBob_Day\t3\tEve_Fox\t1\n"
    # the first line tells 2 folds of 1 pair of each kind
)


@pytest.fixture(params=[".jpg", ".png"])
def lfw(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    for name, count in (("Ann_Lee", 2), ("Bob_Day", 3), ("Eve_Fox", 1)):
        (tmp_path / "lfw" / name).mkdir(parents=True)
        for number in range(1, count + 1):
            (tmp_path / "lfw" / name / f"{name}_{number:04d}{request.param}").write_bytes(picture(number))
    return tmp_path / "lfw"


@pytest.mark.parametrize("content", [PEOPLE, PEOPLE.replace("\n", "\r\n"), PEOPLE.replace("\t", "   ")])
def test_people_are_listed_with_their_folds(content: str, lfw: Path) -> None:
    (lfw / "people.txt").write_bytes(content.encode())
    images = find_images(lfw / "people.txt", labelled=True)
    assert images.ids == find_images(lfw).ids
    assert images.attributes == {"fold": ["1", "1", "2", "2", "2", "2"]}
    (lfw / "dev.txt").write_text("2\nAnn_Lee\t1\nEve_Fox\t1\n")
    assert find_images(lfw / "dev.txt").people_names == ["Ann_Lee", "Eve_Fox"]
    (lfw.parent / "people.txt").write_text(PEOPLE)
    assert read_protocol(lfw.parent / "people.txt", lfw).pairs.counts == (4, 11)
    with pytest.raises(
        InputError, match=r"people.txt' names 6 pictures that do not exist, such as 'Ann_Lee/Ann_Lee_0001"
    ):
        find_images(lfw.parent / "people.txt")


def test_pairs_are_compared_in_their_folds(lfw: Path) -> None:
    (lfw.parent / "pairs.txt").write_text(PAIRS)
    protocol = read_protocol(lfw.parent / "pairs.txt", lfw)
    pairs = protocol.pairs.listed()
    assert pairs.genuine.tolist() == [True, False, True, False]
    assert pairs.fold is not None
    assert pairs.fold.tolist() == [1, 1, 2, 2]
    suffix = Path(protocol.images.ids[0]).suffix
    assert [protocol.images.ids[row] for row in (pairs.a[3], pairs.b[3])] == [
        f"Bob_Day/Bob_Day_0003{suffix}", f"Eve_Fox/Eve_Fox_0001{suffix}"
    ]  # fmt: skip
    (lfw / "dev.txt").write_text("1\nAnn_Lee\t1\t2\nBob_Day\t3\tEve_Fox\t1\n")
    dev = read_protocol(lfw / "dev.txt").pairs.listed()
    assert (dev.counts, dev.fold) == ((1, 1), None)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            PAIRS.replace("2\t1\n", "2\t2\n", 1),
            "line 5 does not fit its first line.* 2 times 2 rows .* there are 4 rows",
        ),
        (PAIRS.replace("2\t1\n", "999999999\t999999999\n", 1), "does not fit its first line"),
        (PAIRS.replace("Bob_Day\t1\t2\n", "Bob_Day\t1\tBob_Day\t2\n"), "line 4 does not fit its first line"),
        (PAIRS.replace("Bob_Day\t1\t2\n", "Bob_Day\t1\ttwo\n"), "line 4 needs names of people and numbers of pictures"),
        (PAIRS.replace("Bob_Day\t1\t2\n", "Bob_Day\t2\t2\n"), "line 4 compares 'Bob_Day/Bob_Day_0002' with itself"),
        (PAIRS.replace("Bob_Day\t1\t2\n", "Bob_Day\t1\t9\n"), "such as 'Bob_Day/Bob_Day_0009' in .* line 4"),
        (PAIRS.replace("Bob_Day\t1\t2\n", "../x\t1\t2\n"), "line 4 needs names of people"),
        (PEOPLE.replace("2\nBob", "3\nBob"), "line 4 needs the number of people of fold 2, and as many rows"),
        (PEOPLE.replace("Bob_Day\t3", "Bob_Day\tmany"), "line 5 needs a name and a number of pictures"),
        (PEOPLE.replace("2\n1", "1\n1", 1), "line 4 is beyond the 1 folds"),
    ],
)
def test_lists_that_contradict_themselves_are_refused(content: str, words: str, lfw: Path) -> None:
    (lfw / "list.txt").write_text(content)
    with pytest.raises(InputError, match=words):
        read_protocol(lfw / "list.txt")
