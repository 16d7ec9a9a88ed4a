"""Pictures in uncompressed `.tar` archives: folders of identities, or shards of samples in the WebDataset format.

Members are never extracted. A picture is read at its offset in the archive, and its name is never used as a path on
disk.
"""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow.compute as pc

from rsft.data.columns import Strings, first_part, rows_like, true_rows
from rsft.data.formats import picture_suffixes
from rsft.data.listing import Listing, item_id, join_listings, picture_rows, text_column
from rsft.data.passed_over import HIDDEN, IN_SYSTEM, NO_PICTURE, REPLACED, Tally, place_passed_over
from rsft.data.remote import RemotePath
from rsft.data.shard_index import MAX_LABEL_SIZE, members_of
from rsft.data.sources import Part, Parts, read_source
from rsft.data.tar_members import list_members
from rsft.errors import InputError
from rsft.missing import is_missing, label_name

RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
LABEL_KEYS = ("identity", "cls", "label")
MAX_SHARDS = 100_000


def list_tar(path: Path) -> Listing:
    """List the pictures of an uncompressed `.tar` archive, or of several joined end to end.

    An archive with a `.cls` member is a shard (see `list_shards`). In any other archive, each member with the suffix of
    a picture is one picture. A link to a member is another name of it.

    Args:
        path: The archive.

    Raises:
        InputError: The archive is damaged, truncated or compressed, or it is a shard that `list_shards` rejects.
    """
    tally = Tally()
    found = members_of([path])[0] if isinstance(path, RemotePath) else None
    every, parts = list_members(path, tally) if found is None else (found.names, found.parts)
    names, parts = _visible(every, parts, tally)
    if len(rows_like(names, r"\.cls$")):
        return _list_shard(names, parts, tally, path, read_source if found is None else found.read)
    pictures = picture_rows(names)
    for name in names.take(np.setdiff1d(np.arange(len(names)), pictures, assume_unique=True)):
        tally.add_file(name)
    ids = names.take(pictures)
    if pc.count_distinct(ids.array).as_py() < len(ids):
        last = np.array(list({name: row for row, name in enumerate(ids)}.values()))  # of equal names, as in tar
        tally.add(REPLACED, min(set(ids.take(np.setdiff1d(np.arange(len(ids)), last)))), len(ids) - len(last))
        pictures, ids = pictures[last], ids.take(last)
    without = _first_folders(every) - _first_folders(ids)
    folders = (folder for folder in without if place_passed_over(f"{folder}/") is None)
    return Listing(ids, parts.take(pictures), passed_over=tally.told(folders))


def _visible(names: Strings, parts: Parts, tally: Tally) -> tuple[Strings, Parts]:
    """Leave out the members that are hidden or lie in folders of the system, and count these."""
    hidden = np.union1d(rows_like(names, HIDDEN), rows_like(names, IN_SYSTEM))
    if not len(hidden):
        return names, parts
    for reason, place in filter(None, {place_passed_over(name) for name in names.take(hidden)}):
        tally.add(reason, place)
    kept = np.setdiff1d(np.arange(len(names)), hidden, assume_unique=True)
    return names.take(kept), parts.take(kept)


def _first_folders(names: Strings) -> set[str]:
    """Return the first parts of the names that have several."""
    return set(names.take(true_rows(pc.match_substring(names.array, "/"))).coded(first_part).names)


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
        paths: The shards, uncompressed `.tar` archives; all on a disk, or all remote.

    Raises:
        InputError: A shard is missing or damaged, or a sample has two pictures or an unreadable label.
    """
    remote = [path for path in paths if isinstance(path, RemotePath)]
    listings = []
    if remote:
        for shard, found in zip(remote, members_of(remote), strict=True):
            tally = Tally()
            listings.append(_list_shard(*_visible(found.names, found.parts, tally), tally, shard, found.read))
        return join_listings(listings)
    absent = next((path for path in paths if not path.is_file()), None)
    if absent is not None:
        raise InputError(f"the shard '{absent}' does not exist: the pattern names {len(paths)} shards.")
    for path in paths:
        tally = Tally()
        listings.append(_list_shard(*_visible(*list_members(path, tally), tally), tally, path, read_source))
    return join_listings(listings)


def _list_shard(names: Strings, parts: Parts, tally: Tally, path: Path, read: Callable[[Part], bytes]) -> Listing:
    """List the pictures of one shard, of which the visible members are given; `read` reads those that tell labels."""
    ids, sources, rows = [], [], []
    suffixes = picture_suffixes()
    for key, sample in _samples(names, parts).items():
        pictures = [kind for kind in sample if f".{kind.rpartition('.')[2].lower()}" in suffixes]
        if len(pictures) > 1:
            raise InputError(f"'{path}': the sample '{key}' needs one picture, got {len(pictures)}.")
        if pictures:
            identity, name, row = _row(sample, key, path, read)
            name = f"{key}.{pictures[0]}" if name is None else str(PurePosixPath(name))
            ids.append(item_id(identity, name, path))
            sources.append(sample[pictures[0]])
            rows.append(row)
        else:
            tally.add(NO_PICTURE, f"{key}.{min(sample)}".rstrip("."))
    told = sorted({name for row in rows for name in row})
    attributes = {name: Strings.shown([row.get(name, "") for row in rows]) for name in told}
    return Listing(text_column(ids, path), Parts.of(sources), attributes, tally.told())


def _samples(names: Strings, parts: Parts) -> dict[str, dict[str, Part]]:
    """Group the members of a shard by sample: name up to the first dot -> rest of the name -> member."""
    samples: dict[str, dict[str, Part]] = {}
    for name, part in dict(zip(names, parts, strict=True)).items():  # the last of equal names counts, as in tar
        folder, slash, base = name.rpartition("/")
        stem, _, kind = base.partition(".")
        samples.setdefault(folder + slash + stem, {})[kind] = part
    return samples


def _row(
    sample: dict[str, Part], key: str, path: Path, read: Callable[[Part], bytes]
) -> tuple[str | None, str | None, dict[str, str]]:
    """Read the identity, path and attributes of a sample, as text, from its `.json` and its `.cls`."""
    labels = {kind: sample[kind] for kind in ("cls", "json") if kind in sample}
    if not labels:
        return None, None, {}
    for kind, part in labels.items():
        if part.size > MAX_LABEL_SIZE:
            raise InputError(f"'{path}': '{key}.{kind}' has {part.size} bytes, more than a label may have.")
    try:
        row: Any = json.loads(read(labels["json"])) if "json" in labels else {}
        label = read(labels["cls"]).decode().strip() if "cls" in labels else None
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
