"""A full disk is told with path, bytes wanted and bytes free, and before the work where the size is known."""

import resource
import shutil
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn_people import draw_people, tiny_model

from rsft.data.convert import convert
from rsft.disk.access import make_private
from rsft.disk.room import save_array
from rsft.disk.tensors import save_tensors
from rsft.errors import DiskFullError
from rsft.face.embed_folder import embed_folder
from rsft.run_folder import writing

Usage = namedtuple("Usage", "total used free")


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let the system refuse larger files, as a full disk refuses any."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_does_not_fit_says_how_much_is_wanted_and_free(tmp_path: Path) -> None:
    array = np.zeros((1000, 100), np.float32)
    with files_of_at_most(65536):
        for name, write in (
            ("rows.npy", lambda path: save_array(path, array)),
            ("turned.npy", lambda path: save_array(path, array.T)),  # NumPy writes it another way
            ("weights.safetensors", lambda path: save_tensors(path, {"a": torch.zeros(100_000)})),
        ):
            with pytest.raises(
                DiskFullError, match=rf"{name}' needs 0.4 MiB \(400000 bytes\), and .* bytes\) are free"
            ):
                write(tmp_path / name)
    save_array(tmp_path / "rows.npy", array.T)
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy"), array.T)


def test_an_embedding_and_a_conversion_that_will_not_fit_are_refused_before_they_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = draw_people(tmp_path / "people", pool=3) / "pool"
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9, 9_000))
    size = sum(path.stat().st_size for path in pool.rglob("*.png"))
    with pytest.raises(DiskFullError, match=rf"out.rec' needs .*\({size} bytes\), and 0.0 MiB \(9000 bytes\) are free"):
        convert(pool, tmp_path / "out.rec")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["people"]
    read, options = list[int](), dict[str, Any](model=tiny_model(), aligned=True)
    with pytest.raises(DiskFullError, match=r"parts.* needs 0.0 MiB \(\d+ bytes\)"):
        embed_folder(pool=pool, out=tmp_path / "out", listener=lambda *told: read.append(told[1]), **options)
    assert set(read) == {0}


def test_an_interrupted_write_goes_on_when_there_is_room(tmp_path: Path) -> None:
    pool, options = draw_people(tmp_path / "people", pool=3) / "pool", dict[str, Any](model=tiny_model(), aligned=True)
    with files_of_at_most(2048), pytest.raises(DiskFullError, match=r"embeddings.npy|nuisances.npy"):
        embed_folder(pool=pool, out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
    assert len(embed_folder(pool=pool, out=tmp_path / "out", resume=True, **options)) == 18


def test_biometric_data_are_readable_by_their_owner_only_and_weights_as_the_umask_says(tmp_path: Path) -> None:
    pool = draw_people(tmp_path / "people", pool=3) / "pool"
    embed_folder(pool=pool, out=tmp_path / "out", model=tiny_model(), aligned=True)
    modes = {path.name: path.stat().st_mode & 0o777 for path in [tmp_path / "out", *(tmp_path / "out").iterdir()]}
    assert modes.pop("out") == 0o700
    assert set(modes.values()) == {0o600}
    (tmp_path / "usual").write_text("")
    tiny_model().save(tmp_path / "model")
    assert {path.stat().st_mode for path in (tmp_path / "model").iterdir()} == {(tmp_path / "usual").stat().st_mode}
    with writing(tmp_path / "run") as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "thumbnails").mkdir()
        (folder / "thumbnails" / "a.jpg").write_bytes(b"")
        make_private(folder / "thumbnails")
    assert (tmp_path / "run").stat().st_mode == (tmp_path / "people").stat().st_mode
    assert (tmp_path / "run" / "thumbnails" / "a.jpg").stat().st_mode & 0o077 == 0
