"""insightface's RecordIO format: pictures in a `.rec` file, and their offsets in an `.idx` file.

A record is a magic number, a word of kind (3 bits) and size (29 bits), and content padded to 4 bytes. The content is
`flag, label, id, id2`, then `flag` further labels, then the picture. If the content holds the magic number at a
multiple of 4, it is split there into several records, and the number is left out (dmlc-core, `recordio.h`).

insightface may write a header: a record 0 with two labels and no picture. Its first label is the key at which the
pictures end: they are the records from 1 up to, but not including, this key. The records from it on describe
identities.
"""

import math
import mmap
import os
import re
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from rsft.data.listing import Listing, identity_of, suffix_of
from rsft.data.regular import open_regular, read_regular
from rsft.data.sources import Part
from rsft.errors import InputError

MAGIC = struct.pack("<I", 0xCED7230A)
PREFIX = struct.Struct("<4sI")
HEADER = struct.Struct("<IfQQ")
WHOLE, FIRST, MIDDLE, LAST = range(4)
SIZE_BITS = 29
MAX_SIZE = 1 << SIZE_BITS  # size limit of a record, in bytes
MAX_PICTURES = 1 << 24  # labels and the keys in the header are float32, exact up to here


class _Record(NamedTuple):
    """A record: its labels, its picture, the suffix of the picture, and the offset of the next record."""

    labels: tuple[float, ...]
    picture: Part | bytes
    suffix: str
    end: int

    @property
    def is_header(self) -> bool:
        """Whether this is a header if it is record 0: two labels and no picture."""
        return len(self.labels) == 2 and _size(self.picture) == 0


def list_records(path: Path) -> Listing:
    """List the pictures of a `.rec` file.

    A picture is named `label/key` with the suffix that its content calls for. If there is an `.lst` beside the `.rec`
    with key, label and path, as im2rec writes it, its paths are the names instead, provided that the first folders of
    the paths and the labels correspond one to one. The function scans the whole `.rec`, since labels are stored with
    the pictures.

    Args:
        path: The `.rec`, with its `.idx` beside it.

    Raises:
        InputError: The `.idx` is missing, the `.idx` or `.lst` does not match the `.rec`, the `.rec` is truncated, a
            record that should hold a picture does not, or a label is not a whole number.
    """
    path = Path(os.fspath(path))  # its records are mapped into memory
    offsets = _read_index(path.with_suffix(".idx"))
    if not offsets or not path.stat().st_size:
        raise InputError(f"'{path}' or its .idx is empty.")
    with open_regular(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        records = {key: _record(content, offset, key, path) for key, offset in offsets.items()}
        _check_whole(offsets, records, len(content), path)
    keys = sorted(records)
    if keys[0] == 0 and records[0].is_header:
        promised = range(1, _whole(records[0].labels[0], 0, path))
        absent = next((key for key in promised if key not in records), None)
        if absent is not None:
            raise InputError(f"'{path}': its header promises {promised[-1]} pictures, but record {absent} is missing.")
        keys = list(promised)
    for key in keys:
        if not _size(records[key].picture):
            raise InputError(f"'{path}': record {key} holds no picture.")
    labels = {key: _whole(records[key].labels[0], key, path) for key in keys}
    names = _read_list(path.with_suffix(".lst"), labels)
    ids = [names.get(key, f"{labels[key]}/{key:08d}{records[key].suffix}") for key in keys]
    return Listing(ids, [records[key].picture for key in keys])


def _read_index(path: Path) -> dict[int, int]:
    """Read an `.idx`: key -> offset in the `.rec`, in bytes."""
    try:
        pairs = [line.split("\t") for line in read_regular(path).decode("ascii").splitlines()]
        offsets = {int(key): int(offset) for key, offset in pairs}
    except FileNotFoundError as error:
        raise InputError(f"a .rec needs its index beside it, and '{path}' does not exist.") from error
    except (OSError, ValueError) as error:
        raise InputError(f"'{path}' needs lines of a key, a tab and an offset: {error}.") from error
    if len(offsets) < len(pairs) or min(offsets.values(), default=0) < 0:
        raise InputError(f"'{path}' needs keys that occur once, and offsets of at least 0.")
    return offsets


def _read_list(path: Path, labels: Mapping[int, int]) -> Mapping[int, str]:
    """Read an `.lst`: key -> path; empty without such a list, or if its folders do not match the labels one to one."""
    if not path.exists():
        return {}
    try:
        rows = [line.split("\t") for line in read_regular(path).decode("utf-8").splitlines()]
        listed = {int(row[0]): (float(row[1]), row[-1]) for row in rows}
    except (OSError, ValueError, IndexError):
        return {}  # insightface has other lists with this suffix, which hold no keys
    strange = [key for key, label in labels.items() if listed.get(key, (None, ""))[0] != label]
    if strange:
        raise InputError(f"'{path}' does not fit its .rec: it lacks record {strange[0]}, or gives it another label.")
    names = {key: str(PurePosixPath(listed[key][1])) for key in labels}
    pairs = {(labels[key], identity_of(name)) for key, name in names.items()}
    one_to_one = len(pairs) == len({label for label, _ in pairs}) == len({folder for _, folder in pairs})
    return names if one_to_one and all("/" in name for name in names.values()) else {}


def _record(content: mmap.mmap, offset: int, key: int, path: Path) -> _Record:
    """Read the record at an offset."""
    spans, end = _spans(content, offset, key, path)
    if len(spans) == 1:
        start, size = spans[0]
        head = content[start : start + min(size, HEADER.size)]
    else:
        joined = MAGIC.join(content[start : start + size] for start, size in spans)
        head, start, size = joined[: HEADER.size], 0, len(joined)
    if len(head) < HEADER.size:
        raise InputError(f"'{path}': record {key} is too short for a record of insightface.")
    flag, label, _, _ = HEADER.unpack(head)
    before = HEADER.size + 4 * flag
    if before > size:
        raise InputError(f"'{path}': record {key} promises {flag} labels but is too short for them.")
    whole: mmap.mmap | bytes = content if len(spans) == 1 else joined
    labels = struct.unpack_from(f"<{flag}f", whole, start + HEADER.size) if flag else (label,)
    start, size = start + before, size - before
    suffix = suffix_of(whole[start : start + min(size, 16)])
    # joined records are so rare, one in many millions, that they can stay in memory
    return _Record(labels, Part(path, start, size) if len(spans) == 1 else joined[before:], suffix, end)


def _spans(content: mmap.mmap, offset: int, key: int, path: Path) -> tuple[list[tuple[int, int]], int]:
    """Find the (start, size) of each piece of a record, and the offset of the next record."""
    spans: list[tuple[int, int]] = []
    while True:
        if offset + PREFIX.size > len(content):
            raise InputError(
                f"'{path}' is truncated: record {key} lies beyond its {len(content)} bytes. Copy it again."
            )
        magic, word = PREFIX.unpack_from(content, offset)
        kind, size = word >> SIZE_BITS, word & ((1 << SIZE_BITS) - 1)
        if magic != MAGIC or kind not in ((MIDDLE, LAST) if spans else (WHOLE, FIRST)):
            raise InputError(f"'{path}' does not fit its .idx: at byte {offset} there is no record {key}.")
        start = offset + PREFIX.size
        if start + size > len(content):
            raise InputError(f"'{path}' is truncated: it ends within record {key}. Copy it again.")
        spans.append((start, size))
        offset = start + size + -size % 4
        if kind in (WHOLE, LAST):
            return spans, offset


def _check_whole(offsets: dict[int, int], records: dict[int, _Record], size: int, path: Path) -> None:
    """Check that the index has every record: each ends where the next begins, and the last at the end of the file."""
    expected = 0
    for key in sorted(offsets, key=offsets.__getitem__):
        if offsets[key] != expected:
            raise InputError(f"'{path}' does not fit its .idx: the index has no record at byte {expected}.")
        expected = records[key].end
    if expected < size:
        raise InputError(f"'{path}' does not fit its .idx: the index has no record at byte {expected}.")


def _whole(label: float, key: int, path: Path) -> int:
    """Return a label as an integer."""
    if not math.isfinite(label) or label != int(label):
        raise InputError(f"'{path}': record {key} needs a whole number as label, got {label}.")
    return int(label)


def _size(picture: Part | bytes) -> int:
    """Return the size of a picture in bytes."""
    return picture.size if isinstance(picture, Part) else len(picture)


def write_records(path: Path, pictures: Iterable[bytes], ids: Sequence[str]) -> None:
    """Write a `.rec` with a header, its `.idx`, and an `.lst` that names the pictures.

    Args:
        path: Path of the `.rec`; the `.idx` and the `.lst` are written beside it.
        pictures: (N,) contents of picture files. Pictures of the same identity must be adjacent.
        ids: (N,) ids of the pictures. The label of an identity is its index among the sorted identities.

    Raises:
        InputError: The format cannot hold the pictures: there are `MAX_PICTURES` (2^24) or more, one has `MAX_SIZE`
            (2^29) bytes or more with its header, or a name contains a tab or a line end.
    """
    if len(ids) >= MAX_PICTURES:
        raise InputError(f"a .rec holds up to {MAX_PICTURES - 1} pictures, got {len(ids)}: use shards.")
    unfit = [item for item in ids if "\t" in item or len(item.splitlines()) > 1]
    if unfit:
        raise InputError(f"a name in a .rec cannot contain tabs or line ends, got {unfit[0]!r}: use shards.")
    identities = [identity_of(item) for item in ids]
    label = {name: number for number, name in enumerate(sorted(set(identities)))}
    first = {name: key for key, name in reversed(list(enumerate(identities, 1)))}
    last = {name: key for key, name in enumerate(identities, 1)}
    end = len(ids) + 1
    with open(path, "wb") as file, open(path.with_suffix(".idx"), "w", encoding="ascii") as index:

        def write(key: int, head: bytes, picture: bytes = b"") -> None:
            if len(head) + len(picture) >= MAX_SIZE:
                raise InputError(f"a .rec holds pictures below {MAX_SIZE} bytes, but '{ids[key - 1]}' is larger.")
            index.write(f"{key}\t{file.tell()}\n")
            for record in _records(head + picture):
                file.write(record)

        write(0, _labelled(0, (end, end + len(label))))
        for key, (picture, name) in enumerate(zip(pictures, identities, strict=True), 1):
            write(key, HEADER.pack(0, label[name], key, 0), picture)
        for name, number in label.items():
            write(end + number, _labelled(end + number, (first[name], last[name] + 1)))
    lines = (f"{key}\t{label[identities[key - 1]]}\t{item}\n" for key, item in enumerate(ids, 1))
    path.with_suffix(".lst").write_text("".join(lines), encoding="utf-8")


def _labelled(key: int, labels: tuple[int, int]) -> bytes:
    """Make the content of a record with two labels and no picture."""
    return HEADER.pack(len(labels), 0, key, 0) + struct.pack("<2f", *labels)


def _records(content: bytes) -> Iterator[bytes]:
    """Yield one record, or several if the content holds the magic number at a multiple of 4."""
    cuts = [found.start() for found in re.finditer(re.escape(MAGIC), content) if found.start() % 4 == 0]
    for start, end in zip([0, *(cut + len(MAGIC) for cut in cuts)], [*cuts, len(content)], strict=True):
        first, last = start == 0, end == len(content)
        kind = (WHOLE if last else FIRST) if first else (LAST if last else MIDDLE)
        yield PREFIX.pack(MAGIC, kind << SIZE_BITS | end - start) + content[start:end] + bytes((start - end) % 4)
