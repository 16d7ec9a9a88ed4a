"""Indexes of `.tar` archives: what is in one and where, so that of a remote one only what is needed is fetched.

An index is a Parquet file beside its archive, with a row for each member: its name, the place and a digest of its
bytes, and the bytes themselves of those that tell labels. Each part that is read is compared with its digest, so an
index of another version of the archive never gives the bytes of another picture.
"""

import hashlib
import io
import logging
import re
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
from pydantic import BaseModel

from rsft.data.columns import Strings, rows_like
from rsft.data.passed_over import Tally
from rsft.data.reading import checked, parsing
from rsft.data.regular import open_regular, read_regular
from rsft.data.remote import MOST_BYTES, RemotePath, version_of
from rsft.data.retrying import retried
from rsft.data.sources import Part, Parts, digest_of, stat_of_archive
from rsft.data.tar_members import list_members
from rsft.disk.whole import replace_file
from rsft.errors import InputError

ENDING = ".index.parquet"
KIND = "the index of a .tar archive"
OF_ARCHIVE = b"rsft.archive"  # key of the description in the file
FORM = 1  # of the index, which a later one may change
LABELS = r"\.(json|cls)$"  # members whose bytes the index holds, as a regular expression
MAX_LABEL_SIZE = 1 << 20  # largest of these, in bytes
PIECE = 1 << 24  # bytes of an archive that are fetched at a time
ASKED_AT_ONCE = 16  # archives
MD5 = re.compile(r"[0-9a-f]{32}")
SCHEMA = {
    "name": pyarrow.large_string(), "offset": pyarrow.int64(), "size": pyarrow.int64(), "digest": pyarrow.uint64(),
    "content": pyarrow.binary(),
}  # fmt: skip

log = logging.getLogger(__name__)


class Described(BaseModel):
    """What an index tells of its archive.

    Attributes:
        form: `FORM`.
        size: Bytes of the archive.
        md5: MD5 of the archive, by which stores name what was sent in one piece.
        version: What the store of the archive told of its version; empty if the index was made on a disk.
    """

    form: int
    size: int
    md5: str
    version: str


@dataclass(frozen=True)
class ShardIndex:
    """The members of an archive.

    Attributes:
        names: (N,) names of the members.
        parts: (N,) places of their bytes, with digests.
        contents: Offset -> bytes of the members that tell labels.
        described: What archive it is.
    """

    names: Strings
    parts: Parts
    contents: Mapping[int, bytes]
    described: Described

    def read(self, part: Part) -> bytes:
        """Return the bytes of a member that tells labels, from the index; `InputError` if it lacks them."""
        if part.offset not in self.contents:
            raise InputError(
                f"the index of '{part.path}' lacks a label, that of {part.size} bytes from {part.offset} on. Make the "
                f"index again: rsft data index '{part.path}'"
            )
        return self.contents[part.offset]


def index_path(archive: Path) -> Path:
    """Return where the index of an archive lies.

    >>> index_path(Path("shards/s-000.tar")).name
    's-000.tar.index.parquet'
    """
    return archive.with_name(archive.name + ENDING)


def index_shards(archives: Sequence[Path]) -> list[Path]:
    """Write an index beside each archive. An index that is there already is replaced; another file is not.

    Args:
        archives: Uncompressed `.tar` archives, on a disk or remote.

    Returns:
        The paths of the indexes.

    Raises:
        InputError: An archive is missing, damaged or compressed, or a file that is no index has the name of one.
        OSError: An index cannot be written.
    """
    written = []
    for archive in archives:
        if not archive.name:
            raise InputError(f"'{archive}' is no .tar archive: name one, or a pattern such as shard-{{000..012}}.tar.")
        path = index_path(archive)
        # stores that list nothing refuse what does not exist
        absent = (FileNotFoundError, PermissionError) if isinstance(path, RemotePath) else FileNotFoundError
        try:
            _read(path)
        except absent:
            pass
        except InputError as error:  # what has its name and is no index is not ours
            raise InputError(f"{error} It is not replaced: remove it yourself if it may go.") from None
        content = _as_bytes(_index_of(archive))
        path.write_new(content) if isinstance(path, RemotePath) else replace_file(path, content)
        written.append(path)
    return written


def members_of(archives: Sequence[RemotePath]) -> list[ShardIndex]:
    """Return the members of remote archives: by their indexes, or where one has none, by fetching all of it.

    Args:
        archives: Uncompressed `.tar` archives.

    Raises:
        InputError: An archive is missing or damaged, or its index is of another one.
        OSError: It cannot be asked for.
    """
    stat_of_archive.cache_clear()  # a new listing is of what is there now
    with ThreadPoolExecutor(min(ASKED_AT_ONCE, max(1, len(archives)))) as pool:
        return list(pool.map(_members_of, archives))


def _members_of(archive: RemotePath) -> ShardIndex:
    try:
        told = retried(archive.told, str(archive), counts=False)
    except FileNotFoundError:
        raise InputError(f"the shard '{archive}' does not exist.") from None
    path = index_path(archive)
    try:
        found = _read(path)
    except (FileNotFoundError, PermissionError):  # stores that list nothing refuse what does not exist
        log.warning("'%s' has no index, so all of it is fetched; make one: rsft data index '%s'", archive, archive)
        return _index_of(archive)
    _check_same(found.described, archive, told["size"], version_of(told))
    parts = Parts([archive], *_columns(found.parts))
    return ShardIndex(found.names, parts, found.contents, found.described)


def _check_same(described: Described, archive: Path, size: int, version: str) -> None:
    """Raise `InputError` if an archive is not the one that its index describes, as far as its store tells."""
    known = {described.md5, described.version}
    other = version not in known and (described.version != "" or MD5.fullmatch(version) is not None)
    if size != described.size or other:
        how = f"{described.size} bytes then, {size} now" if size != described.size else "its version is another"
        raise InputError(
            f"'{archive}' is not what its index was made of ({how}). Make the index again: rsft data index '{archive}'"
        )


def _columns(parts: Parts) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    assert parts.digest is not None
    return parts.file, parts.offset, parts.size, parts.digest


def _index_of(archive: Path) -> ShardIndex:
    """Read through an archive; a remote one is fetched into a temporary file for that."""
    if not isinstance(archive, RemotePath):
        return _index_of_file(archive, archive, "")
    version = version_of(retried(archive.told, str(archive), counts=False))
    with tempfile.TemporaryDirectory(prefix="rsft-") as folder:
        copy = Path(folder, archive.name)
        with open(copy, "wb") as to:
            at = 0
            while piece := retried(lambda: archive.read_range(at, at + PIECE), str(archive)):  # noqa: B023
                to.write(piece)
                at += len(piece)
                if len(piece) < PIECE:
                    break
        try:
            return _index_of_file(copy, archive, version)
        except InputError as error:
            raise InputError(str(error).replace(str(copy), str(archive))) from None


def _index_of_file(file: Path, archive: Path, version: str) -> ShardIndex:
    """Read through a file with the bytes of an archive."""
    names, parts = list_members(file, Tally())
    labels, contents, digest = (
        set(rows_like(names, LABELS).tolist()),
        dict[int, bytes](),
        np.zeros(len(names), np.uint64),
    )
    with open_regular(file) as opened:
        md5 = hashlib.md5(usedforsecurity=False)
        while piece := opened.read(PIECE):
            md5.update(piece)
        for row, part in enumerate(parts):
            opened.seek(part.offset)
            content = opened.read(part.size)
            digest[row] = digest_of(content)
            if row in labels and part.size <= MAX_LABEL_SIZE:
                contents[part.offset] = content
    described = Described(form=FORM, size=file.stat().st_size, md5=md5.hexdigest(), version=version)
    return ShardIndex(names, Parts([archive], parts.file, parts.offset, parts.size, digest), contents, described)


def _as_bytes(index: ShardIndex) -> bytes:
    """Return an index as the bytes of its file."""
    _, offset, size, digest = _columns(index.parts)
    content = [index.contents.get(place) for place in offset.tolist()]
    columns = dict(zip(SCHEMA, (index.names.array, offset, size, digest, content), strict=True))
    table = pyarrow.table({name: pyarrow.array(told, SCHEMA[name]) for name, told in columns.items()})
    file = io.BytesIO()
    described = {OF_ARCHIVE: index.described.model_dump_json().encode()}
    pyarrow.parquet.write_table(table.replace_schema_metadata(described), file, compression="zstd")
    return file.getvalue()


def _read(path: Path) -> ShardIndex:
    """Read an index, whose parts lie in no archive yet.

    Raises:
        InputError: The file is not an index, or is damaged.
        OSError: It is not there, or cannot be asked for.
    """
    content = retried(lambda: _whole(path), str(path), counts=False)
    with parsing(path, KIND):
        table = pyarrow.parquet.read_table(io.BytesIO(content))
        table.validate(full=True)
        told_of = (table.schema.metadata or {}).get(OF_ARCHIVE)
        if told_of is None:
            raise ValueError("it does not tell what archive it is of")
        described: Described = checked(told_of, Described)
        if described.form != FORM:
            raise ValueError(f"it is of form {described.form}, and this version reads form {FORM}")
        columns = {name: table[name].cast(kind).combine_chunks() for name, kind in SCHEMA.items()}
        if any(columns[name].null_count for name in ("name", "offset", "size", "digest")):
            raise ValueError("a value is missing")
        offset, size, digest = (columns[name].to_numpy() for name in ("offset", "size", "digest"))
        if (offset < 0).any() or (size < 0).any() or (offset > described.size - size).any():
            raise ValueError("a member does not lie in its archive")
        told = columns["content"]
        labels = np.flatnonzero(told.is_valid().to_numpy(zero_copy_only=False)).tolist()
        contents = {int(offset[row]): told[row].as_py() for row in labels}
        parts = Parts([], np.zeros(len(offset), np.int32), offset, size, digest)
        return ShardIndex(Strings(columns["name"]), parts, contents, described)


def _whole(path: Path) -> bytes:
    """Return the bytes of an index."""
    return path.read_range(0, MOST_BYTES) if isinstance(path, RemotePath) else read_regular(path)
