"""Conversion of pictures to another storage form, with their bytes unchanged."""

import csv
import hashlib
import io
import json
import logging
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

from rsft.data.apart import check_apart
from rsft.data.archives import expand, is_pattern
from rsft.data.columns import Strings, rows_like
from rsft.data.fingerprint import add_text
from rsft.data.formats import picture_suffixes
from rsft.data.images import ImageSet, find_images
from rsft.data.listing import identity_of, suffix_of
from rsft.data.manifest import IDENTITY, PATH
from rsft.data.passed_over import HIDDEN, IN_SYSTEM
from rsft.data.recordio import write_records
from rsft.data.stamps import times_of
from rsft.disk.lock import LOCK, locked
from rsft.disk.moves import finish_moves, moving, partial_of
from rsft.disk.room import check_room, telling_full
from rsft.errors import InputError, UnreadableImageError

log = logging.getLogger(__name__)

Writer = Callable[[ImageSet, Path], None]


def convert(source: str | os.PathLike[str] | ImageSet, destination: str | os.PathLike[str]) -> dict[str, Any]:
    """Write pictures with identities in another storage form.

    No picture is decoded or changed, so a damaged picture stays damaged. Ids are kept; a `.rec` stores only numbers, so
    its ids go into an `.lst` beside it. Manifests and shards keep attributes; the other forms cannot. The output is
    written to a temporary folder beside the destination and moved into place once it is complete. If a process is
    stopped between the moves, the next call with the same destination completes them.

    Args:
        source: Anything that `find_images` reads. Every picture needs an identity.
        destination: A folder, a `.tar`, a `.rec`, a manifest (`.csv` or `.parquet`) in a new or empty folder that also
            receives the pictures, or a pattern of shards such as `shard-{000..012}.tar`, which are filled in turn.

    Returns:
        A dictionary with the number of "pictures", the number of "identities", and "lost": the sorted names of the
        attributes that the destination cannot store.

    Raises:
        InputError: The source cannot be used, the destination exists or is being written by another process, or its
            form cannot hold these pictures.
        DiskFullError: There is no room for the pictures.
        UnreadableImageError: A file of the source is missing or has become shorter.
    """
    destination = Path(destination)
    write = _writer(destination)
    for path in expand(destination):
        check_apart(path, [source])
    done = None
    if partial_of(destination).exists():
        with locked(destination):
            done = finish_moves(destination)  # before the source is read, which may be gone
    images = _with_suffixes(find_images(source, labelled=True))
    destination.parent.mkdir(parents=True, exist_ok=True)
    with locked(destination):
        token, size = _token(images)
        if done != token and finish_moves(destination) != token:
            if write in (_write_folder, _write_tar):
                _check_listed(images, destination)
            _check_free(destination, write)
            check_room(destination, size)
            with telling_full(destination, size), moving(destination, token) as partial:
                write(images, partial / destination.name)
        else:
            log.info("'%s': completed what an interrupted conversion of the same pictures had written.", destination)
    return {
        "pictures": len(images),
        "identities": len(images.people_names),
        "lost": [] if write in KEEP_ATTRIBUTES else sorted(images.attributes),
    }


def _check_free(destination: Path, write: Writer) -> None:
    """Raise an error if a file of the destination exists, or the folder that gets the pictures of a manifest."""
    taken = [path for path in expand(destination) if path.exists()]
    if taken:
        raise InputError(f"'{taken[0]}' exists: choose another destination, or remove it.")
    own = f".{destination.name}{LOCK}"
    if write is _write_manifest and any(path.name != own for path in destination.parent.iterdir()):
        raise InputError(
            f"the pictures of '{destination}' go into its folder, which is not empty: choose a new folder, such as "
            f"'{destination.with_suffix('') / destination.name}'."
        )


def _token(images: ImageSet) -> tuple[str, int]:
    """Return a text that tells apart sets of pictures by their names, attributes, sizes and times; and their size."""
    digest, size = hashlib.blake2b(digest_size=16), 0
    for name, values in {PATH: images.ids, **images.attributes}.items():
        digest.update(name.encode())
        add_text(digest, Strings.shown(values))
    for source in images.sources:
        told = times_of(source)
        size += max(0, told[0])
        digest.update(source if isinstance(source, bytes) else repr((source, told)).encode())
    return digest.hexdigest(), size


def _with_suffixes(images: ImageSet) -> ImageSet:
    """Append a picture suffix to ids that have none, so that folders and archives list them as pictures."""
    suffixes = picture_suffixes()
    ids = [
        item if Path(item).suffix.lower() in suffixes else item + suffix_of(images.read_bytes(index))
        for index, item in enumerate(images.ids)
    ]
    return replace(images, ids=Strings.of(ids))


def _check_listed(images: ImageSet, destination: Path) -> None:
    """Raise `InputError` if a folder or archive of these pictures would hide one of them from a listing."""
    hidden = np.union1d(rows_like(images.ids, HIDDEN), rows_like(images.ids, IN_SYSTEM))
    if len(hidden):
        raise InputError(
            f"'{destination}' would hold {len(hidden)} pictures that a listing passes over as hidden, such as "
            f"'{images.ids[hidden[0]]}': choose a manifest or shards."
        )


def _writer(destination: Path) -> Writer:
    """Choose the writer for a destination by its suffix."""
    suffix = destination.suffix.lower()
    if is_pattern(destination):
        if suffix != ".tar":
            raise InputError(
                f"shards are .tar archives: name them such as shard-{{000..012}}.tar, got '{destination}'."
            )
        return _write_shards
    if suffix in picture_suffixes() | {".bin", ".idx", ".lst", ".zip", ".gz"}:
        raise InputError(f"'{destination}': pools cannot be written as {suffix}: use {', '.join(WRITERS)} or a folder.")
    return WRITERS.get(suffix, _write_folder)


def _contents(images: ImageSet) -> Iterator[tuple[str, bytes]]:
    """Yield the id and the bytes of every picture."""
    for index, item in enumerate(images.ids):
        try:
            yield item, images.read_bytes(index)
        except UnreadableImageError as error:
            raise UnreadableImageError(f"'{item}' is {error}. Remove it; nothing was written.") from error


def _write_folder(images: ImageSet, path: Path) -> None:
    """Write each picture to the path that its id names below a folder."""
    for item, content in _contents(images):
        (path / item).parent.mkdir(parents=True, exist_ok=True)
        with open(path / item, "xb") as file:  # fails where names differ only in case and the system ignores it
            file.write(content)


def _write_tar(images: ImageSet, path: Path) -> None:
    """Write each picture as a member named by its id."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for item, content in _contents(images):
            _add(archive, item, content)


def _write_records(images: ImageSet, path: Path) -> None:
    """Write a `.rec` with its `.idx` and `.lst`."""
    write_records(path, (content for _, content in _contents(images)), images.ids)


def _write_manifest(images: ImageSet, path: Path) -> None:
    """Write a `.csv` or `.parquet` manifest, and the pictures into its folder."""
    _write_folder(images, path.parent)
    columns = {PATH: images.ids, IDENTITY: images.identities, **images.attributes}
    if path.suffix.lower() == ".parquet":
        pyarrow.parquet.write_table(pyarrow.table(columns), path)
        return
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def _write_shards(images: ImageSet, path: Path) -> None:
    """Write sample i to shard i modulo the number of shards, so that each shard holds a mixture of identities."""
    shards = expand(path)
    label = {name: number for number, name in enumerate(sorted(images.people_names))}
    for number, shard in enumerate(shards):
        rows = range(number, len(images), len(shards))
        part = images.subset(rows)
        with tarfile.open(shard, "w", format=tarfile.PAX_FORMAT) as archive:
            for place, (item, content) in enumerate(_contents(part)):
                identity, key = identity_of(item), f"{rows[place]:08d}"
                row = {name: values[place] for name, values in part.attributes.items()}
                row |= {IDENTITY: identity, PATH: item}
                _add(archive, key + Path(item).suffix.lower(), content)
                _add(archive, f"{key}.cls", str(label[identity]).encode())
                _add(archive, f"{key}.json", json.dumps(row, ensure_ascii=False).encode())


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Append a regular file to an archive."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


WRITERS: Mapping[str, Writer] = {
    ".tar": _write_tar,
    ".rec": _write_records,
    ".csv": _write_manifest,
    ".parquet": _write_manifest,
}
KEEP_ATTRIBUTES = (_write_manifest, _write_shards)
