"""Templates: several pictures of a person that are compared as one."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsft.data.composition import composed
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
    """The pictures of each template, and the pairs of templates that are compared.

    Attributes:
        images: All pictures of all templates.
        names: (T,) names of the templates, sorted.
        members: (T,) ids of the pictures of each template.
        people: (T,) identity of each template.
        pairs: Pairs of indices into `names`.
    """

    images: ImageSet
    names: Sequence[str]
    members: Sequence[Sequence[str]]
    people: Sequence[str]
    pairs: PairList | AllPairs


def read_templates(
    table: str | os.PathLike[str], evaluation: str | os.PathLike[str], root: str | os.PathLike[str] | None = None
) -> Templates:
    """Read a table with the columns `template,path`, which has a row for each picture of each template.

    Args:
        table: CSV or Parquet file.
        evaluation: CSV of pairs whose columns `a` and `b` name templates; or labelled pictures, in which case all
            templates are compared.
        root: Pictures that the table names. By default `evaluation` if it holds pictures, otherwise its folder.

    Raises:
        InputError: If a column or picture is missing, a template has pictures of two people or the same picture twice,
            or the pairs name a template that is not in the table.
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
    columns[PATH] = [composed(path) for path in columns[PATH]]
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
    """Return the pairs of templates that a CSV lists."""
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
    """Embed each template as the mean of the embeddings of its pictures, each scaled to length 1.

    Args:
        templates: The T templates.
        features: Features of their pictures. Unusable pictures may be missing.

    Returns:
        (T', D) float32 embeddings of the templates that have a picture left; and (T,) int row of each template in them,
        or -1 if it has none.
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
