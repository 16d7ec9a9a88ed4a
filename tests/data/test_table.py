"""Every table is read by the same rules, and what cannot be meant is refused with its file and line."""

import datetime
import os
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from forms import picture

from rsft.data.images import find_images
from rsft.data.manifest import read_attributes
from rsft.data.shares import read_shares
from rsft.data.table import column_names, read_table
from rsft.errors import InputError

PLAIN = "path,identity,age\na/1.png,ann,30\nb/2.png,bob,\n"
EXPECTED = {"path": ["a/1.png", "b/2.png"], "identity": ["ann", "bob"], "age": ["30", ""]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
    return tmp_path


def columns(path: Path, *known: str) -> dict[str, list[str]]:
    table = read_table(path, known)
    return {name: list(table.text(name)) for name in table.columns}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", PLAIN.encode()),
        ("with a mark.csv", PLAIN.encode("utf-8-sig")),
        ("of Windows.csv", PLAIN.replace("\n", "\r\n").encode()),
        ("of an old Mac.csv", PLAIN.replace("\n", "\r").encode()),
        ("of Excel.csv", PLAIN.replace(",", ";").encode("utf-8-sig")),
        ("with a hint.csv", b"sep=;\r\n" + PLAIN.replace(",", ";").encode()),
        ("Unicode text.txt", PLAIN.replace(",", "\t").encode("utf-16")),
        ("semicolons.csv", PLAIN.replace(",", ";").encode("utf-16")),
        ("x.tsv", PLAIN.replace(",", "\t").encode()),
        ("quoted.csv", b'"path","identity","age"\n"a/1.png","ann","30"\n"b/2.png","bob",""\n'),
        ("padded.csv", b' path , "identity" ,age\n a/1.png ,ann , 30\nb/2.png,\tbob\t, \n'.replace(b'" ,', b'",')),
        ("by other case.csv", PLAIN.replace("path", "Path").replace("identity", "IDENTITY").encode()),
        ("with blank lines.csv", b"\n\n" + PLAIN.replace("\n", "\n\n,,\n").encode()),
        ("with an index.csv", b",path,identity,age\n0,a/1.png,ann,30\n1,b/2.png,bob,\n"),
        ("with a last comma.csv", PLAIN.replace("\n", ",\n").encode()),
        ("x.jsonl", b'{"path": "a/1.png", "identity": "ann", "age": 30}\n\n{"path": "b/2.png", "identity": "bob"}\n'),
    ],
)
def test_all_spellings_of_a_table_are_one(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert columns(tmp_path / name, "path", "identity") == EXPECTED
    assert {"path", "identity"} <= {told.strip().lower() for told in column_names(tmp_path / name)}


def test_parquet_is_read_as_text_is(tmp_path: Path) -> None:
    table = {"Path ": ["a/1.png", " b/2.png"], "identity": ["ann", "bob"], "age": [30.0, float("nan")]}
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "x.parquet")
    assert columns(tmp_path / "x.parquet", "path") == EXPECTED | {"age": ["30.0", ""]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"path,age\na,1\nb\n", r"x\.csv' line 3 needs 2 columns .* a row has 1: b"),
        (b"path,age\na,1\nb,2,3\n", r"x\.csv' line 3 needs 2 columns .* a row has 3: b,2,3"),
        (b'path,age\n"a\nb",1\n\nc\n', r"x\.csv' line 5 needs 2 columns"),
        (b'path,age\na,"1\nb,2\n', r"cannot read '.*x\.csv' line 2: unexpected end of data"),
        (b'path,age\na,1\n"b" c,2\n', r"cannot read '.*x\.csv' line 3: ',' expected"),
        (b"path,age\na,1\nb,jos\xe9\n", r"cannot read '.*x\.csv' line 3: its byte 0xe9 is not of UTF-8"),
        (b"\xff\xfep\0a", r"cannot read '.*x\.csv': its mark says UTF-16, and it is not"),
        ("path,age\na,1\n".encode("utf-16-le"), "it holds zero bytes"),
        ("path,age\na,1\n".encode("utf-16"), "in UTF-16 only those that tabs or semicolons part"),
        (b"path,age,path\na,1,b\n", "a name occurs twice: 'path'"),
        (b"path,age,Path \na,1,b\n", "a name occurs twice: 'path'"),
        (b"path,age,\na,1,x\nb,2,y\n", "no name for column 3"),
        (b"path;height, cm\na\n", "has ',' and ';' in its header"),
        (b"age\n1\n", "needs a column 'path', got age"),
        (b"File Name,age\na,1\n", "needs a column 'path', got File Name, age.* Rename 'File Name' to 'path'"),
        (b"pth\na\n", "Rename 'pth' to 'path'"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_table(tmp_path / "x.csv", ["path"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"path": "a"}\n[1]\n', "line 2 needs an object"),
        ('{"path": "a"}\n{"path": ["b"]}\n', "line 2 needs an object of names with texts and numbers"),
        ('{"path": "a"}\n{"path": "b"\n', "cannot read '.*' line 2"),
        ('{"path": "a", "path": "b"}\n', "line 1: a name occurs twice"),
        ('{"path": "a"}\n{"Path": "b"}\n', "a name occurs twice"),
    ],
)
def test_json_lines_that_cannot_be_meant_are_refused(content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(content)
    with pytest.raises(InputError, match=words):
        read_table(tmp_path / "x.jsonl", ["path"])


def test_the_rows_tell_which_of_two_signs_in_the_header_parts_the_cells(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("path;height, cm\na;1\n")
    assert columns(tmp_path / "x.csv") == {"path": ["a"], "height, cm": ["1"]}


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.csv")
    with pytest.raises(InputError, match="is not a regular file"):
        read_table(tmp_path / "x.csv")
    with pytest.raises(InputError, match="is not a regular file"):
        read_table(tmp_path)


@pytest.mark.parametrize("head", ["path,label", "path,person", "path,Subject ID", "path,identty", "path,clip,name"])
def test_a_column_that_looks_like_the_identity_is_no_attribute(head: str, root: Path) -> None:
    (root / "l.csv").write_text(f"{head}\n" + "".join(f"{n}.png{',x' * head.count(',')}\n" for n in range(4)))
    with pytest.raises(InputError, match=r"l\.csv' has a column '.*' and none named 'identity': rename it"):
        find_images(root / "l.csv")


def test_a_column_named_label_is_an_attribute_beside_the_identity(root: Path) -> None:
    (root / "l.csv").write_text("Path,Identity,label,Clip\n0.png,ann,smile,1\n.\\1.png,bob,NA,-1\n")
    images = find_images(root / "l.csv")
    assert images.ids == ["ann/0.png", "bob/1.png"]
    assert images.attributes == {"label": ["smile", ""], "clip": ["1", ""]}


@pytest.mark.parametrize("missing", [None, "", "nan", "None", "NULL", "NA", "-1", -1, -1.0, float("nan")])
def test_a_missing_identity_is_nobody(missing: object, root: Path) -> None:
    kept = [1, 1] if isinstance(missing, int) else [1.0, 1.0] if isinstance(missing, float) else ["ann", "ann"]
    table = pyarrow.table({"path": [f"{n}.png" for n in range(4)], "identity": [*kept, missing, missing]})
    pyarrow.parquet.write_table(table, root / "l.parquet")
    with pytest.raises(InputError, match=r"l\.parquet' row 3 needs an identity .* 2 of 4 rows lack one"):
        find_images(root / "l.parquet")


def test_a_person_may_be_named_like_a_missing_value_where_their_folder_is_too(root: Path) -> None:
    (root / "NA").mkdir()
    (root / "NA" / "1.png").write_bytes(picture(1))
    (root / "l.csv").write_text("path,identity\nNA/1.png,NA\n0.png,Nan\n")
    assert find_images(root / "l.csv").ids == ["NA/1.png", "Nan/0.png"]


def test_labels_of_floating_point_are_the_whole_numbers_of_text(root: Path) -> None:
    paths = [f"{n}.png" for n in range(3)]
    (root / "l.csv").write_text("path,identity\n" + "".join(f"{path},{n}.0\n" for n, path in enumerate(paths)))
    pyarrow.parquet.write_table(pyarrow.table({"path": paths, "identity": [0.0, 1.0, 2.0]}), root / "l.parquet")
    for name in ("l.csv", "l.parquet"):
        assert find_images(root / name).identities == ["0", "1", "2"]
    large = pyarrow.array([1.0, 2.0, 2.0**24], pyarrow.float32())
    pyarrow.parquet.write_table(pyarrow.table({"path": paths, "identity": large}), root / "l.parquet")
    with pytest.raises(InputError, match=r"row 3 has a label of float, .* from 16777216 on"):
        find_images(root / "l.parquet")


def test_a_picture_of_two_people_is_refused(root: Path) -> None:
    (root / "l.csv").write_text("path,identity\n0.png,ann\n1.png,bob\n./0.png,bob\n")
    with pytest.raises(InputError, match=r"line 4 contradicts .*'0.png' shows 'bob' here, and 'ann' in .* line 2"):
        find_images(root / "l.csv")


def test_missing_values_of_attributes_are_none(tmp_path: Path) -> None:
    days = [datetime.date(2024, 1, 2), None]
    table = {"path": ["a", "b"], "age": [30.0, float("nan")], "light": ["day", "NaN"], "day": days, "sign": [1, -1]}
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "a.parquet")
    assert read_attributes(tmp_path / "a.parquet", ["b", "a"]) == {
        "age": ["", "30.0"], "light": ["", "day"], "day": ["", "2024-01-02"], "sign": ["-1", "1"]
    }  # fmt: skip


def test_attributes_take_paths_of_windows_and_refuse_contradictions(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("path,light\nann\\0.png,day\n./ann/0.png,day\n")
    assert read_attributes(tmp_path / "a.csv", ["ann/0.png"]) == {"light": ["day"]}
    (tmp_path / "a.csv").write_text("path,light\nann\\0.png,day\nx,day\nann/0.png,night\n")
    with pytest.raises(InputError, match=r"line 4 contradicts .* light='night' here, and 'day' in .* line 2"):
        read_attributes(tmp_path / "a.csv", ["x"])


def test_shares_are_read_from_tables_and_toml_alike(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_bytes('[light]\nday = 0.25\n"é" = 0.75\n'.encode("utf-8-sig"))
    (tmp_path / "s.csv").write_bytes("attribute;value;share\r\nlight;day;.25\r\nlight;é;0.75\r\n".encode("utf-8-sig"))
    assert read_shares(tmp_path / "s.toml") == read_shares(tmp_path / "s.csv") == {"light": {"day": 0.25, "é": 0.75}}
    for text, words in (
        ("attribute,value,share\nlight,day,.5\nlight,day,.5\n", "line 3 gives 'day' of 'light' a share again"),
        ("attribute,value,share\nlight,day,half\n", "line 2 needs an attribute"),
        ("attribute,value,share\nlight,,1\n", "line 2 needs an attribute"),
        ("attribute,value\nlight,day\n", "it lacks share"),
    ):
        (tmp_path / "s.csv").write_text(text)
        with pytest.raises(InputError, match=words):
            read_shares(tmp_path / "s.csv")
    for text in ("[light]\nday = true\n", "[light]\nday = nan\n", "light = 1\n"):
        (tmp_path / "s.toml").write_text(text)
        with pytest.raises(InputError, match=r"needs a table \[light\] of values and their shares"):
            read_shares(tmp_path / "s.toml")
