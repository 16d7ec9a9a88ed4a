"""The same few pictures in every storage form, written without the code under test."""

import csv
import io
import json
import pickle
import struct
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
from PIL import Image

MAGIC = 0xCED7230A


def picture(number: int, kind: str = "PNG") -> bytes:
    """Return the file of a small picture that is different for each number."""
    pixels = np.random.default_rng(number).integers(0, 256, (6, 7, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


# Two people whose names sort differently as text and as numbers; one has a subfolder.
PICTURES = {
    "10/a.png": picture(0),
    "10/deep/b.png": picture(1),
    "10/c é.jpg": picture(2, "JPEG"),
    "9/a.png": picture(3),
}
LIGHT = {"10/a.png": "day", "10/deep/b.png": "night", "10/c é.jpg": "day", "9/a.png": "night"}


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def record(flag: int, label: float, picture: bytes, extra: tuple[float, ...] = (), kind: int = 0) -> bytes:
    content = struct.pack("<IfQQ", flag, label, 0, 0) + struct.pack(f"<{len(extra)}f", *extra) + picture
    return whole(content, kind)


def whole(content: bytes, kind: int = 0) -> bytes:
    return struct.pack("<II", MAGIC, kind << 29 | len(content)) + content + bytes(-len(content) % 4)


def write_rec(path: Path, records: Mapping[int, bytes]) -> Path:
    """Write a `.rec` of the records in the given order, and its `.idx`."""
    path.write_bytes(b"".join(records.values()))
    offset, lines = 0, []
    for key, content in records.items():
        lines.append(f"{key}\t{offset}\n")
        offset += len(content)
    path.with_suffix(".idx").write_text("".join(lines))
    return path


def as_folder(root: Path) -> Path:
    for item, content in reversed(PICTURES.items()):
        (root / "faces" / item).parent.mkdir(parents=True, exist_ok=True)
        (root / "faces" / item).write_bytes(content)
    (root / "faces" / "10" / "notes.txt").write_text("no picture")
    return root / "faces"


def as_tar(root: Path) -> Path:
    with tarfile.open(root / "faces.tar", "w") as archive:
        archive.add(as_folder(root), ".")
    return root / "faces.tar"


def as_csv(root: Path) -> Path:
    as_folder(root)
    with open(root / "faces.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["identity", "light", "path"])
        writer.writerows([item.split("/")[0], LIGHT[item], f"faces/{item}"] for item in reversed(PICTURES))
    return root / "faces.csv"


def as_parquet(root: Path) -> Path:
    as_folder(root)
    columns = {
        "path": [f"faces/{item}" for item in PICTURES],
        "identity": [int(item.split("/")[0]) for item in PICTURES],
        "light": list(LIGHT.values()),
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), root / "faces.parquet")
    return root / "faces.parquet"


def as_shards(root: Path) -> Path:
    """Write two shards: samples with a `.json` in one, and with a `.cls` in the other."""
    items = list(PICTURES)
    with tarfile.open(root / "shard-00.tar", "w") as archive:
        for number, item in enumerate(items[:2]):
            row = {"identity": item.split("/")[0], "light": LIGHT[item]}
            add(archive, f"{number:06d}.json", json.dumps(row).encode())
            add(archive, f"{number:06d}.png", PICTURES[item])
    with tarfile.open(root / "shard-01.tar", "w") as archive:
        for number, item in enumerate(items[2:], 2):
            add(archive, f"{number:06d}{Path(item).suffix}", PICTURES[item])
            add(archive, f"{number:06d}.cls", item.split("/")[0].encode())
    return root / "shard-{00..01}.tar"


def as_one_shard(root: Path) -> Path:
    with tarfile.open(root / "shard.tar", "w") as archive:
        for number, (item, content) in enumerate(PICTURES.items()):
            add(archive, f"./{number:06d}{Path(item).suffix}", content)
            add(archive, f"./{number:06d}.cls", item.split("/")[0].encode() + b"\n")
    return root / "shard.tar"


def as_rec(root: Path) -> Path:
    return write_rec(
        root / "train.rec",
        {key: record(0, float(item.split("/")[0]), content) for key, (item, content) in enumerate(PICTURES.items(), 3)},
    )


def as_rec_with_header(root: Path) -> Path:
    """Write a `.rec` as insightface does: two labels per record, and records of identities after the pictures."""
    end = len(PICTURES) + 1
    records = {0: record(2, 0, b"", (end, end + 2))}
    for key, (item, content) in enumerate(PICTURES.items(), 1):
        records[key] = record(2, 0, content, (float(item.split("/")[0]), 0))
    records |= {end: record(2, 0, b"", (1, 4)), end + 1: record(2, 0, b"", (4, 5))}
    return write_rec(root / "train.rec", records)


def as_rec_with_list(root: Path) -> Path:
    """Write a `.rec` with an `.lst` as im2rec writes it."""
    lines = [f"{key}\t{float(item.split('/')[0])}\t{item}\n" for key, item in enumerate(PICTURES, 3)]
    (root / "train.lst").write_text("".join(reversed(lines)), encoding="utf-8")
    return as_rec(root)


def as_rec_with_split_records(root: Path, pictures: Mapping[str, bytes]) -> Path:
    """Write pictures that hold the magic number as dmlc does: split there, without the number."""
    records = {}
    for key, (item, content) in enumerate(pictures.items()):
        head = struct.pack("<IfQQ", 0, float(item.split("/")[0]), 0, 0)
        pieces = (head + content).split(struct.pack("<I", MAGIC))
        kinds = [1, *[2] * (len(pieces) - 2), 3] if len(pieces) > 1 else [0]
        records[key] = b"".join(whole(piece, kind) for piece, kind in zip(pieces, kinds, strict=True))
    return write_rec(root / "train.rec", records)


FORMS: dict[str, Callable[[Path], Path]] = {
    "folder": as_folder,
    "tar": as_tar,
    "csv": as_csv,
    "parquet": as_parquet,
    "shards": as_shards,
    "one shard": as_one_shard,
    "rec": as_rec,
    "rec with header": as_rec_with_header,
    "rec with list": as_rec_with_list,
}


def write_bin(path: Path, pictures: object, same: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps((pictures, same), protocol=protocol))
    return path
