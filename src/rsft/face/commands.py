"""`rsft plan` and `rsft embed` on folders of pictures."""

import os
import shutil
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from rsft.data.features import DESCRIPTION_FILE, Features, load_features
from rsft.data.images import find_images
from rsft.data.manifest import read_attributes
from rsft.data.shares import read_shares
from rsft.errors import InputError
from rsft.face.adapt import check_identities
from rsft.face.embed import embed
from rsft.face.landmarks import points_of, points_of_sets
from rsft.face.model import ModelLike, load_model
from rsft.face.planning import plan_faces, rank_face_plans
from rsft.face.recipe import Recipe
from rsft.face.results import write_plan
from rsft.face.stages import Listener, Stages, silent
from rsft.plan import Plan, plan_from_ratio
from rsft.ranking import Ranked
from rsft.ratio.attributes import raked_ratio
from rsft.run_folder import check_output, writing
from rsft.tuning.processes import first, first_enters, join

PARTS_FOLDER = "parts"

PathLike = str | os.PathLike[str]


def embed_folder(
    *,
    pool: PathLike,
    out: PathLike,
    model: ModelLike = "dlib",
    aligned: bool = False,
    landmarks: PathLike | None = None,
    overwrite: bool = False,
    resume: bool = False,
    listener: Listener = silent,
) -> Features:
    """Embed the pictures that `find_images` finds into the folder `out`; see `Features.save` for its files.

    Under a launcher each process embeds its part.

    Args:
        pool: the pictures.
        out: the folder to make.
        model: "dlib" or the folder of a run.
        aligned: the pictures are aligned chips already.
        landmarks: a file as `read_landmarks` takes it: no face is looked for.
        overwrite: replace an existing `out`.
        resume: keep the parts that an interrupted call has embedded.
        listener: is told how far it is.

    Raises:
        InputError: no picture could be used, or `out` exists.
    """
    inputs = (pool, model, landmarks)
    join()
    first(lambda: check_output(Path(out), inputs=inputs, overwrite=overwrite, resume=resume))
    face_model, images, stages = load_model(model), find_images(pool), Stages(listener)
    points = None if landmarks is None else points_of(landmarks, images, aligned)
    with first_enters(writing(Path(out), inputs=inputs, overwrite=overwrite, resume=resume)) as folder:
        parts = folder / PARTS_FOLDER
        with stages.stage("embed pictures", len(images)) as advance:
            features = embed(
                face_model,
                images,
                cut=Recipe().cut,
                aligned=aligned,
                landmarks=points,
                folder=parts,
                progress=advance,
            )

        def write() -> None:
            features.save(folder)
            shutil.rmtree(parts, ignore_errors=True)

        first(write)
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
    landmarks: PathLike | None = None,
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
        landmarks: a file as `read_landmarks` takes it: in the sets whose pictures it names, no face is looked for.
        seed: of the ratio's folds and the accept decisions.
        overwrite: replace an existing `out`.
        listener: is told how far each stage is.

    Returns:
        The plan, the best of those compared; and all of them, the best first, where `compare`.

    Raises:
        InputError: something given cannot be used, or the pool has too few identities to be tuned on.
    """
    recipe = recipe or Recipe()
    inputs = (pool, target, model, landmarks)
    join()
    if out is not None:
        first(lambda: check_output(Path(out), inputs=inputs, overwrite=overwrite))
    stages = Stages(listener)
    face_model = load_model(model)
    given = {"pool": Path(pool), "target": Path(target)}
    sets = {
        name: find_images(path, labelled=name == "pool")
        for name, path in given.items()
        if not (path / DESCRIPTION_FILE).exists()  # what `rsft embed` made
    }
    if "pool" in sets:
        check_identities(len(set(sets["pool"].identities)), recipe)
    points = points_of_sets(landmarks, sets, aligned)

    def features_of(name: str) -> Features:
        if name not in sets:
            return load_features(given[name])
        with stages.stage(f"embed {name}", len(sets[name])) as advance:
            return embed(
                face_model,
                sets[name],
                cut=recipe.cut,
                aligned=aligned,
                landmarks=points[name],
                progress=advance,
            )

    pool_features, target_features = features_of("pool"), features_of("target")
    names = [PurePosixPath(item).parts[0] for item in pool_features.ids]
    check_identities(len(set(names)), recipe)
    people = np.unique(names, return_inverse=True)[1]
    options = recipe.plan_options() | {"seed": seed}

    def make() -> tuple[Plan, list[Ranked]]:
        if not compare:
            return plan_faces(pool_features, target_features, people, **options), []
        of_all = {name: value for name, value in options.items() if name not in ("features", "method")}
        ranking = rank_face_plans(pool_features, target_features, people, methods=(recipe.method,), **of_all)
        return ranking[0].plan, ranking

    with stages.stage("plan"):
        plan, ranking = first(make)
    if out is not None:
        with first_enters(writing(Path(out), inputs=inputs, overwrite=overwrite)) as folder:
            first(lambda: write_plan(folder, plan, recipe.retain_fraction, pool_features.ids, names))
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
    inputs = (pool, shares, attributes)
    join()
    if out is not None:
        first(lambda: check_output(Path(out), inputs=inputs, overwrite=overwrite))
    images = find_images(pool, labelled=True)
    values = images.attributes if attributes is None else read_attributes(Path(attributes), images.ids)
    wanted = read_shares(shares)
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
        with first_enters(writing(Path(out), inputs=inputs, overwrite=overwrite)) as folder:
            first(lambda: write_plan(folder, result, recipe.retain_fraction, images.ids, names))
    return result
