"""The search finds all near duplicates and no other pictures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rsft.data.duplicates import NEAR, difference_hash, near_duplicates, near_pairs, thumbnail
from rsft.face.pictures.orl import orl_faces


def slow(hashes: list[int], most: int) -> list[tuple[int, int, int]]:
    return [
        (a, b, bits)
        for a in range(len(hashes))
        for b in range(a + 1, len(hashes))
        if (bits := (hashes[a] ^ hashes[b]).bit_count()) <= most
    ]


def as_list(hashes: list[int], most: int) -> list[tuple[int, int, int]]:
    found = near_pairs(np.array(hashes, np.uint64), most)
    return list(zip(*(values.tolist() for values in found), strict=True))


@given(st.lists(st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2**64 - 1, 2**63]), max_size=30), st.integers(0, 9))
def test_near_pairs_agree_with_a_double_loop(hashes: list[int], most: int) -> None:
    assert as_list(hashes, most) == slow(hashes, most)


def test_every_pair_at_the_bound_is_found_and_none_beyond_it() -> None:
    """Words that differ in 4 bits are pairs, and in 5 bits they are not; fewer bands would miss some pairs."""
    generator = np.random.default_rng(0)
    words = [int(word) for word in generator.integers(0, 2**64, 3000, np.uint64)]
    for bits, expected in ((NEAR, 3000), (NEAR + 1, 0)):
        flipped = [word ^ sum(1 << int(bit) for bit in generator.choice(64, bits, replace=False)) for word in words]
        assert len(as_list(words + flipped, NEAR)) == expected


@pytest.mark.parametrize("block", [7, 1000])
def test_large_buckets_are_searched_in_blocks(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsft.data.duplicates.BLOCK", block)
    hashes = [number << 58 for number in range(64)]
    assert as_list(hashes, 2) == slow(hashes, 2)


def test_the_hash_is_stable_under_size_compression_and_light_but_differs_between_faces(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    faces = orl_faces()
    path = tmp_path_factory.mktemp("jpeg") / "x.jpg"
    rows = range(0, 400, 10)  # one picture per person
    hashes = [difference_hash(faces.read(row)) for row in rows]
    for row, expected in zip(rows, hashes, strict=True):
        face = Image.fromarray(faces.read(row))
        changed = {
            "larger": face.resize((face.width * 2, face.height * 2), Image.Resampling.BICUBIC),
            "darker": face.point(lambda value: value * 0.7),
        }
        face.save(path, quality=50)
        changed["compressed"] = Image.open(path)
        for name, picture in changed.items():
            bits = (difference_hash(np.asarray(picture.convert("RGB"))) ^ expected).bit_count()
            assert bits <= NEAR, (name, row, bits)
    assert as_list(hashes, NEAR) == []
    mirrored = [difference_hash(faces.read(row)[:, ::-1]) for row in rows]
    assert min((a ^ b).bit_count() for a, b in zip(hashes, mirrored, strict=True)) > NEAR


def test_pictures_with_equal_hashes_that_look_different_are_not_duplicates() -> None:
    """The brightness of each row rises and falls at the same places, but the level of the rows differs."""
    generator = np.random.default_rng(0)
    rises = generator.integers(-10, 11, (8, 9)).cumsum(1)
    pictures = [
        (np.kron(rises + level[:, None], np.ones((8, 8)))[:, :, None] + np.zeros(3)).clip(0, 255).astype(np.uint8)
        for level in (generator.integers(80, 160, 8), generator.integers(80, 160, 8))
    ]
    pictures += [pictures[0] // 2, np.zeros((9, 9, 3), np.uint8), np.full((5, 5, 3), 200, np.uint8)]
    hashes = np.array([difference_hash(picture) for picture in pictures], np.uint64)
    assert hashes[0] == hashes[1]
    first, second, _ = near_duplicates(hashes, np.stack([thumbnail(picture) for picture in pictures]))
    # the first picture and its darker copy, and the two blank pictures
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == [(0, 2), (3, 4)]
