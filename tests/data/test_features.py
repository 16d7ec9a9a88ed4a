"""A damaged or foreign output of `rsft embed` is refused by the name of the file that is wrong."""

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rsft.data.features import Features, load_features
from rsft.data.matrix import read_matrix
from rsft.data.packed_views import PackedViews
from rsft.errors import InputError

ROWS = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
VIEWS = np.zeros((2, 2, 4), np.float16)
KEPT = np.array([[True, False], [True, True]])
Damage = Callable[[Path], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The features of two pictures, with all of their views."""
    Features(["a/1", "a/2"], ROWS, ROWS, VIEWS, [("a/3", "no face")], "x", {"light": np.zeros(2)}).save(tmp_path)
    return tmp_path


def cut(file: str, size: int) -> Damage:
    return lambda folder: (folder / file).write_bytes((folder / file).read_bytes()[:size])


def replaced(file: str, old: bytes, new: bytes) -> Damage:
    return lambda folder: (folder / file).write_bytes((folder / file).read_bytes().replace(old, new, 1))


def described(**entries: Any) -> Damage:
    def damage(folder: Path) -> None:
        found = json.loads((folder / "embedding.json").read_text()) | entries
        (folder / "embedding.json").write_text(json.dumps(found))

    return damage


def written(file: str, text: str) -> Damage:
    return lambda folder: (folder / file).write_text(text)


def stored(file: str, array: Any) -> Damage:
    return lambda folder: np.save(folder / file, array)


def inflated(folder: Path) -> None:
    """Write covariates of a kilobyte that unpack to 64 MiB."""
    with zipfile.ZipFile(folder / "covariates.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("light.npy", bytes(1 << 26))


def piped(folder: Path) -> None:
    (folder / "embedding.json").unlink()
    os.mkfifo(folder / "embedding.json")


# damage -> the file that is named
DAMAGES: dict[str, tuple[Damage, str]] = {
    "no description": (lambda folder: (folder / "embedding.json").unlink(), "embedding.json"),
    "a pipe": (piped, "embedding.json"),
    "a list": (written("embedding.json", "[]"), "embedding.json"),
    "a deep list": (written("embedding.json", "[" * 100_000), "embedding.json"),
    "items are a number": (described(items=3), "embedding.json"),
    "items are no text": (described(items=[1, None]), "embedding.json"),
    "an item twice": (described(items=["a/1", "a/1"]), "embedding.json"),
    "another number of items": (described(items=["a/1"]), "embeddings.npy"),
    "quarantined is a number": (described(quarantined=1.0), "embedding.json"),
    "a reason lacks": (described(quarantined=[["a/3"]]), "embedding.json"),
    "no embeddings": (lambda folder: (folder / "embeddings.npy").unlink(), "embeddings.npy"),
    "an empty file": (cut("embeddings.npy", 0), "embeddings.npy"),
    "half a file": (cut("embeddings.npy", 140), "embeddings.npy"),
    "a broken header": (replaced("embeddings.npy", b"}", b"("), "embeddings.npy"),
    "a header that lies": (replaced("embeddings.npy", b"(2, 3), }   ", b"(2, 3000), }"), "embeddings.npy"),
    "no array but an archive": (
        lambda folder: shutil.copy(folder / "covariates.npz", folder / "embeddings.npy"),
        "embeddings.npy",
    ),
    "objects": (stored("embeddings.npy", np.array([[1, "a", None]] * 2, object)), "embeddings.npy"),
    "text": (stored("embeddings.npy", np.array([["a"], ["b"]])), "embeddings.npy"),
    "whole numbers": (stored("embeddings.npy", np.ones((2, 3), np.int64)), "embeddings.npy"),
    "complex numbers": (stored("embeddings.npy", ROWS.astype(np.complex64)), "embeddings.npy"),
    "the other byte order": (stored("embeddings.npy", ROWS.astype(">f4")), "embeddings.npy"),
    "a vector": (stored("embeddings.npy", ROWS[0]), "embeddings.npy"),
    "not a number": (stored("embeddings.npy", ROWS * [[1], [np.nan]]), "embeddings.npy"),
    "nuisances of fewer pictures": (stored("nuisances.npy", ROWS[:1]), "nuisances.npy"),
    "infinite nuisances": (stored("nuisances.npy", ROWS + np.inf), "nuisances.npy"),
    "activations of fewer pictures": (stored("activations.npy", VIEWS[:1]), "activations.npy"),
    "activations without views": (stored("activations.npy", ROWS), "activations.npy"),
    "more kept views than there are": (stored("kept_views.npy", KEPT), "activations.npy"),
    "kept views of numbers": (stored("kept_views.npy", KEPT.astype(int)), "kept_views.npy"),
    "kept views of others": (stored("kept_views.npy", KEPT[:1]), "kept_views.npy"),
    "covariates cut": (cut("covariates.npz", 60), "covariates.npz"),
    "a bomb": (inflated, "covariates.npz"),
    "covariates of fewer pictures": (
        lambda folder: np.savez(folder / "covariates.npz", light=np.zeros(1)),
        "covariates.npz",
    ),
    "covariates of text": (
        lambda folder: np.savez(folder / "covariates.npz", light=np.array(["a", "b"])),
        "covariates.npz",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_refused_by_the_name_of_the_file(name: str, folder: Path) -> None:
    damage, file = DAMAGES[name]
    damage(folder)
    with pytest.raises(InputError) as refused:
        load_features(folder)
    assert f"'{folder / file}'" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400 + len(str(folder))


def test_whole_features_are_read_as_they_were_saved(folder: Path, tmp_path: Path) -> None:
    found = load_features(folder)
    assert (found.ids, found.quarantined, found.fingerprint) == (["a/1", "a/2"], [("a/3", "no face")], "x")
    np.testing.assert_array_equal(found.embeddings, ROWS)
    assert found.embeddings.flags.writeable
    (tmp_path / "packed").mkdir()
    Features(["a/1", "a/2"], ROWS, ROWS, PackedViews(VIEWS.reshape(4, 4)[:3], KEPT), [], "x").save(tmp_path / "packed")
    packed = load_features(tmp_path / "packed").activations
    assert isinstance(packed, PackedViews)
    np.testing.assert_array_equal(packed.kept, KEPT)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (20, 4), (("
        + b" " * 59
        + b"\n"
        + bytes(320),
        b"\x93NUMPY\x01\x00\x76\x00"
        + b"{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999, 4), }".ljust(117)
        + b"\n",
        b"PK\x03\x04",
        b"\x93NUMPY\x01\x00\x76\x00"
        + b"{'descr': '<f4', 'fortran_order': False, 'shape': (4, 4), []: 1}".ljust(117)
        + b"\n",
    ],
)
def test_a_damaged_matrix_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.npy").write_bytes(content)
    with pytest.raises(InputError, match=r"cannot read '.*m\.npy' as a feature matrix"):
        read_matrix(tmp_path / "m.npy")
