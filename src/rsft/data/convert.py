"""The same pictures in another form, their bytes as they are."""

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

import pyarrow
import pyarrow.parquet

from rsft.data.apart import check_apart
from rsft.data.archives import expand, is_pattern
from rsft.data.images import ImageSet, find_images
from rsft.data.listing import SUFFIXES, suffix_of
from rsft.data.manifest import IDENTITY, PATH
from rsft.data.recordio import write_records
from rsft.errors import InputError, UnreadableImageError

Writer = Callable[[ImageSet, Path], None]


def convert(source: str | os.PathLike[str] | ImageSet, destination: str | os.PathLike[str]) -> dict[str, Any]:
    """Write pictures of identities in another form.

    Nothing is decoded or changed: a damaged picture stays one. Ids stay the same; those of a `.rec`, which itself knows
    numbers only, stand in the `.lst` beside it. Attributes are kept by manifests and shards. All is written aside and
    moved in place when whole.

    Args:
        source: anything that `find_images` reads.
        destination: a folder, a `.tar`, a `.rec`, a manifest (`.csv` or `.parquet`) in a folder of its own, into which
            the pictures come too, or a pattern of shards, which are filled in turns.

    Returns:
        "pictures" and "identities", how many; "lost", the names of attributes that the form has no place for.

    Raises:
        InputError: the source cannot be used, or something stands where the destination would be.
        UnreadableImageError: a file of the source is missing or has become shorter.
    """
    destination = Path(destination)
    write = _writer(destination)
    for path in expand(destination):
        check_apart(path, [source])
    images = _with_suffixes(find_images(source, labelled=True))
    taken = [path for path in expand(destination) if path.exists()]
    if taken:
        raise InputError(f"'{taken[0]}' exists: choose another destination, or remove it.")
    if write is _write_manifest and destination.parent.exists() and any(destination.parent.iterdir()):
        raise InputError(
            f"the pictures of '{destination}' come into its folder, which is not empty: name a new one, such as "
            f"'{destination.with_suffix('') / destination.name}'."
        )
    partial = destination.with_name(destination.name + ".partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    if partial.exists():
        raise InputError(f"'{partial}' is left of an interrupted conversion, or of one under way: remove it.")
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
        "identities": len(set(images.identities)),
        "lost": [] if write in KEEP_ATTRIBUTES else sorted(images.attributes),
    }


def _with_suffixes(images: ImageSet) -> ImageSet:
    """With names by which a folder or archive tells pictures from other files; manifests do not need them."""
    ids = [
        item if Path(item).suffix.lower() in SUFFIXES else item + suffix_of(images.read_bytes(index))
        for index, item in enumerate(images.ids)
    ]
    return replace(images, ids=ids)


def _writer(destination: Path) -> Writer:
    suffix = destination.suffix.lower()
    if is_pattern(destination):
        if suffix != ".tar":
            raise InputError(
                f"shards are .tar archives: name them such as shard-{{000..012}}.tar, got '{destination}'."
            )
        return _write_shards
    if suffix in SUFFIXES | {".bin", ".idx", ".lst", ".zip", ".gz"}:
        raise InputError(f"'{destination}': no pool is written as {suffix}; choose {', '.join(WRITERS)} or a folder.")
    return WRITERS.get(suffix, _write_folder)


def _contents(images: ImageSet) -> Iterator[tuple[str, bytes]]:
    """Id and bytes of every picture."""
    for index, item in enumerate(images.ids):
        try:
            yield item, images.read_bytes(index)
        except UnreadableImageError as error:
            raise UnreadableImageError(f"'{item}' is {error}. Remove it; nothing was written.") from error


def _write_folder(images: ImageSet, path: Path) -> None:
    for item, content in _contents(images):
        (path / item).parent.mkdir(parents=True, exist_ok=True)
        with open(path / item, "xb") as file:  # where names that differ in case are one file, this fails
            file.write(content)


def _write_tar(images: ImageSet, path: Path) -> None:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for item, content in _contents(images):
            _add(archive, item, content)


def _write_records(images: ImageSet, path: Path) -> None:
    write_records(path, (content for _, content in _contents(images)), images.ids)


def _write_manifest(images: ImageSet, path: Path) -> None:
    _write_folder(images, path.parent)
    columns = {PATH: images.ids, IDENTITY: images.identities, **images.attributes}
    if path.suffix.lower() == ".parquet":
        pyarrow.parquet.write_table(pyarrow.table({name: list(values) for name, values in columns.items()}), path)
        return
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def _write_shards(images: ImageSet, path: Path) -> None:
    """Sample i goes to shard i modulo their number, so that each shard holds a bit of everything."""
    shards = expand(path)
    label = {name: number for number, name in enumerate(sorted(set(images.identities)))}
    for number, shard in enumerate(shards):
        rows = range(number, len(images), len(shards))
        part = images.subset(rows)
        with tarfile.open(shard, "w", format=tarfile.PAX_FORMAT) as archive:
            for place, (item, content) in enumerate(_contents(part)):
                identity, key = item.partition("/")[0], f"{rows[place]:08d}"
                row = {name: values[place] for name, values in part.attributes.items()}
                row |= {IDENTITY: identity, PATH: item}
                _add(archive, key + Path(item).suffix.lower(), content)
                _add(archive, f"{key}.cls", str(label[identity]).encode())
                _add(archive, f"{key}.json", json.dumps(row, ensure_ascii=False).encode())


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
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
