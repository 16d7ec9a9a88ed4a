"""Manifests: tables `path[,identity][,<attributes...>]` with paths relative to the file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.compute as pc

from rsft.data.column_names import CLIP, IDENTITY, PATH
from rsft.data.columns import BLOCK, Strings, first_part, first_rows, rows_like, true_rows
from rsft.data.composition import FilesOfAnyComposition, composed_names
from rsft.data.folder import absent_files
from rsft.data.huggingface import holds_pictures, list_table
from rsft.data.lfw import PEOPLE, lfw_kind, list_people
from rsft.data.listing import Listing, item_id, text_column
from rsft.data.remote import is_url
from rsft.data.sources import Files
from rsft.data.table import Table, holds_parquet, read_table
from rsft.errors import InputError

# Regular expressions of RE2. SUSPECT: paths that may lead out, and URLs. UNFIT: identities that may name no folder.
SUSPECT = r"^\.$|^/|\.\.|\x00|^[a-zA-Z][a-zA-Z0-9+.-]+:/"
UNFIT = r"/|^\.{0,2}$"


def list_manifest(manifest: Path) -> Listing:
    """List the pictures of a manifest.

    Each row names a picture by `path`, and its identity by `identity` if there is such a column. All other columns
    become attributes, as text. A Parquet file with a column of pictures in Hugging Face's format is listed by
    `list_table` instead, and LFW's own list of people by `list_people`.

    Args:
        manifest: A table; see `read_table`.

    Raises:
        InputError: The file cannot be read, has no column `path`, has an empty path, lacks identities or gives a
            picture two, or names a picture that is missing or outside the folder of the manifest.
    """
    if holds_parquet(manifest, holds_pictures):
        return list_table(manifest)
    if lfw_kind(manifest) == PEOPLE:
        return list_people(manifest)
    table = read_table(manifest, [PATH], [IDENTITY, CLIP])
    paths = _checked_paths(table)
    files, names = _files(table, manifest.parent, paths), composed_names(paths)
    ids = _ids(table, names) if IDENTITY in table.columns else names
    del table.columns[PATH]  # so that the memory of each column is free once it is text
    table.columns.pop(IDENTITY, None)
    return Listing(
        ids,
        Files(manifest.parent, files),
        {name: table.labels(name) if name == CLIP else table.values(name) for name in table.columns},
    )


def _files(table: Table, root: Path, paths: Strings) -> Strings:
    """Return the paths of the files that a manifest names, spelt as they are on the disk."""
    missing = absent_files(root, paths)
    search = FilesOfAnyComposition(root)
    found = [search.find(path) for path in paths.take(missing)]
    for row, path, files in zip(missing.tolist(), paths.take(missing), found, strict=True):
        if not files:
            raise InputError(
                f"'{table.path}' names {found.count([])} pictures that do not exist, such as '{path}' in "
                f"{table.place(row)}: paths are relative to the folder of the manifest."
            )
        if len(files) > 1:
            raise InputError(
                f"{table.place(row)} names '{path}', and {len(files)} files differ from it only in how Unicode "
                f"composes their letters, such as {files[0]!a}: rename them."
            )
    return paths.replaced(missing, (files[0] for files in found))


def _checked_paths(table: Table) -> Strings:
    """Return the paths of a manifest; raise `InputError` if one leads out of the folder of the manifest."""
    paths = table.paths(PATH)
    for row in rows_like(paths, SUSPECT).tolist():
        path = paths[row]
        if is_url(path):  # its query is no business of a message
            raise InputError(
                f"{table.place(row)} names a URL: paths are relative to the folder of the manifest, so put it beside "
                "the pictures, and give its URL."
            )
        if path == "." or path.startswith("/") or ".." in path.split("/") or "\0" in path:
            raise InputError(f"{table.place(row)} names '{path}': paths must lie below the folder of the manifest.")
    return paths


def _ids(table: Table, paths: Strings) -> Strings:
    """Return the `item_id` of each row; raise `InputError` if an identity is missing or cannot name a folder."""
    told, labels, array = table.text(IDENTITY), composed_names(table.labels(IDENTITY)), paths.array
    # a person may be named like a missing value where their folder is too
    names = pc.if_else(pc.equal(labels.array, ""), composed_names(told).array, labels.array)
    below = pyarrow.concat_arrays(
        pc.and_(
            pc.equal(pc.utf8_trim_whitespace(first_part(part)), names.slice(start, BLOCK)),
            pc.match_substring(part, "/"),
        )
        for start in range(0, max(1, len(paths)), BLOCK)
        for part in [array.slice(start, BLOCK)]
    )
    if pc.all(below, min_count=0).as_py():
        return paths
    lacking = true_rows(pc.and_(pc.equal(labels.array, ""), pc.invert(below)))
    if len(lacking):
        row = int(lacking[0])
        raise InputError(
            f"{table.place(row)} needs an identity that can name a folder, and '{told[row]}' stands for none: "
            f"{len(lacking)} of {len(table)} rows lack one. Leave them out, or say who is in '{paths[row]}'."
        )
    _check_one_person(table, paths, labels)
    slash = pyarrow.scalar("/", pyarrow.large_string())
    joined = Strings(pc.if_else(below, array, pc.binary_join_element_wise(labels.array, array, slash)))
    rows = np.intersect1d(rows_like(labels, UNFIT), true_rows(pc.invert(below)))
    pairs = zip(labels.take(rows), paths.take(rows), strict=True)
    return joined.replaced(rows, (item_id(identity, path, table.path) for identity, path in pairs))


def _check_one_person(table: Table, paths: Strings, labels: Strings) -> None:
    """Raise `InputError` if a manifest gives a picture two identities."""
    first = first_rows(paths)
    other = true_rows(pc.not_equal(labels.array, labels.take(first).array))
    if len(other):
        row, before = int(other[0]), int(first[other[0]])
        raise InputError(
            f"{table.place(row)} contradicts an earlier row: '{paths[row]}' shows '{labels[row]}' here, and "
            f"'{labels[before]}' in {table.place(before)}. Keep one of them."
        )


def read_attributes(path: Path, items: Sequence[str]) -> dict[str, Strings]:
    """Read the attributes of items from a table with a column `path` and one column per attribute.

    Args:
        path: The file; see `read_table`. It may repeat a row.
        items: Ids of the items, as the column `path` spells them.

    Returns:
        Attribute -> values as text, in the order of `items`; an empty text where a value is missing.

    Raises:
        InputError: The file cannot be read, has no column `path` or no row, lacks a row for an item, or has rows for an
            item that contradict each other.
    """
    table = read_table(path, [PATH])
    if not len(table):
        raise InputError(f"'{path}' needs a header with a column 'path' and a column for each attribute, and rows.")
    paths = composed_names(table.paths(PATH))
    attributes = [name for name in table.columns if name != PATH]
    table.first_rows(paths, attributes)  # only to check that they agree
    names = composed_names(text_column(items, path))
    found = pc.index_in(names.array, paths.array)  # the first of several rows for an item
    lacking = names.take(true_rows(found.is_null()))
    if lacking:
        raise InputError(f"'{path}' has no row for {len(lacking)} pictures, such as '{lacking[0]}'.")
    rows = found.to_numpy().astype(np.int64)
    return {name: table.values(name).take(rows) for name in attributes}
