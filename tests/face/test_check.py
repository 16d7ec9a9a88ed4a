"""`check_pool` finds the problems planted in a pool, and reports no others."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsft.data.features import Features
from rsft.errors import InputError
from rsft.face.check import check_pool
from rsft.face.pictures.orl import orl_faces

PEOPLE = 6


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """Write three PNG pictures of each of six ORL people."""
    faces = orl_faces()
    for person in range(PEOPLE):
        folder = tmp_path / "pool" / f"p{person}"
        folder.mkdir(parents=True)
        for number, row in enumerate((0, 4, 8)):
            Image.fromarray(faces.read(10 * person + row)).save(folder / f"{number}.png")
    return tmp_path / "pool"


def again(path: Path, quality: int = 60) -> bytes:
    """Return the picture compressed again: it looks the same but has other bytes."""
    file = io.BytesIO()
    Image.open(path).convert("RGB").save(file, "JPEG", quality=quality)
    return file.getvalue()


def test_a_clean_pool_has_no_findings(pool: Path) -> None:
    found = check_pool(pool)
    assert (found.pop("pictures"), found.pop("identities")) == (18, PEOPLE)
    assert (found.pop("against"), found.pop("doubtful_labels")) == (None, None)
    assert (found.pop("provenance"), found.pop("withdrawn")) == ({}, None)
    assert found.pop("passed_over") == {"files": {}, "folders": []}
    assert set(found) == {"unreadable", "single", "case_collisions", "exact_duplicates", "near_duplicates"}
    assert not any(found.values())


def test_planted_problems_are_found(pool: Path) -> None:
    (pool / "p0" / "broken.png").write_bytes(b"no picture")
    (pool / "p1" / "copy.png").write_bytes((pool / "p2" / "0.png").read_bytes())
    (pool / "p3" / "again.jpg").write_bytes(again(pool / "p3" / "1.png"))
    for name in ("0.png", "1.png"):
        (pool / "p4" / name).unlink()
    (pool / "P4").mkdir()
    (pool / "P4" / "lone.jpg").write_bytes(b"")
    found = check_pool(pool)
    assert [item for item, _ in found["unreadable"]] == ["P4/lone.jpg", "p0/broken.png"]
    assert "not an image file" in found["unreadable"][1][1]
    assert found["single"] == ["P4", "p4"]
    assert found["case_collisions"] == [["P4", "p4"]]
    assert found["exact_duplicates"] == [["p1/copy.png", "p2/0.png"]]
    ((first, second, bits),) = found["near_duplicates"]
    assert (first, second) == ("p3/1.png", "p3/again.jpg")
    assert bits <= 4


def test_overlap_with_an_evaluation_set_is_found(pool: Path, tmp_path: Path) -> None:
    evaluation = tmp_path / "evaluation"
    for name in ("p1", "q"):
        (evaluation / name).mkdir(parents=True)
    faces = orl_faces()
    (evaluation / "q" / "same.png").write_bytes((pool / "p0" / "0.png").read_bytes())
    (evaluation / "q" / "near.jpg").write_bytes(again(pool / "p5" / "2.png"))
    for number in range(2):
        Image.fromarray(faces.read(300 + number)).save(evaluation / "p1" / f"{number}.png")
    found = check_pool(pool, against=evaluation)["against"]
    assert found["exact_duplicates"] == [["p0/0.png", "q/same.png"]]
    assert [pair[:2] for pair in found["near_duplicates"]] == [["p5/2.png", "q/near.jpg"]]
    assert found["identities"] == ["p1"]


def test_doubtful_labels_are_found_from_embeddings(pool: Path, tmp_path: Path) -> None:
    ids = sorted(path.relative_to(pool).as_posix() for path in pool.rglob("*.png"))
    centres = np.random.default_rng(0).normal(size=(PEOPLE, 16))
    person = np.array([int(item[1]) for item in ids])
    embeddings = centres[person] + 0.1 * np.random.default_rng(1).normal(size=(len(ids), 16))
    wrong = ids.index("p2/1.png")
    embeddings[wrong] = centres[4]
    folder = tmp_path / "embedded"
    folder.mkdir()
    Features(ids, embeddings.astype(np.float32), embeddings[:, :1], None, [], "x").save(folder)
    found = check_pool(pool, embeddings=folder)["doubtful_labels"]
    assert [item for item, _ in found] == ["p2/1.png"]
    assert -2 <= found[0][1] < 0
    assert json.loads(json.dumps(found)) == found
    (pool / "p2" / "1.png").unlink()
    with pytest.raises(InputError, match=r"pictures that are not in .*, such as 'p2/1.png'"):
        check_pool(pool, embeddings=folder)


def test_embeddings_of_one_identity_or_incomplete_embeddings_are_refused(pool: Path, tmp_path: Path) -> None:
    folder = tmp_path / "embedded"
    folder.mkdir()
    Features(["p0/0.png", "p0/1.png"], np.ones((2, 3), np.float32), np.ones((2, 1)), None, [], "x").save(folder)
    with pytest.raises(InputError, match="of a single identity"):
        check_pool(pool, embeddings=folder)
    with pytest.raises(InputError, match=r"embedding\.json' as part of a complete output of `rsft embed`"):
        check_pool(pool, embeddings=tmp_path)


def test_a_pool_without_readable_pictures_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.png").write_bytes(b"")
    found = check_pool(tmp_path, against=tmp_path)
    assert len(found["unreadable"]) == 1
    assert found["against"]["exact_duplicates"] == []


def test_licence_and_source_are_counted(pool: Path) -> None:
    items = sorted(path.relative_to(pool.parent).as_posix() for path in pool.rglob("*.png"))
    rows = [f"{item},{'CC0' if number else ''},studio,{item.split('/')[1]}" for number, item in enumerate(items)]
    manifest = pool.parent / "list.csv"
    manifest.write_text("\n".join(["path,licence,source,identity", *rows]))
    assert check_pool(manifest)["provenance"] == {"licence": {"": 1, "CC0": 17}, "source": {"studio": 18}}
