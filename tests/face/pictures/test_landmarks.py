"""Landmarks from a file give the same chips as the detector's points, and no face is detected."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from rsft.data.features import load_features
from rsft.data.images import find_images
from rsft.errors import InputError, NoFaceError
from rsft.face.adaptation.recipe import Recipe
from rsft.face.compare import compare_faces
from rsft.face.embed_folder import embed_folder
from rsft.face.fit import fit
from rsft.face.networks.chip_points import DLIB
from rsft.face.networks.load import load_model
from rsft.face.pictures.align import FaceAligner
from rsft.face.pictures.embedding import chip_reader, embed, face_reader
from rsft.face.pictures.landmarks import COLUMNS, Landmarks, points_digest, points_of_sets, read_landmarks
from rsft.face.pictures.orl import orl_faces
from rsft.face.plan import plan_folders

HEADER = ",".join(["path", *COLUMNS])
RECIPE = Recipe(steps=4, batch_size=8, views=2, learning_rate=1e-4)


def write_points(path: Path, names: Iterable[str], points: np.ndarray) -> Path:
    """Write a landmarks file with the same points for every picture."""
    row = ",".join(f"{value:.4f}" for value in points.ravel())
    path.write_text("\n".join([HEADER, *(f"{name},{row}" for name in names)]))
    return path


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photographs")
    faces = orl_faces()
    for number, index in enumerate((0, 40, 80)):
        (root / f"p{number}").mkdir()
        Image.fromarray(faces.read(index)).save(root / f"p{number}" / "1.png")
    return root


def test_landmarks_replace_the_detector(photographs: Path, tmp_path: Path) -> None:
    model = load_model("dlib")
    find = face_reader(model)
    images = find_images(photographs)
    lines = [HEADER]
    for row, item in enumerate(images.ids):
        points = find(images.read(row)).points
        assert points is not None
        lines.append(",".join([item, *(f"{value:.4f}" for value in points.ravel())]))
    (tmp_path / "l.csv").write_text("\n".join(lines))
    detected = embed(model, images)
    told = embed_folder(pool=photographs, out=tmp_path / "out", landmarks=tmp_path / "l.csv")
    np.testing.assert_allclose(told.embeddings, detected.embeddings, atol=0.02)
    assert load_features(tmp_path / "out").covariates["yaw"] == pytest.approx(detected.covariates["yaw"], abs=1e-3)


def test_pictures_without_landmarks_or_with_landmarks_outside_are_left_out(
    photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def detect(*arguments: object) -> None:
        raise AssertionError("the detector was called")

    monkeypatch.setattr(FaceAligner, "_detect", detect)
    good = np.array([[30, 40], [60, 40], [45, 60], [35, 80], [55, 80]], np.float32)
    points = {"p0/1.png": good, "p1/1.png": good + 500}
    features = embed(load_model("dlib"), find_images(photographs), landmarks=points)
    assert features.ids == ["p0/1.png"]
    assert features.quarantined == [("p1/1.png", "its landmarks lie outside the picture"), ("p2/1.png", "no landmarks")]


def test_parts_embedded_with_other_landmarks_are_not_reused(photographs: Path, tmp_path: Path) -> None:
    images, model = find_images(photographs), load_model("dlib")
    good = np.array([[30, 40], [60, 40], [45, 60], [35, 80], [55, 80]], np.float32)
    first, second = (
        embed(model, images, landmarks=dict.fromkeys(images.ids, points), folder=tmp_path / "kept")
        for points in (good, good + 3)
    )
    anew = embed(model, images, landmarks=dict.fromkeys(images.ids, good + 3))
    np.testing.assert_array_equal(second.embeddings, anew.embeddings)
    assert not np.allclose(first.embeddings, second.embeddings)


@pytest.fixture(scope="module")
def chips(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return a few aligned chips, in which the points of a face are those of the template."""
    root = tmp_path_factory.mktemp("chips")
    for part, people in (("pool", 8), ("target", 1), ("evaluation", 3)):
        for person in sorted((faces / part).iterdir())[-people:]:
            shutil.copytree(person, root / part / person.name)
    return {part: root / part for part in ("pool", "target", "evaluation")}


def test_a_plan_with_landmarks_equals_the_plan_for_the_aligned_chips(
    chips: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The detector, whose calls are counted, runs on a set whose pictures the file does not name."""
    looked_at = 0

    def detect(*arguments: Any) -> None:
        nonlocal looked_at
        looked_at += 1
        raise NoFaceError("none")

    monkeypatch.setattr(FaceAligner, "_detect", detect)
    sides = {part: chips[part] for part in ("pool", "target")}
    images = {part: find_images(path) for part, path in sides.items()}
    names = [item for side in images.values() for item in side.ids]
    both = write_points(tmp_path / "both.csv", names, np.array(DLIB))
    plan = plan_folders(**sides, landmarks=both).plan
    assert looked_at == 0
    aligned = plan_folders(**sides, aligned=True).plan
    np.testing.assert_allclose(plan.log_ratio, aligned.log_ratio, atol=1e-5)
    with pytest.raises(InputError, match=f"none of the {len(images['target'])} pictures"):
        plan_folders(**sides, landmarks=write_points(tmp_path / "pool.csv", images["pool"].ids, np.array(DLIB)))
    assert looked_at == len(images["target"])


def test_a_comparison_uses_landmarks(chips: dict[str, Any], tmp_path: Path) -> None:
    """The embeddings equal those that `embed` computes with the same landmarks."""

    def listener(stage: str, done: int, total: int) -> None:
        if stage == "plan":
            raise KeyboardInterrupt

    def run(**options: Any) -> None:
        recipe = RECIPE.model_copy(update={"folds": 1})
        compare_faces(**chips, recipe=recipe, out=tmp_path / "run", listener=listener, **options)

    images = find_images(chips["pool"])
    names = [item for path in chips.values() for item in find_images(path).ids]
    points = write_points(tmp_path / "points.csv", names, np.array(DLIB) + 6)
    with pytest.raises(InputError, match="aligned chips have none"):
        run(landmarks=points, aligned=True)
    assert not (tmp_path / "run").exists()
    with pytest.raises(KeyboardInterrupt):
        run(landmarks=points)
    (folder,) = (tmp_path / "run" / "embedded" / "pool").iterdir()
    of_these = points_of_sets(points, {"pool": images}, False)["pool"]
    anew = embed(load_model("dlib"), images, views=RECIPE.views, landmarks=of_these)
    np.testing.assert_array_equal(load_features(folder / "000000").embeddings, anew.embeddings)


def test_a_fit_is_not_resumed_with_other_landmarks(chips: dict[str, Any], tmp_path: Path) -> None:
    names = [item for path in chips.values() for item in find_images(path).ids]
    these, others = (write_points(tmp_path / f"{moved}.csv", names, np.array(DLIB) + moved) for moved in (0, 6))

    def run(landmarks: Path, stop_at: str, **options: Any) -> Any:
        def listener(stage: str, done: int, total: int) -> None:
            if stage == stop_at:
                raise KeyboardInterrupt

        fit(**chips, recipe=RECIPE, out=tmp_path / "run", landmarks=landmarks, listener=listener, **options)

    with pytest.raises(KeyboardInterrupt):
        run(these, "tune")
    with pytest.raises(InputError, match="the landmarks of the pool changed since the run was interrupted"):
        run(others, "tune", resume=True)
    run(these, "", resume=True)
    assert f'landmarks = "{these}"' in (tmp_path / "run" / "config.toml").read_text()


def test_an_id_of_two_pictures_is_refused_but_one_picture_may_be_in_two_sets(photographs: Path, tmp_path: Path) -> None:
    good = np.array([[30, 40], [60, 40], [45, 60], [35, 80], [55, 80]])
    shutil.copytree(photographs, tmp_path / "copy")
    pool, target = find_images(photographs), find_images(tmp_path / "copy")
    path = write_points(tmp_path / "l.csv", ["p1/1.png"], good)
    with pytest.raises(InputError, match=r"'p1/1.png', a picture of the pool and another of the target"):
        points_of_sets(path, {"pool": pool, "target": target}, aligned=False)
    os.symlink(photographs, tmp_path / "link")
    linked = find_images(tmp_path / "link")
    same = points_of_sets(path, {"pool": pool, "target": linked, "retention": target.subset([0])}, aligned=False)
    assert same["retention"] is None
    for name in ("pool", "target"):
        points = same[name]
        assert points is not None
        np.testing.assert_array_equal(points["p1/1.png"], good)
    assert points_of_sets(None, {"pool": pool}, aligned=True) == {"pool": None}
    with pytest.raises(InputError, match="embedded already"):
        points_of_sets(path, {}, aligned=False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,x1\na,1\n", "it lacks y1, x2"),
        (f"{HEADER}\na,1,2,3,4,5,6,7,8,9,ten\n", "line 2 needs ten numbers"),
        (f"{HEADER}\na,1,2,3,4,5,6,7,8,9,nan\n", "line 2 has no face"),
        (f"{HEADER}\na,1,2,1,2,1,2,1,2,1,2\n", "line 2 has no face"),
        (f"{HEADER}\na,1,1,9,1,5,5,1,9,9,1e39\n", "line 2 has no face"),
        (f"{HEADER}\na,1,1,9,1,5,5,1,9,9,9\nb,1,1,9,1,5,5,1,9,9,inf\nc,,,,,,,,,,\n", "line 3 has no face"),
        (f"{HEADER}\na,1,1,9,1,5,5,1,9,9,9\nb,1,1,9,1,,5,1,9,9,9\nc,,,,,,,,,,\n", "line 3 needs ten.* to float: ''"),
        (f"{HEADER}\na,1,1,9,1,5,5,1,9,9,9\na,1,1,9,1,5,5,1,9,9,8\n", "line 3 names 'a' twice, .* in .* line 2"),
        (
            f"{HEADER}\n" + "".join(f"{name},1,1,9,1,5,{row},1,9,9,9\n" for row, name in enumerate("dcbabc")),
            "line 6 names 'b' twice, .* in .* line 4",
        ),
    ],
)
def test_invalid_landmarks_are_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        read_landmarks(tmp_path / "l.csv")


def test_numbers_are_read_as_python_reads_them(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(f'{HEADER}\nb, 1 ,+1,9.,1e0,.5e1,5,1,9,"1_0\t",9\na,1,1,9,1,5,5,1,9,10,9\n')
    points = read_landmarks(tmp_path / "l.csv")
    np.testing.assert_array_equal(points["b"], np.array([[1, 1], [9, 1], [5, 5], [1, 9], [10, 9]], np.float32))
    np.testing.assert_array_equal(points["a"], points["b"])


@pytest.mark.parametrize("kind", ["double", "float", "halffloat", "int16", "uint64", "string", "large_string"])
def test_all_types_of_parquet_are_read(kind: str, tmp_path: Path) -> None:
    """A column of numbers may have any type whose text is a number; a missing value is an error in each."""
    points = np.array([[1, 2], [9, 1], [5, 5], [1, 9], [9, 9]], np.float32)
    values = {name: [str(int(value))] * 2 for name, value in zip(COLUMNS, points.ravel(), strict=True)}

    def write(columns: dict[str, list]) -> Path:
        typed = {name: pyarrow.array(told).cast(pyarrow.float64()).cast(kind) for name, told in columns.items()}
        names = pyarrow.array(["b", "a"]).dictionary_encode()
        more = pyarrow.array([b"not text\xff", None])
        pyarrow.parquet.write_table(pyarrow.table({"more": more, "path": names, **typed}), tmp_path / "l.parquet")
        return tmp_path / "l.parquet"

    read = read_landmarks(write(values))
    assert list(read) == ["a", "b"]
    assert all(row.dtype == np.float32 and np.array_equal(row, points) for row in read.values())
    with pytest.raises(InputError, match="row 2 needs ten numbers"):
        read_landmarks(write(values | {"y3": ["5", None]}))


def test_landmarks_are_the_mapping_that_they_stand_for() -> None:
    names = ["b/1", "ü", "", "a", "b", "\U0001f600", "\uffff", "b/", "a/b"]
    points = np.random.default_rng(0).normal(size=(len(names), 5, 2)).astype(np.float32)
    told = Landmarks.of(names, points)
    plain = dict(zip(names, points, strict=True))
    assert list(told) == sorted(plain)
    assert len(told) == len(plain)
    assert all(np.array_equal(told[name], points) for name, points in plain.items())
    for absent in ("b/0", "a\ud800", "\U0001f601", "\0"):
        assert absent not in told
        assert told.get(absent) is None
    assert not Landmarks.of([], points[:0])


def test_the_digest_tells_landmarks_apart_whatever_holds_them() -> None:
    names, points = ["ab", "c", "d"], np.random.default_rng(0).normal(size=(3, 5, 2)).astype(np.float32)
    told = points_digest(Landmarks.of(names, points))
    again = np.array([2, 0, 1])
    plain = {names[row]: points[row].astype(float) for row in again}
    assert told == points_digest(plain) == points_digest(Landmarks.of([names[row] for row in again], points[again]))
    moved = points.copy()
    moved[2, 4, 1] = np.nextafter(moved[2, 4, 1], 9)
    others = [
        (names, moved),
        (names, points[again]),
        (["a", "bc", "d"], points),
        (names[:2], points[:2]),
        ([], points[:0]),
    ]
    digests = {points_digest(Landmarks.of(*other)) for other in others}
    assert len(digests | {told}) == len(others) + 1


def test_landmarks_of_other_pictures_or_of_chips_are_refused(photographs: Path, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(f"{HEADER}\na,1,1,9,1,5,5,1,9,9,9\n")
    with pytest.raises(InputError, match="landmarks for none of the 3 pictures"):
        points_of_sets(tmp_path / "l.csv", {"pool": find_images(photographs)}, False)
    with pytest.raises(InputError, match="aligned chips have none"):
        points_of_sets(tmp_path / "l.csv", {"pool": find_images(photographs)}, True)


def test_the_large_and_central_face_of_several_is_used(photographs: Path) -> None:
    """With a person in the middle and a smaller bystander at one side, the chip shows the person."""
    person, bystander = (
        np.asarray(Image.open(photographs / f"p{number}" / "1.png").convert("RGB")) for number in (0, 1)
    )
    small = np.asarray(Image.fromarray(bystander).resize((64, 78)))
    to_chip, find = chip_reader(load_model("dlib")), face_reader(load_model("dlib"))
    canvas = np.full((150, 330, 3), 90, np.uint8)
    canvas[19:131, 119:211] = person
    for left in (10, 256):
        scene = canvas.copy()
        scene[40:118, left : left + 64] = small
        face = find(scene)
        assert face.faces == 2
        assert face.points is not None
        assert 119 < face.points.mean(0)[0] < 211
        unlike = {name: np.abs(face.chip - to_chip(one).astype(float)).mean() for name, one in
                  (("person", person), ("bystander", bystander))}  # fmt: skip
        assert unlike["person"] < 0.6 * unlike["bystander"]
