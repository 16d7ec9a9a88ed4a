"""What a finished run folder says about the people in its pictures: see `docs/privacy.md`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from drawn_people import draw_people, tiny_model
from safetensors.numpy import load_file

from rsft.data.features import EMBEDDINGS_FILE, Features
from rsft.data.images import find_images
from rsft.face.adaptation.recipe import Recipe
from rsft.face.fit import fit
from rsft.face.networks.bundle import FaceModel
from rsft.face.pictures.embedding import embed
from rsft.face.runs.pseudonyms import SALT_FILE

SETS = ("pool", "target", "evaluation")
SURNAME = "-of-the-pictures"  # of every person, so that no name is a word of the report


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FaceModel]:
    """A run on people with names, started beside its inputs; the folder above them, and the tuned network."""
    root = draw_people(tmp_path_factory.mktemp("private"))
    for part in (*SETS, "retention"):
        for person in list((root / part).iterdir()):
            for picture in list(person.iterdir()):
                picture.rename(picture.with_name(f"shot-{person.name}-{picture.name}"))
            person.rename(person.with_name(person.name + SURNAME))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        recipe = Recipe(steps=2, batch_size=8, views=2, cut=-1)
        inputs: dict[str, Any] = {part: Path(part) for part in SETS}
        result = fit(**inputs, model=tiny_model(), out=Path("run"), recipe=recipe, aligned=True)
    return root, result.model


def texts(folder: Path) -> dict[Path, str]:
    """Return what each file says: Parquet as its columns, others as Latin-1, in which every byte is a letter."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        path: str(pyarrow.parquet.read_table(path).to_pydict())
        if path.suffix == ".parquet"
        else path.read_bytes().decode("latin1")
        for path in files
    }


def test_no_file_names_a_person_a_picture_or_where_the_pictures_lie(run: tuple[Path, FaceModel]) -> None:
    root, _ = run
    found = texts(root / "run")
    assert {"report.html", "model_card.md", "metrics.json", "plan.json", "weights.safetensors"} <= {
        p.name for p in found
    }
    for path, text in found.items():
        for secret in (SURNAME, "shot-", str(root), str(root.resolve()), str(Path.home())):
            assert secret not in text, (path, secret)


def holding(found: dict[Path, str], features: Features) -> list[Path]:
    """Return the files that hold the first half of an embedding, plain or of length one, or of their mean."""
    rows = features.embeddings
    pieces = [
        row[: len(row) // 2].astype(np.float32).tobytes().decode("latin1")
        for row in (*rows, *(rows / np.linalg.norm(rows, axis=1, keepdims=True)), rows.mean(0))
    ]
    return [path for path, text in found.items() if any(piece in text for piece in pieces)]


def test_no_file_holds_an_embedding(run: tuple[Path, FaceModel], tmp_path: Path) -> None:
    """Neither as numbers in a binary file nor as a list of that length in JSON."""
    root, tuned = run
    found = texts(root / "run")
    for model in (tiny_model(), tuned):
        for part in SETS:
            features = embed(model, find_images(root / part), aligned=True)
            assert holding(found, features) == []
    features.save(tmp_path)
    assert holding(texts(tmp_path), features) == [tmp_path / EMBEDDINGS_FILE]
    for path in (path for path in found if path.suffix == ".json"):
        lists = set(long_lists(json.loads(path.read_text()), tuned.embedding_size))
        assert lists <= {"parity"}, path  # outputs for drawn chips


def long_lists(value: Any, size: int, name: str = "") -> Iterator[str]:
    """Yield the name of each list of so many numbers."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from long_lists(inner, size, key)
    elif isinstance(value, list):
        if len(value) == size and all(isinstance(inner, float | int) for inner in value):
            yield name
        for inner in value:
            yield from long_lists(inner, size, name)


def test_the_weights_are_those_of_the_network_alone(run: tuple[Path, FaceModel]) -> None:
    """A head would hold one vector for each person."""
    root, tuned = run
    assert set(load_file(root / "run" / "model" / "weights.safetensors")) == set(tuned.own_stages.state_dict())


def test_only_its_owner_reads_the_salt(run: tuple[Path, FaceModel]) -> None:
    root, _ = run
    assert (root / "run" / SALT_FILE).stat().st_mode & 0o777 == 0o600
