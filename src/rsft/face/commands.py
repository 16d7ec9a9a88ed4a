"""`rsft plan`, `rsft evaluate` and `rsft embed` on folders of pictures."""

import os
import tomllib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from rsft.data.features import DESCRIPTION_FILE, Features, load_features
from rsft.data.images import find_images
from rsft.data.manifest import PATH, read_columns
from rsft.errors import InputError
from rsft.face.bundle import FaceModel
from rsft.face.embed import embed
from rsft.face.fit import usable
from rsft.face.model import ModelLike, load_model
from rsft.face.planning import plan_faces, rank_face_plans
from rsft.face.protocol import read_protocol
from rsft.face.recipe import Recipe
from rsft.face.results import write_plan
from rsft.face.stages import Listener, Stages, silent
from rsft.face.verification import Trial, cosine_scores, verify
from rsft.plan import Plan, plan_from_ratio
from rsft.ranking import Ranked
from rsft.ratio.attributes import raked_ratio
from rsft.run_folder import writing

PathLike = str | os.PathLike[str]


def embed_folder(
    *,
    pool: PathLike,
    out: PathLike,
    model: ModelLike = "dlib",
    aligned: bool = False,
    overwrite: bool = False,
    listener: Listener = silent,
) -> Features:
    """Embed the pictures that `find_images` finds into the folder `out`; see `Features.save` for its files.

    Raises:
        InputError: no picture could be used, or `out` exists.
    """
    with writing(Path(out), overwrite=overwrite) as folder:
        features = _embedded(pool, load_model(model), Recipe(), "pictures", aligned, Stages(listener))
        features.save(folder)
    return features


def plan_folders(
    *,
    pool: PathLike,
    target: PathLike,
    model: ModelLike = "dlib",
    out: PathLike | None = None,
    recipe: Recipe | None = None,
    compare: bool = False,
    aligned: bool = False,
    seed: int = 0,
    overwrite: bool = False,
    listener: Listener = silent,
) -> tuple[Plan, list[Ranked]]:
    """What would be accepted of a pool for a target, without training.

    Args:
        pool: anything that `find_images` reads, with identities, or an output of `embed_folder`.
        target: pictures without labels, or an output of `embed_folder`.
        model: as for `load_model`.
        out: folder for `plan.json` and `accepted.parquet`, if wanted.
        recipe: what it says of the plan is used, and its cut.
        compare: make a plan with each kind of features, and rank them; otherwise with those of the recipe.
        aligned: the pictures are aligned chips already.
        seed: of the ratio's folds and the accept decisions.
        overwrite: replace an existing `out`.
        listener: is told how far each stage is.

    Returns:
        The plan, the best of those compared; and all of them, the best first, where `compare`.

    Raises:
        InputError: something given cannot be used.
    """
    recipe = recipe or Recipe()
    stages = Stages(listener)
    face_model = load_model(model)
    pool_features = _embedded(pool, face_model, recipe, "pool", aligned, stages, labelled=True)
    target_features = _embedded(target, face_model, recipe, "target", aligned, stages)
    names = [PurePosixPath(item).parts[0] for item in pool_features.ids]
    people = np.unique(names, return_inverse=True)[1]
    with stages.stage("plan"):
        ranking: list[Ranked] = []
        options = recipe.plan_options() | {"seed": seed}
        if compare:
            del options["features"]
            methods = (options.pop("method"),)
            ranking = rank_face_plans(pool_features, target_features, people, methods=methods, **options)
        plan = ranking[0].plan if ranking else plan_faces(pool_features, target_features, people, **options)
    if out is not None:
        with writing(Path(out), overwrite=overwrite) as folder:
            write_plan(folder, plan, recipe.retain_fraction, pool_features.ids, names)
    return plan, ranking


def plan_attributes(
    *,
    pool: PathLike,
    shares: PathLike,
    attributes: PathLike | None = None,
    out: PathLike | None = None,
    recipe: Recipe | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> Plan:
    """What would be accepted for a target that is known by shares of attributes; nothing is decoded.

    Args:
        pool: anything that `find_images` reads, with identities.
        shares: a TOML file with a table for each attribute: its values and their shares of the target. Several are
            raked to their margins.
        attributes: a CSV or Parquet file with a column `path` (as below the pool) and one for each attribute; by
            default those that the pool has itself.
        out: as in `plan_folders`.
        recipe: likewise.
        seed: of the accept decisions.
        overwrite: replace an existing `out`.

    Raises:
        InputError: a file is missing, a picture has no row, or the shares cannot be met.
    """
    recipe = recipe or Recipe()
    images = find_images(pool, labelled=True)
    values = images.attributes if attributes is None else _read_attributes(Path(attributes), images.ids)
    wanted = _read_shares(shares)
    missing = [name for name in wanted if name not in values]
    if missing:
        where = pool if attributes is None else attributes
        raise InputError(f"'{where}' has no column '{missing[0]}', which '{shares}' gives shares of: see --attributes.")
    names = [PurePosixPath(item).parts[0] for item in images.ids]
    options = recipe.plan_options()
    result = plan_from_ratio(
        raked_ratio({name: values[name] for name in wanted}, wanted),
        identities=torch.from_numpy(np.unique(names, return_inverse=True)[1]),
        seed=seed,
        **{name: options[name] for name in ("envelope", "retain_fraction", "accept_by", "floor")},
    )
    if out is not None:
        with writing(Path(out), overwrite=overwrite) as folder:
            write_plan(folder, result, recipe.retain_fraction, images.ids, names)
    return result


def _read_attributes(path: Path, items: Sequence[str]) -> dict[str, list[str]]:
    """Attribute -> values in the order of the items."""
    columns = read_columns(path)
    if PATH not in columns or not columns[PATH]:
        raise InputError(f"'{path}' needs a header with a column 'path' and one for each attribute.")
    row = {item: number for number, item in enumerate(columns.pop(PATH))}
    lacking = [item for item in items if item not in row]
    if lacking:
        raise InputError(f"'{path}' has no row for {len(lacking)} pictures of the pool, such as '{lacking[0]}'.")
    return {name: [values[row[item]] for item in items] for name, values in columns.items()}


def _read_shares(path: PathLike) -> dict[str, dict[str, float]]:
    try:
        shares = tomllib.loads(Path(path).read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"cannot read '{path}': {error}.") from error
    for name, table in shares.items():
        numbers = isinstance(table, dict) and all(isinstance(share, int | float) for share in table.values())
        if not numbers:
            raise InputError(f"'{path}' needs a table [{name}] of values and their shares, such as night = 0.7.")
    return shares


def evaluate_folders(
    *,
    evaluation: PathLike,
    model: ModelLike = "dlib",
    evaluation_root: PathLike | None = None,
    retain: PathLike | None = None,
    retain_root: PathLike | None = None,
    aligned: bool = False,
    seed: int = 0,
    listener: Listener = silent,
) -> dict[str, dict[str, Any]]:
    """Accuracy, TAR at fixed FMRs and EER of a model on one or two sets; arguments as in `fit`.

    Returns:
        "target" and, if given, "retain": each as `Verification.to_dict`.
    """
    stages, face_model, results = Stages(listener), load_model(model), {}
    for key, path, root in (("target", evaluation, evaluation_root), ("retain", retain, retain_root)):
        if path is not None:
            protocol = read_protocol(path, root)
            with stages.stage(f"embed {key}", len(protocol.images)) as advance:
                features = embed(face_model, protocol.images, cut=Recipe().cut, aligned=aligned, progress=advance)
            comparisons = usable(protocol, features)
            scores = {face_model.name: cosine_scores(features.embeddings, comparisons)}
            verification = verify([Trial(comparisons, scores)], seed=seed).systems[face_model.name]
            results[key] = verification.to_dict() | {"quarantined": len(features.quarantined)}
    return results


def _embedded(
    path: PathLike,
    model: FaceModel,
    recipe: Recipe,
    name: str,
    aligned: bool,
    stages: Stages,
    labelled: bool = False,
) -> Features:
    """What `rsft embed` put into a folder, or the pictures in it embedded now."""
    if (Path(path) / DESCRIPTION_FILE).exists():
        return load_features(Path(path))
    images = find_images(path, labelled=labelled)
    with stages.stage(f"embed {name}", len(images)) as advance:
        return embed(model, images, cut=recipe.cut, aligned=aligned, progress=advance)
