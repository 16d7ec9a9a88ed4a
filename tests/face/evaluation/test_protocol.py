import json
import pickle
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from forms import FORMS, picture
from PIL import Image

from rsft.errors import InputError
from rsft.face.evaluation.pairs import PairList
from rsft.face.evaluation.protocol import FOLDS, pair_folds, read_protocol
from rsft.face.evaluation.trials import Trial
from rsft.face.evaluation.verification import verify


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    for name in ("ann/1.png", "ann/2.png", "bob/1.png", "loose1.png", "loose2.png", "loose3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / name)
    return tmp_path


def write_pairs(folder: Path, *lines: str) -> Path:
    path = folder / "pairs.csv"
    path.write_text("\n".join(lines))
    return path


def test_a_csv_of_pairs_is_read_and_restricted(faces: Path) -> None:
    protocol = read_protocol(write_pairs(faces, "a,b,same,fold", "ann/1.png,ann/2.png,1,1", "ann/2.png,bob/1.png,0,2"))
    assert protocol.images.ids == ["ann/1.png", "ann/2.png", "bob/1.png"]
    assert protocol.pairs.listed().genuine.tolist() == [True, False]
    assert protocol.pairs.fold is not None
    assert protocol.pairs.fold.tolist() == [1, 2]
    kept, left_out = protocol.restricted_to(["ann/2.png", "bob/1.png"])
    pairs = kept.listed()
    assert left_out == 1
    assert (pairs.a.tolist(), pairs.b.tolist(), pairs.genuine.tolist()) == ([0], [1], [False])


def test_pictures_without_folders_get_identities_from_their_pairs(faces: Path) -> None:
    lines = ("a,b,same", "loose1.png,loose2.png,1", "loose2.png,loose3.png,0")
    assert read_protocol(write_pairs(faces, *lines)).pairs.listed().genuine.tolist() == [True, False]


def test_all_pairs_of_a_folder_are_compared(faces: Path) -> None:
    for loose in faces.glob("loose*"):
        loose.unlink()
    pairs = read_protocol(faces).pairs
    assert (len(pairs), pairs.counts) == (3, (1, 2))
    assert pairs.listed().genuine.tolist() == [True, False, False]


@pytest.mark.parametrize("form", FORMS)
def test_all_pairs_of_every_storage_form_are_compared(form: str, tmp_path: Path) -> None:
    """Each form holds four pictures, three of them of one person."""
    protocol = read_protocol(FORMS[form](tmp_path))
    assert (len(protocol.pairs), protocol.pairs.counts) == (6, (3, 3))
    assert set(protocol.people) == {"10", "9"}


def test_a_manifest_with_a_quoted_header_is_not_read_as_pairs(tmp_path: Path) -> None:
    path = FORMS["csv"](tmp_path)
    path.write_text(path.read_text().replace("identity,light,path", '"identity","light","path"'))
    assert len(read_protocol(path).images) == 4


def test_the_pairs_of_a_bin_are_compared(tmp_path: Path) -> None:
    same = np.random.default_rng(0).random(60) < 0.5
    pictures = [picture(number) for number in range(120)]
    (tmp_path / "x.bin").write_bytes(pickle.dumps((pictures, same.tolist())))
    protocol = read_protocol(tmp_path / "x.bin")
    pairs = protocol.pairs.listed()
    assert pairs.genuine.tolist() == same.tolist()
    for pair in range(60):
        assert protocol.images.read_bytes(pairs.a[pair]) == pictures[2 * pair]
        assert protocol.images.read_bytes(pairs.b[pair]) == pictures[2 * pair + 1]
    part, left_out = protocol.restricted_to(protocol.images.ids[1:])
    assert (len(part), left_out) == (59, 1)
    (tmp_path / "few.bin").write_bytes(pickle.dumps((pictures[:4], [True, False])))
    assert read_protocol(tmp_path / "few.bin").pairs.fold is None


def test_folds_of_pairs_equal_those_of_insightface() -> None:
    """Insightface uses KFold of scikit-learn without shuffling."""
    from sklearn.model_selection import KFold

    for count in (200, 607):
        same = np.random.default_rng(count).random(count) < 0.5
        folds = pair_folds(same)
        for fold, (_, inside) in enumerate(KFold(FOLDS).split(same)):
            np.testing.assert_array_equal(np.flatnonzero(folds == fold), inside)


def test_folds_of_a_sorted_set_have_both_kinds() -> None:
    """If genuine pairs are listed first, consecutive folds give random scores an accuracy below one half."""
    same = np.arange(600) < 300
    folds = pair_folds(same)
    assert folds is not None
    assert all(same[folds == fold].sum() == 30 for fold in range(FOLDS))
    scores = np.random.default_rng(0).normal(size=600)
    identity = np.arange(1200)
    identity[1:600:2] = identity[0:600:2]
    accuracies = {}
    for name, fold in (("dealt", folds), ("consecutive", np.arange(600) // 60)):
        pairs = PairList(np.arange(0, 1200, 2), np.arange(1, 1200, 2), identity, fold)
        accuracy = verify([Trial(pairs, {"x": scores})], draws=2).systems["x"].accuracy
        assert accuracy is not None
        assert accuracy.value is not None
        accuracies[name] = accuracy.value
    assert abs(accuracies["dealt"] - 0.5) < 5 * 0.5 / np.sqrt(600)
    assert accuracies["consecutive"] < 0.4


def test_a_csv_of_pairs_may_name_pictures_in_any_storage_form(tmp_path: Path) -> None:
    root = FORMS["rec"](tmp_path)
    lines = ("a,b,same", "10/00000003.png,10/00000004.png,1", "10/00000003.png,9/00000006.png,0")
    protocol = read_protocol(write_pairs(tmp_path, *lines), root)
    assert protocol.pairs.listed().genuine.tolist() == [True, False]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (("a,b", "ann/1.png,ann/2.png"), "lacks same"),
        (("a,b,same",), "lists no pairs"),
        (("a,b,same", "ann/1.png,ann/9.png,1"), "1 pictures that are not in .* --eval-root"),
        (("a,b,same", "ann/1.png,ann/2.png,maybe"), "line 2: same needs 1 or 0, got 'maybe'"),
        (("a,b,same", "ann/1.png,ann/2.png,0"), "line 2 contradicts itself"),
        (("a,b,same,fold", "ann/1.png,ann/2.png,1,x"), "line 2: fold needs a whole number"),
        (("a,b,same,fold", "ann/1.png,ann/2.png,1,1.5"), "line 2: fold needs a whole number in every line, got '1.5'"),
        (("a,b,same,fold", "ann/1.png,ann/2.png,1,"), "line 2: fold needs a whole number"),
        (("a,b,same,Folds", "ann/1.png,ann/2.png,1,1"), "has a column 'Folds' and none named 'fold'"),
        (("a,b,same", "ann/1.png,ann/2.png,-1"), "line 2: same needs 1 or 0, got '-1'"),
        (("a,b,same", "ann/1.png,ann/2.png,"), "line 2: same needs 1 or 0, got ''"),
        (("a,b,same", "", "ann/1.png,ann/2.png,1", "ann/2.png,bob/9.png,0"), "such as 'bob/9.png' in .* line 4"),
        (("a,b,same", "ann/1.png,./ann\\1.png,1"), "line 2 compares 'ann/1.png' with itself"),
        (("a,b,same", "ann/1.png,ann/2.png,1", "ann/2.png,ann/1.png,1"), "line 3 compares .* again, after .* line 2"),
        (("a,b,same", "ann/1.png,bob/1.png,1", "ann/1.png,bob/1.png,0"), "line 3 compares .* again, with same=0"),
        (("a,b,same", "ann/1.png,,0"), "line 2 names nothing in column 'b'"),
        (("a,b,same", "ann/1.png,bob/1.png"), "line 2 needs 3 columns"),
        (("path1,path2,issame", "ann/1.png,ann/2.png,1"), "Rename 'path1' to 'a', 'path2' to 'b', 'issame' to 'same'"),
        (("filename,label", "ann/1.png,ann"), "needs a column 'path'.* Rename 'filename' to 'path'"),
    ],
)
def test_bad_pairs_are_refused(faces: Path, lines: tuple[str, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_protocol(write_pairs(faces, *lines))


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.tsv", "pairs.parquet", "pairs.jsonl"])
def test_every_table_of_pairs_is_one(name: str, faces: Path) -> None:
    columns: dict[str, list] = {
        "A": ["ann/1.png", "ann\\2.png"], "b": ["ann/2.png", "bob/1.png"], "same": [True, False], "fold": [1.0, 2.0]
    }  # fmt: skip
    rows = list(zip(*columns.values(), strict=True))
    if name.endswith("parquet"):
        pyarrow.parquet.write_table(pyarrow.table(columns), faces / name)
    elif name.endswith("jsonl"):
        (faces / name).write_text("\n".join(json.dumps(dict(zip(columns, row, strict=True))) for row in rows))
    else:
        sign = "\t" if name.endswith("tsv") else ";"
        (faces / name).write_text("\n".join(sign.join(map(str, row)) for row in [list(columns), *rows]))
    pairs = read_protocol(faces / name).pairs.listed()
    assert pairs.genuine.tolist() == [True, False]
    assert pairs.fold is not None
    assert pairs.fold.tolist() == [1, 2]


def test_folds_of_one_kind_are_remarked_on() -> None:
    """They give an accuracy that no other way of dealing gives, and a reader of a figure cannot know."""
    n = 400
    genuine = np.arange(n) < n // 2
    scores = (np.random.default_rng(0).normal(size=n) + genuine).astype(np.float32)
    a, identity = np.arange(0, 2 * n, 2), np.arange(2 * n)
    identity[a[genuine] + 1] = a[genuine]
    for fold, note in (
        (np.arange(n) % 10, None),
        (np.arange(n) // (n // 10), "10 of 10 folds hold genuine or impostor pairs only"),
        (np.where(np.arange(n) < 20, 9, np.arange(n) % 5), "1 of 6 folds hold"),
    ):
        found = verify([Trial(PairList(a, a + 1, identity, fold), {"m": scores})], draws=5).systems["m"]
        assert found.accuracy is not None
        assert found.folds is not None
        assert found.accuracy.note == found.folds.note
        assert str(found.accuracy.note).startswith(str(note))
        assert ("note" in found.folds.to_dict()) == (note is not None)
