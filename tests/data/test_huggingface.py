"""Files that the `datasets` library writes are read without it, and its streams are read once."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.parquet
import pytest
from forms import LIGHT, PICTURES

from rsft.data.convert import convert
from rsft.data.images import ImageSet, find_images, read_dataset
from rsft.data.sources import Part
from rsft.errors import InputError

PEOPLE = ["10", "9"]
FEATURES = datasets.Features(
    {"image": datasets.Image(), "label": datasets.ClassLabel(names=PEOPLE), "light": datasets.Value("string")}
)


def made() -> datasets.Dataset:
    rows = {
        "image": [{"bytes": content, "path": None} for content in PICTURES.values()],
        "label": [PEOPLE.index(item.split("/")[0]) for item in PICTURES],
        "light": list(LIGHT.values()),
    }
    return datasets.Dataset.from_dict(rows, features=FEATURES)


def as_saved(root: Path) -> ImageSet:
    made().save_to_disk(root / "saved", num_shards=2)
    return find_images(root / "saved", labelled=True)


def as_split(root: Path) -> ImageSet:
    datasets.DatasetDict({"train": made(), "test": made()}).save_to_disk(root / "splits")
    return find_images(root / "splits" / "train", labelled=True)


def as_parquet(root: Path) -> ImageSet:
    made().to_parquet(root / "x.parquet")
    return find_images(root / "x.parquet", labelled=True)


def as_rows(root: Path) -> ImageSet:
    return read_dataset(made())


def as_stream(root: Path) -> ImageSet:
    return read_dataset(made().to_iterable_dataset(num_shards=2))


@pytest.mark.parametrize("form", [as_saved, as_split, as_parquet, as_rows, as_stream])
def test_every_form_gives_the_same_pictures_and_identities(form: Callable[[Path], ImageSet], tmp_path: Path) -> None:
    images = form(tmp_path)
    found = sorted((person, images.read_bytes(row)) for row, person in enumerate(images.identities))
    assert found == sorted((item.split("/")[0], content) for item, content in PICTURES.items())
    light = {content: LIGHT[item] for item, content in PICTURES.items()}
    assert images.attributes == {"light": [light[images.read_bytes(row)] for row in range(len(images))]}
    assert list(images.ids) == ["10/00000000.png", "10/00000001.png", "10/00000002.jpg", "9/00000003.png"]
    assert all(images.read(row).shape[2] == 3 for row in range(4))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("form", ["torch", "numpy", "pandas", "arrow"])
def test_the_format_of_a_data_set_changes_nothing(form: str, stream: bool) -> None:
    rows = made().to_iterable_dataset() if stream else made()
    images, plain = read_dataset(rows.with_format(form)), read_dataset(made())
    assert list(images.ids) == list(plain.ids)
    assert [images.read_bytes(row) for row in range(4)] == [plain.read_bytes(row) for row in range(4)]
    assert images.attributes == plain.attributes


def test_decoded_pictures_are_taken_where_the_names_of_classes_are_known() -> None:
    """After `map` without features a stream knows neither what is a picture nor the names of classes."""
    stream, plain = made().to_iterable_dataset(), read_dataset(made())
    mapped = stream.map(lambda row: row)
    with pytest.raises(InputError, match=r"got \w+ImageFile\. If it was decoded, as by `map`, cast the data set"):
        read_dataset(mapped)
    for rows in (
        mapped.cast(FEATURES),
        stream.map(lambda row: row, features=FEATURES),
        stream.filter(lambda row: True),
    ):
        images = read_dataset(rows)
        assert sorted(images.identities) == sorted(plain.identities)
        shapes = [sorted(each.read(row).shape for row in range(4)) for each in (images, plain)]
        assert shapes[0] == shapes[1]
    with pytest.raises(InputError, match="has the splits train, test: give one"):
        read_dataset(datasets.DatasetDict({"train": made(), "test": made()}))


def test_saved_pictures_stay_on_disk(tmp_path: Path) -> None:
    assert all(isinstance(source, Part) for source in as_saved(tmp_path).sources)


def test_a_stream_is_read_once_and_can_be_converted(tmp_path: Path) -> None:
    asked = []

    def rows() -> Iterator[dict[str, Any]]:
        for number, (item, content) in enumerate(PICTURES.items()):
            asked.append(number)
            yield {"image": {"bytes": content, "path": None}, "identity": item.split("/")[0]}

    made = convert(read_dataset(datasets.IterableDataset.from_generator(rows)), tmp_path / "pool")
    assert asked == [0, 1, 2, 3]
    assert made == {"pictures": 4, "identities": 2, "lost": []}
    assert len(find_images(tmp_path / "pool", labelled=True)) == 4


def test_pictures_in_files_are_read_from_rows_but_rejected_in_parquet(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PICTURES["9/a.png"])
    rows = datasets.Dataset.from_dict({"image": [str(tmp_path / "a.png")]}).cast_column("image", datasets.Image())
    assert read_dataset(rows).read_bytes(0) == PICTURES["9/a.png"]
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    named = pyarrow.array([{"bytes": None, "path": "/etc/a.png"}], kind)
    pyarrow.parquet.write_table(pyarrow.table({"image": named}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match="row 0 holds a path but no picture"):
        find_images(tmp_path / "x.parquet")


def test_unreadable_data_sets_are_rejected(tmp_path: Path) -> None:
    as_split(tmp_path)
    with pytest.raises(InputError, match=r"has the splits train, test: name one, such as '.*splits/train'"):
        find_images(tmp_path / "splits")
    as_saved(tmp_path)
    (first,) = (tmp_path / "saved").glob("data-00000-of-*")
    whole = first.read_bytes()
    for damage in (whole[: len(whole) // 2], b"no arrow"):
        first.write_bytes(damage)
        with pytest.raises(InputError, match="as part of a complete output of `save_to_disk`"):
            find_images(tmp_path / "saved")
    first.unlink()
    with pytest.raises(InputError, match="as part of a complete output of `save_to_disk`"):
        find_images(tmp_path / "saved")
    (tmp_path / "saved" / "state.json").write_text("[]")
    with pytest.raises(InputError, match="as part of a complete output of `save_to_disk`"):
        find_images(tmp_path / "saved")
    two = made().add_column("mask", [{"bytes": b"x", "path": None}] * 4, feature=datasets.Image())
    two.to_parquet(tmp_path / "two.parquet")
    with pytest.raises(InputError, match="needs one column of pictures, got image, mask"):
        find_images(tmp_path / "two.parquet")
    with pytest.raises(InputError, match="row 0 needs a picture in its column 'image', got NoneType"):
        read_dataset([{"picture": 1}])
    with pytest.raises(InputError, match="row 0 has no column 'who'; it has image"):
        read_dataset([{"image": {"bytes": b"x"}}], label="who")
    with pytest.raises(InputError, match="holds no picture"):
        read_dataset([])
    with pytest.raises(InputError, match="without '/'"):
        read_dataset([{"image": {"bytes": b"x"}, "label": "../up"}])


def test_a_data_set_without_labels_has_no_identities(tmp_path: Path) -> None:
    made().remove_columns("label").to_parquet(tmp_path / "x.parquet")
    assert find_images(tmp_path / "x.parquet").ids[0] == "00000000.png"
    with pytest.raises(InputError, match="needs one folder per identity"):
        find_images(tmp_path / "x.parquet", labelled=True)


def test_a_parquet_of_paths_is_still_a_manifest(tmp_path: Path) -> None:
    buffer = io.BytesIO(PICTURES["9/a.png"])
    (tmp_path / "a.png").write_bytes(buffer.getvalue())
    pyarrow.parquet.write_table(pyarrow.table({"path": ["a.png"]}), tmp_path / "x.parquet")
    assert find_images(tmp_path / "x.parquet").ids == ["a.png"]


def test_rows_without_a_label_are_refused_and_not_one_person(tmp_path: Path) -> None:
    pictures = [{"bytes": content, "path": None} for content in PICTURES.values()]
    columns = {"image": pictures, "label": [0, 1, -1, -1], "light": list(LIGHT.values())}
    rows = datasets.Dataset.from_dict(columns, features=FEATURES)
    rows.save_to_disk(tmp_path / "saved")
    rows.to_parquet(tmp_path / "x.parquet")
    for name in ("saved", "x.parquet"):
        with pytest.raises(InputError, match=rf"{name}' has no label in 2 of 4 rows, such as row 2"):
            find_images(tmp_path / name)
    missing: list[dict[str, Any]] = [
        {"image": picture, "label": label} for picture, label in zip(pictures, "ab", strict=False)
    ]
    missing += [{"image": pictures[2], "label": None}, {"image": pictures[3], "label": float("nan")}]
    for stream in (rows, rows.to_iterable_dataset(), missing):
        with pytest.raises(InputError, match="has no label in 2 of 4 rows, such as row 2"):
            read_dataset(stream)


def test_whole_numbers_name_one_person_and_missing_attributes_are_none(tmp_path: Path) -> None:
    pictures = [{"bytes": content, "path": None} for content in PICTURES.values()]
    mood = datasets.ClassLabel(names=["glad", "sad"])
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "identity": datasets.Value("float32"),
            "mood": mood,
            "age": datasets.Value("float32"),
        }
    )
    columns = {
        "image": pictures,
        "identity": [1.0, 1.0, 2.0, 2.0],
        "mood": [0, -1, 1, 1],
        "age": [1, float("nan"), 2, 2],
    }
    datasets.Dataset.from_dict(columns, features=features).to_parquet(tmp_path / "x.parquet")
    images = find_images(tmp_path / "x.parquet")
    assert images.people_names == ["1", "2"]
    assert images.attributes == {"mood": ["0", "", "1", "1"], "age": ["1.0", "", "2.0", "2.0"]}
    streamed = read_dataset(
        {"image": picture, "identity": number, "age": age}
        for picture, number, age in zip(pictures, [1.0, 1, "1", "1.0"], [3, None, float("nan"), "NA"], strict=True)
    )
    assert streamed.people_names == ["1"]
    assert streamed.attributes == {"age": ["3", "", "", ""]}
