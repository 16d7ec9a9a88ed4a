"""Templates: several pictures of a person that are compared as one."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsft.data.column_names import PATH, TEMPLATE
from rsft.data.columns import plain_paths
from rsft.data.composition import composed_names
from rsft.data.features import Features
from rsft.data.images import ImageSet, find_images
from rsft.data.listing import identity_of
from rsft.data.table import read_table
from rsft.errors import InputError
from rsft.face.evaluation.all_pairs import normalised
from rsft.face.evaluation.pair_table import PairRows, check_known, check_same, listed_pairs
from rsft.face.evaluation.pairs import AllPairs, PairList


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
        table: The table; see `rsft.data.table.read_table`.
        evaluation: Table of pairs whose columns `a` and `b` name templates; or labelled pictures, in which case all
            templates are compared.
        root: Pictures that the table names. By default `evaluation` if it holds pictures, otherwise its folder.

    Raises:
        InputError: If a column or picture is missing, a template has pictures of two people or the same picture twice,
            or the pairs name a template that is not in the table.
    """
    evaluation = Path(evaluation)
    listed = listed_pairs(evaluation)
    told = read_table(Path(table), [TEMPLATE, PATH])
    if not len(told):
        raise InputError(f"'{table}' needs a row for each picture, with the columns template,path.")
    everything = find_images(
        root if root is not None else evaluation if listed is None else evaluation.parent, labelled=True
    )
    place = {item: index for index, item in enumerate(everything.ids)}
    template, paths = plain_paths(told.labels(TEMPLATE)), composed_names(told.paths(PATH))
    missing = [row for row, path in enumerate(paths) if path not in place]
    if missing:
        raise InputError(
            f"'{table}' names {len(missing)} pictures that are not in '{everything.root}', such as "
            f"'{paths[missing[0]]}' in {told.place(missing[0])}."
        )
    nameless = [row for row, name in enumerate(template) if name == "."]  # the plain spelling of nothing
    if nameless:
        raise InputError(f"{told.place(nameless[0])} names no template.")
    images = everything.subset(sorted({place[path] for path in paths}))
    members: dict[str, list[str]] = {}
    for name, path in zip(template, paths, strict=True):
        members.setdefault(name, []).append(path)
    names = sorted(members)
    for name in names:
        of = {identity_of(path) for path in members[name]}
        if len(of) > 1 or len(set(members[name])) < len(members[name]):
            what = "pictures of several people" if len(of) > 1 else "a picture twice"
            raise InputError(f"'{table}': the template '{name}' has {what}; it needs different pictures of one person.")
    people = [identity_of(members[name][0]) for name in names]
    identity = np.unique(people, return_inverse=True)[1]
    pairs = AllPairs(identity) if listed is None else _between(listed, names, identity, Path(table), evaluation)
    return Templates(images, names, [members[name] for name in names], people, pairs)


def _between(listed: PairRows, names: Sequence[str], identity: np.ndarray, table: Path, evaluation: Path) -> PairList:
    """Return the pairs of templates that a CSV lists."""
    place = {name: index for index, name in enumerate(names)}
    compared = {*listed.first, *listed.second}
    check_known(
        listed,
        place.__contains__,
        lambda count, name, where: (
            f"'{evaluation}' compares {len(compared)} templates, of which '{table}' lacks {count}, such as '{name}'; "
            f"it has {len(names)}. See {where}."
        ),
    )
    a, b = (np.array([place[name] for name in column]) for column in (listed.first, listed.second))
    pairs = PairList(a, b, identity, listed.fold)
    check_same(pairs, listed)
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
