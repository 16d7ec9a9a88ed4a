"""Templates: several pictures of a person that are compared as one."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsft.data.features import Features
from rsft.data.images import ImageSet, find_images
from rsft.data.listing import identity_of
from rsft.data.manifest import PATH, read_columns
from rsft.errors import InputError
from rsft.face.evaluation.all_pairs import normalised
from rsft.face.evaluation.pairs import AllPairs, PairList
from rsft.face.evaluation.protocol import PairRows, check_same, listed_pairs

TEMPLATE = "template"


@dataclass(frozen=True)
class Templates:
    """Which pictures make up each template, and which templates are compared.

    Attributes:
        images: all pictures of all templates.
        names: (T,) sorted.
        members: (T,) ids of the pictures of each.
        people: (T,) identity of each.
        pairs: between templates.
    """

    images: ImageSet
    names: Sequence[str]
    members: Sequence[Sequence[str]]
    people: Sequence[str]
    pairs: PairList | AllPairs


def read_templates(
    table: str | os.PathLike[str], evaluation: str | os.PathLike[str], root: str | os.PathLike[str] | None = None
) -> Templates:
    """Read a table of templates, `template,path`, with a row for each picture of each.

    Args:
        table: the CSV or Parquet file.
        evaluation: a pairs CSV whose `a` and `b` are names of templates; or pictures of identities, of which all
            templates are compared.
        root: what the paths of the table are names in; by default `evaluation` if it holds pictures, else its folder.

    Raises:
        InputError: a column or picture is missing, a template has pictures of two people or one of them twice, or the
            pairs name templates that the table does not have.
    """
    table, evaluation = Path(table), Path(evaluation)
    listed = listed_pairs(evaluation)
    columns = read_columns(table)
    absent = [name for name in (TEMPLATE, PATH) if name not in columns]
    if absent or not columns[PATH]:
        raise InputError(f"'{table}' needs a row for each picture, with the columns template,path.")
    everything = find_images(
        root if root is not None else evaluation if listed is None else evaluation.parent, labelled=True
    )
    place = {item: index for index, item in enumerate(everything.ids)}
    missing = [path for path in columns[PATH] if path not in place]
    if missing:
        raise InputError(
            f"'{table}' names {len(missing)} pictures that are not in '{everything.root}', such as '{missing[0]}'."
        )
    images = everything.subset(sorted({place[path] for path in columns[PATH]}))
    members: dict[str, list[str]] = {}
    for name, path in zip(columns[TEMPLATE], columns[PATH], strict=True):
        members.setdefault(name, []).append(path)
    names = sorted(members)
    for name in names:
        of = {identity_of(path) for path in members[name]}
        if len(of) > 1 or len(set(members[name])) < len(members[name]):
            what = "pictures of several people" if len(of) > 1 else "a picture twice"
            raise InputError(f"'{table}': the template '{name}' has {what}; it needs different pictures of one person.")
    people = [identity_of(members[name][0]) for name in names]
    identity = np.unique(people, return_inverse=True)[1]
    pairs = AllPairs(identity) if listed is None else _between(listed, names, identity, table, evaluation)
    return Templates(images, names, [members[name] for name in names], people, pairs)


def _between(listed: PairRows, names: Sequence[str], identity: np.ndarray, table: Path, evaluation: Path) -> PairList:
    place = {name: index for index, name in enumerate(names)}
    compared = {*listed.first, *listed.second}
    absent = sorted(compared - set(place))
    if absent:
        raise InputError(
            f"'{evaluation}' compares {len(compared)} templates, of which '{table}' lacks {len(absent)}, such as "
            f"'{absent[0]}'; it has {len(names)}."
        )
    a, b = (np.array([place[name] for name in column]) for column in (listed.first, listed.second))
    pairs = PairList(a, b, identity, listed.fold)
    check_same(pairs, listed, evaluation)
    return pairs


def template_embeddings(templates: Templates, features: Features) -> tuple[np.ndarray, np.ndarray]:
    """The mean of the unit embeddings of each template's pictures.

    Args:
        templates: T of them.
        features: of their pictures; some may have been left out.

    Returns:
        (T', D) float32, and (T,) the row of each template, or -1 where none of its pictures is left.
    """
    unit = normalised(features.embeddings)
    place = {item: row for row, item in enumerate(features.ids)}
    means: list[np.ndarray] = []
    row = np.full(len(templates.names), -1)
    for number, members in enumerate(templates.members):
        rows = [place[item] for item in members if item in place]
        if rows:
            row[number] = len(means)
            means.append(unit[rows].mean(0))
    return np.array(means), row
