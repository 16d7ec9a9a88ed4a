"""Pictures in uncompressed `.tar` archives: folders of identities, or shards of samples in the WebDataset format.

Members are never extracted. A picture is read at its offset in the archive, and its name is never used as a path on
disk.
"""

import json
import re
import tarfile
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow.compute as pc

from rsft.data.columns import BLOCK, Strings, join_strings
from rsft.data.listing import SUFFIXES, Listing, item_id, join_listings, text_column
from rsft.data.sources import Part, Parts, read_source
from rsft.data.tar_headers import plain_files
from rsft.errors import InputError
from rsft.missing import is_missing, label_name

RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
LABEL_KEYS = ("identity", "cls", "label")
MAX_SHARDS = 100_000
MAX_LABEL_SIZE = 1 << 20  # largest .cls or .json member, in bytes


def list_tar(path: Path) -> Listing:
    """List the pictures of an uncompressed `.tar` archive.

    An archive with a `.cls` member is a shard (see `list_shards`). In any other archive, each member with the suffix of
    a picture is one picture.

    Args:
        path: The archive.

    Raises:
        InputError: The archive is damaged, truncated or compressed, or it is a shard that `list_shards` rejects.
    """
    names: list[Strings] = []
    offsets, sizes = array("q"), array("q")
    members = _members(path)
    while block := list(islice(members, BLOCK)):
        if any(name.endswith(".cls") for name, _ in block):
            return list_shards([path])
        pictures = [(name, part) for name, part in block if _is_picture(name)]
        names.append(text_column([name for name, _ in pictures], path))
        offsets.extend(part.offset for _, part in pictures)
        sizes.extend(part.size for _, part in pictures)
    ids = join_strings(names or [[]])
    place = np.array([offsets, sizes], np.int64)
    parts = Parts([path], np.zeros(len(ids), np.int32), *place)
    if pc.count_distinct(ids.array).as_py() == len(ids):
        return Listing(ids, parts)
    last = np.array(list({name: row for row, name in enumerate(ids)}.values()))  # the last of equal names, as in tar
    return Listing(ids.take(last), parts.take(last))


def is_pattern(path: Path) -> bool:
    """Return whether a path is a pattern of shards, as in `shard-{000..012}.tar`."""
    return RANGE.search(path.name) is not None


def expand(pattern: Path) -> list[Path]:
    """List the paths that a pattern of shards stands for; a path without a range stands for itself.

    Args:
        pattern: A path whose file name may hold ranges of numbers such as `{000..012}`.

    Raises:
        InputError: A range is empty, or longer than `MAX_SHARDS`.

    >>> [path.name for path in expand(Path("shard-{08..10}.tar"))]
    ['shard-08.tar', 'shard-09.tar', 'shard-10.tar']
    """
    match = RANGE.search(pattern.name)
    if match is None:
        return [pattern]
    first, last = (int(number) for number in match.groups())
    if not first <= last < first + MAX_SHARDS:
        raise InputError(f"'{pattern}' needs a range of 1 to {MAX_SHARDS} shards, such as shard-{{000..012}}.tar.")
    names = (
        pattern.name[: match.start()] + f"{number:0{len(match[1])}d}" + pattern.name[match.end() :]
        for number in range(first, last + 1)
    )
    return [path for name in names for path in expand(pattern.with_name(name))]


def list_shards(paths: Sequence[Path]) -> Listing:
    """List the pictures of WebDataset shards.

    Members whose names agree up to the first dot form a sample. A sample has at most one picture; a sample without one
    is skipped. The `.json` of a sample works like a row of a manifest: it gives the identity (the first of `identity`,
    `cls` and `label` that it has), the name of the picture (`path`), and attributes (all other keys). If the `.json`
    gives no identity, the `.cls` does.

    Args:
        paths: The shards, uncompressed `.tar` archives.

    Raises:
        InputError: A shard is missing or damaged, or a sample has two pictures or an unreadable label.
    """
    absent = next((path for path in paths if not path.is_file()), None)
    if absent is not None:
        raise InputError(f"the shard '{absent}' does not exist: the pattern names {len(paths)} shards.")
    return join_listings([_list_shard(path) for path in paths])


def _list_shard(path: Path) -> Listing:
    """List the pictures of one shard."""
    ids, sources, rows = [], [], []
    for key, sample in _samples(path).items():
        pictures = [kind for kind in sample if f".{kind.rpartition('.')[2].lower()}" in SUFFIXES]
        if len(pictures) > 1:
            raise InputError(f"'{path}': the sample '{key}' needs one picture, got {len(pictures)}.")
        if pictures:
            identity, name, row = _row(sample, key, path)
            name = f"{key}.{pictures[0]}" if name is None else str(PurePosixPath(name))
            ids.append(item_id(identity, name, path))
            sources.append(sample[pictures[0]])
            rows.append(row)
    names = sorted({name for row in rows for name in row})
    attributes = {name: Strings.shown([row.get(name, "") for row in rows]) for name in names}
    return Listing(text_column(ids, path), Parts.of(sources), attributes)


def _samples(path: Path) -> dict[str, dict[str, Part]]:
    """Group the members of a shard by sample: name up to the first dot -> rest of the name -> member."""
    samples: dict[str, dict[str, Part]] = {}
    for name, part in dict(_members(path)).items():  # the last of equal names counts, as in tar
        folder, slash, base = name.rpartition("/")
        stem, _, kind = base.partition(".")
        samples.setdefault(folder + slash + stem, {})[kind] = part
    return samples


def _row(sample: dict[str, Part], key: str, path: Path) -> tuple[str | None, str | None, dict[str, str]]:
    """Read the identity, path and attributes of a sample, as text, from its `.json` and its `.cls`."""
    labels = {kind: sample[kind] for kind in ("cls", "json") if kind in sample}
    if not labels:
        return None, None, {}
    for kind, part in labels.items():
        if part.size > MAX_LABEL_SIZE:
            raise InputError(f"'{path}': '{key}.{kind}' has {part.size} bytes, more than a label may have.")
    try:
        row: Any = json.loads(read_source(labels["json"])) if "json" in labels else {}
        label = read_source(labels["cls"]).decode().strip() if "cls" in labels else None
    except (ValueError, RecursionError) as error:
        raise InputError(f"'{path}': the label of '{key}' cannot be read: {error}.") from error
    if not isinstance(row, dict):
        raise InputError(f"'{path}': '{key}.json' needs an object of names and values.")
    told = {
        name: "" if is_missing(value) else str(value)
        for name, value in row.items()
        if isinstance(value, str | int | float)
    }
    named = next((name for name in LABEL_KEYS if name in told), None)
    if named is not None:
        del told[named]
        label = row[named]
    return None if label is None else label_name(label), told.pop("path", None), told


def _is_picture(name: str) -> bool:
    """Return whether a file has the suffix of a picture, and more of a name than that."""
    stem, _, kind = name[name.rfind("/") + 1 :].rpartition(".")
    return bool(stem) and f".{kind.lower()}" in SUFFIXES


def _members(path: Path) -> Iterator[tuple[str, Part]]:
    """Yield the name and the place of each regular file in an archive."""
    plain = plain_files(path)
    return _odd_members(path) if plain is None else zip(*plain, strict=True)


def _odd_members(path: Path) -> Iterator[tuple[str, Part]]:
    """Yield the same for an archive with long names, links and whatever else `tarfile` knows."""
    try:
        with tarfile.open(path, "r:") as archive:
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # otherwise it keeps an object for each
                if member.isfile():
                    yield str(PurePosixPath(member.name)), Part(path, member.offset_data, member.size)
            ended = archive.offset < path.stat().st_size
    except (tarfile.TarError, UnicodeDecodeError) as error:
        raise InputError(f"'{path}' is not a complete, uncompressed .tar archive: {error}.") from error
    if not ended:
        raise InputError(f"'{path}' is truncated: its end-of-archive mark is missing. Copy it again.")
