"""An interrupted run is not continued with other pictures, pairs or weights, and says which changed."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_people import draw_people, tiny_model
from PIL import Image

from rsft.data.images import find_images
from rsft.data.stamps import is_same, stamp_of
from rsft.errors import InputError
from rsft.face.adaptation.recipe import Recipe
from rsft.face.compare import compare_faces
from rsft.face.embed_folder import embed_folder
from rsft.face.fit import fit
from rsft.face.pictures import embedding

RECIPE = Recipe(steps=4, batch_size=16, views=2, cut=-1, folds=1, features="covariates")


def invert(picture: Path) -> None:
    Image.fromarray(255 - np.asarray(Image.open(picture))).save(picture)


def stop_at(stage: str) -> Callable[[str, int, int], None]:
    def listener(now: str, done: int, total: int) -> None:
        if now == stage:
            raise KeyboardInterrupt

    return listener


def test_a_changed_picture_is_noticed_and_a_copied_one_is_not_taken_for_changed(tmp_path: Path) -> None:
    picture = tmp_path / "a.bmp"
    Image.fromarray(np.full((4, 4, 3), 9, np.uint8)).save(picture)
    stamp, told = stamp_of(picture), picture.stat()
    assert is_same(stamp, picture)
    os.utime(picture, ns=(0, 0))  # as after a copy
    assert is_same(stamp, picture)
    invert(picture)
    os.utime(picture, ns=(told.st_atime_ns, told.st_mtime_ns))  # same name, size and time
    assert picture.stat().st_size == told.st_size
    assert not is_same(stamp, picture)
    picture.unlink()
    assert not is_same(stamp, picture)
    assert is_same(stamp_of(picture), picture)  # missing then and now
    assert is_same(stamp_of(b"x"), b"x")
    assert not is_same(stamp_of(b"x"), b"y")


def test_pictures_in_an_archive_are_compared_one_by_one(tmp_path: Path) -> None:
    from rsft.data.convert import convert

    people = draw_people(tmp_path / "people", pool=2) / "pool"
    convert(people, tmp_path / "pool.tar")
    stamps = [stamp_of(source) for source in find_images(tmp_path / "pool.tar").sources]
    invert(people / "pool1" / "3.png")
    (tmp_path / "pool.tar").unlink()
    convert(people, tmp_path / "pool.tar")
    images = find_images(tmp_path / "pool.tar")
    changed = [
        item
        for item, stamp, source in zip(images.ids, stamps, images.sources, strict=True)
        if not is_same(stamp, source)
    ]
    assert changed == ["pool1/3.png"]


def test_a_fit_is_not_resumed_with_other_inputs(tmp_path: Path) -> None:
    """It is stopped before its training; the changes are undone one after the other, and it then ends."""
    people = draw_people(tmp_path / "people")
    sets: Any = {"pool": people / "pool", "target": people / "target", "evaluation": people / "evaluation"}

    def run(**options: Any) -> Any:
        given = sets | {"model": tiny_model(), "out": tmp_path / "run", "recipe": RECIPE, "aligned": True} | options
        return fit(**given)

    with pytest.raises(KeyboardInterrupt):
        run(listener=stop_at("tune"))
    names = [str(path) for path in (tmp_path / "run.partial").rglob("*")]
    kept = b"".join(path.read_bytes() for path in (tmp_path / "run.partial" / "cache").rglob("*") if path.is_file())
    for part in ("pool", "target", "evaluation"):
        picture = people / part / f"{part}0" / "1.png"
        shutil.copy2(picture, tmp_path / "old.png")
        invert(picture)
        with pytest.raises(
            InputError, match=rf"'{part}0/1.png' of .* has changed .*put the old .*--out or with --over"
        ):
            run(resume=True)
        shutil.copy2(tmp_path / "old.png", picture)
        shutil.copy2(picture, picture.with_name("9.png"))
        with pytest.raises(InputError, match=rf"the .*{part.replace('evaluation', 'target')} changed since .*now has"):
            run(resume=True)
        picture.with_name("9.png").unlink()
    with pytest.raises(InputError, match="the model changed since the run was interrupted"):
        run(resume=True, model=tiny_model(seed=1))
    with pytest.raises(InputError, match=r"the option --aligned changed since .* \(it is not given now"):
        run(resume=True, aligned=False)
    assert run(resume=True).out == tmp_path / "run"
    # what was kept named nobody, and nobody else could read it
    assert b"pool0/" not in kept
    assert not [name for name in names if "pool0" in name]


def test_what_was_embedded_of_other_pictures_is_not_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "PART_PICTURES", embedding.BATCH_SIZE)
    people = draw_people(tmp_path / "people")
    options: Any = {"model": tiny_model(), "aligned": True}
    embed_folder(pool=people / "pool", out=tmp_path / "whole", **options)
    with pytest.raises(ZeroDivisionError):
        embed_folder(pool=people / "pool", out=tmp_path / "out", listener=lambda *told: 1 // (72 - told[1]), **options)
    assert (tmp_path / "out.partial" / "parts").is_dir()
    invert(people / "pool" / "pool1" / "2.png")
    with pytest.raises(InputError, match=r"'pool1/2.png' of .* has changed"):
        embed_folder(pool=people / "pool", out=tmp_path / "out", resume=True, **options)
    embed_folder(pool=people / "pool", out=tmp_path / "out", overwrite=True, **options)
    old, new = (np.load(tmp_path / name / "embeddings.npy") for name in ("whole", "out"))
    assert (old != new).any(1).sum() == 1


def test_landmarks_that_have_changed_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    people = draw_people(tmp_path / "people", pool=2)
    head = "path," + ",".join(f"{axis}{number}" for number in range(1, 6) for axis in "xy") + "\n"
    points = tmp_path / "points.csv"

    def write(left_eye: int) -> None:
        rows = [f"pool{person}/{n}.png,{left_eye},40,70,40,50,60,35,80,65,80" for person in range(2) for n in range(6)]
        points.write_text(head + "\n".join(rows) + "\n")

    def run(**options: Any) -> None:
        given: dict[str, Any] = {"pool": people / "pool", "out": tmp_path / "out", "model": tiny_model()} | options
        embed_folder(**{"landmarks": points, **given})

    write(30)
    with monkeypatch.context() as patch:
        patch.setattr("rsft.face.embed_folder.discard", stop)
        with pytest.raises(KeyboardInterrupt):
            run()
    write(32)
    with pytest.raises(InputError, match=r"the landmarks of the pictures changed .*\(it is another one"):
        run(resume=True)
    with pytest.raises(InputError, match=r"the landmarks of the pictures changed .*\(it is not given now"):
        run(resume=True, landmarks=None)
    write(30)
    run(resume=True)


def stop(folder: Path) -> None:
    raise KeyboardInterrupt


def test_pictures_of_hugging_face_that_have_changed_are_noticed(tmp_path: Path) -> None:
    """Saved data sets hold them in files of many pictures."""
    datasets = pytest.importorskip("datasets")

    def save(inverted: int | None) -> None:
        shutil.rmtree(tmp_path / "saved", ignore_errors=True)
        paths = sorted(people.rglob("*.png"))
        if inverted is not None:
            invert(paths[inverted])
        rows: dict[str, list[Any]] = {"image": [{"bytes": path.read_bytes(), "path": None} for path in paths]}
        rows["label"] = [int(path.parent.name.removeprefix("pool")) for path in paths]
        features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["ann", "bob"])}
        datasets.Dataset.from_dict(rows, datasets.Features(features)).save_to_disk(tmp_path / "saved")

    people = draw_people(tmp_path / "people", pool=2) / "pool"
    options: Any = {"pool": tmp_path / "saved", "out": tmp_path / "out", "model": tiny_model(), "aligned": True}
    save(None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rsft.face.embed_folder.discard", stop)
        with pytest.raises(KeyboardInterrupt):
            embed_folder(**options)
    save(None)  # other times, the same pictures
    stamps = [stamp_of(source) for source in find_images(tmp_path / "saved").sources]
    save(3)
    assert sum(not is_same(*pair) for pair in zip(stamps, find_images(tmp_path / "saved").sources, strict=True)) == 1
    with pytest.raises(InputError, match=r"'ann/00000003.png' of .*saved' has changed since it was read"):
        embed_folder(**options, resume=True)


def test_a_comparison_is_not_continued_with_a_changed_target(tmp_path: Path) -> None:
    people = draw_people(tmp_path / "people")

    def run(listener: Callable[[str, int, int], None]) -> None:
        sets: Any = {"pool": people / "pool", "target": people / "target", "evaluation": people / "evaluation"}
        model: Any = tiny_model()
        compare_faces(**sets, out=tmp_path / "run", model=model, recipe=RECIPE, aligned=True, listener=listener)

    with pytest.raises(KeyboardInterrupt):
        run(stop_at("plan"))
    assert (tmp_path / "run" / "embedded").stat().st_mode & 0o077 == 0
    invert(people / "target" / "target2" / "5.png")
    with pytest.raises(InputError, match=r"'target2/5.png' of .* has changed since it was read for .*embedded"):
        run(stop_at("compare"))
