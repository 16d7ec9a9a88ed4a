"""Conversion of pictures to another storage form, with their bytes unchanged."""

import csv
import io
import json
import os
import shutil
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
from rsft.data.formats import picture_suffixes
from rsft.data.images import ImageSet, find_images
from rsft.data.listing import identity_of, suffix_of
from rsft.data.manifest import IDENTITY, PATH
from rsft.data.passed_over import HIDDEN, IN_SYSTEM
from rsft.data.recordio import write_records
from rsft.errors import InputError, UnreadableImageError

Writer = Callable[[ImageSet, Path], None]


def convert(source: str | os.PathLike[str] | ImageSet, destination: str | os.PathLike[str]) -> dict[str, Any]:
    """Write pictures with identities in another storage form.

    No picture is decoded or changed, so a damaged picture stays damaged. Ids are kept; a `.rec` stores only numbers, so
    its ids go into an `.lst` beside it. Manifests and shards keep attributes; the other forms cannot. The output is
    written to a temporary folder beside the destination and moved into place once it is complete.

    Args:
        source: Anything that `find_images` reads. Every picture needs an identity.
        destination: A folder, a `.tar`, a `.rec`, a manifest (`.csv` or `.parquet`) in a new or empty folder that also
            receives the pictures, or a pattern of shards such as `shard-{000..012}.tar`, which are filled in turn.

    Returns:
        A dictionary with the number of "pictures", the number of "identities", and "lost": the sorted names of the
        attributes that the destination cannot store.

    Raises:
        InputError: The source cannot be used, the destination exists, or its form cannot hold these pictures.
        UnreadableImageError: A file of the source is missing or has become shorter.
    """
    destination = Path(destination)
    write = _writer(destination)
    for path in expand(destination):
        check_apart(path, [source])
    images = _with_suffixes(find_images(source, labelled=True))
    if write in (_write_folder, _write_tar):
        _check_listed(images, destination)
    taken = [path for path in expand(destination) if path.exists()]
    if taken:
        raise InputError(f"'{taken[0]}' exists: choose another destination, or remove it.")
    if write is _write_manifest and destination.parent.exists() and any(destination.parent.iterdir()):
        raise InputError(
            f"the pictures of '{destination}' go into its folder, which is not empty: choose a new folder, such as "
            f"'{destination.with_suffix('') / destination.name}'."
        )
    partial = destination.with_name(destination.name + ".partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    if partial.exists():
        raise InputError(f"'{partial}' exists: wait for the running conversion, or remove it after an interrupted one.")
    partial.mkdir()
    try:
        write(images, partial / destination.name)
        written = sorted(partial.iterdir())
        taken = [path for path in (destination.with_name(path.name) for path in written) if path.exists()]
        if taken:
            raise InputError(f"'{taken[0]}' exists: choose another destination, or remove it.")
        for path in written:
            path.rename(destination.with_name(path.name))
    finally:
        shutil.rmtree(partial)
    return {
        "pictures": len(images),
        "identities": len(images.people_names),
        "lost": [] if write in KEEP_ATTRIBUTES else sorted(images.attributes),
    }


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
