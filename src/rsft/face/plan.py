"""`rsft plan` on pictures."""

from pathlib import Path

import numpy as np
import torch

from rsft.data.images import find_images
from rsft.data.manifest import read_attributes
from rsft.data.shares import read_shares
from rsft.errors import InputError
from rsft.face.adaptation.planning import plan_faces, rank_face_plans
from rsft.face.adaptation.recipe import Recipe
from rsft.face.adaptation.tune import check_identities
from rsft.face.evaluation.protocol import TARGET
from rsft.face.networks.load import ModelLike
from rsft.face.runs.inputs import POOL, Sources, read_inputs
from rsft.face.runs.progress import Listener, Stages, silent
from rsft.face.runs.results import write_plan
from rsft.plan import Plan, plan_from_ratio
from rsft.ranking import Ranked
from rsft.ratio.attributes import raked_ratio
from rsft.run_folder import check_output, writing
from rsft.tuning.distributed import first_enters, join, on_first
from rsft.types import PathLike

PARTS_FOLDER = "parts"


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
    sources = Sources(pool=pool, target=target, model=model, landmarks=landmarks, aligned=aligned)
    join()
    if out is not None:
        on_first(lambda: check_output(Path(out), inputs=sources.paths, overwrite=overwrite))
    stages, inputs = Stages(listener), read_inputs(sources, cut=recipe.cut)
    check_identities(inputs.identities, recipe)
    pool_features, target_features = (inputs.embed(name, stages) for name in (POOL, TARGET))
    check_identities(len(set(pool_features.identities)), recipe)
    options = recipe.plan_options() | {"seed": seed}

    def make() -> tuple[Plan, list[Ranked]]:
        if not compare:
            return plan_faces(pool_features, target_features, **options), []
        of_all = {name: value for name, value in options.items() if name not in ("features", "method")}
        ranking = rank_face_plans(pool_features, target_features, methods=(recipe.method,), **of_all)
        return ranking[0].plan, ranking

    with stages.stage("plan"):
        plan, ranking = on_first(make)
    if out is not None:
        with first_enters(writing(Path(out), inputs=sources.paths, overwrite=overwrite)) as folder:
            on_first(lambda: write_plan(folder, plan, pool_features.ids, retain_fraction=recipe.retain_fraction))
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
        on_first(lambda: check_output(Path(out), inputs=inputs, overwrite=overwrite))
    images = find_images(pool, labelled=True)
    values = images.attributes if attributes is None else read_attributes(Path(attributes), images.ids)
    wanted = read_shares(shares)
    missing = [name for name in wanted if name not in values]
    if missing:
        where = pool if attributes is None else attributes
        raise InputError(f"'{where}' has no column '{missing[0]}', which '{shares}' gives shares of: see --attributes.")
    options = recipe.plan_options()
    result = plan_from_ratio(
        raked_ratio({name: values[name] for name in wanted}, wanted),
        identities=torch.from_numpy(np.unique(images.identities, return_inverse=True)[1]),
        seed=seed,
        **{name: options[name] for name in ("envelope", "retain_fraction", "accept_by", "floor")},
    )
    if out is not None:
        with first_enters(writing(Path(out), inputs=inputs, overwrite=overwrite)) as folder:
            on_first(lambda: write_plan(folder, result, images.ids, retain_fraction=recipe.retain_fraction))
    return result
