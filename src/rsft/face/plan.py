"""`rsft plan` on pictures: for a target of pictures, or of shares of attributes."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rsft.data.images import find_images
from rsft.data.manifest import read_attributes
from rsft.data.remote import to_path
from rsft.data.shares import read_shares
from rsft.errors import InputError
from rsft.face.adaptation.advice import advise
from rsft.face.adaptation.planning import plan_faces, rank_face_plans
from rsft.face.adaptation.recipe import Recipe
from rsft.face.adaptation.selection import check_target
from rsft.face.adaptation.swap import Swap
from rsft.face.adaptation.tune import check_identities
from rsft.face.evaluation.protocol import TARGET
from rsft.face.networks.load import ModelLike
from rsft.face.runs.at_hand import compare_at_hand, find_models
from rsft.face.runs.inputs import POOL, Sources, read_inputs
from rsft.face.runs.machines import check_alike
from rsft.face.runs.open_pool import OpenPool
from rsft.face.runs.progress import Listener, Stages, silent
from rsft.face.runs.results import PlanResult, PoolUsed, write_plan
from rsft.plan import Plan, plan_from_ratio
from rsft.ranking import Ranked
from rsft.ratio.attributes import raked_ratio
from rsft.report.plan_page import write_plan_page
from rsft.run_folder import writing_if
from rsft.tuning.distributed import first_enters, is_first, join, on_first
from rsft.types import PathLike

log = logging.getLogger(__name__)
PARTS_FOLDER = "parts"
NO_PICTURES = "the pool is embedded already: give its pictures to compare networks"


def plan_folders(
    *,
    pool: PathLike,
    target: PathLike,
    model: ModelLike = "dlib",
    against: Sequence[ModelLike] | None = None,
    out: PathLike | None = None,
    recipe: Recipe | None = None,
    compare: bool = False,
    aligned: bool = False,
    landmarks: PathLike | None = None,
    seed: int = 0,
    overwrite: bool = False,
    listener: Listener = silent,
) -> PlanResult:
    """Plan which pictures of a pool to accept for a target of pictures, without training, and say what to do.

    Other networks embed a few hundred pictures of the pool, to tell whether one of them is better without any training.

    Under `torchrun` or `accelerate launch`, each process embeds its part of the pictures.
    `rsft.face.runs.inputs.Sources` describes the inputs.

    Args:
        pool: See `Sources`. An output of `embed_folder` is accepted too.
        target: See `Sources`. An output of `embed_folder` is accepted too.
        model: See `Sources`. The plan is made with this network.
        against: Other networks that could take its place, as for `load_model`; none if empty. By default, all installed
            ones that have a name.
        out: Folder to create for `plan.json`, `accepted.parquet` and `report.html`. By default, nothing is written.
        recipe: Settings of the plan, the cut, the folds and `max_looks`. Other settings are not used.
        compare: Make a plan with each kind of features and rank them. By default, use the features of the recipe.
        aligned: See `Sources`.
        landmarks: See `Sources`.
        seed: Seed for the folds of the ratio and the accept decisions.
        overwrite: Replace an `out` that rsft wrote.
        listener: Callback that receives (stage, done, total) as each stage advances.

    Returns:
        The plan, with `compare` the ranking that it is the best of, its features, the networks side by side, and the
        advice.

    Raises:
        InputError: An input or setting cannot be used, the pool has too few identities to tune on, or `out` may not be
            written.
    """
    recipe = recipe or Recipe()
    sources = Sources(pool=pool, target=target, model=model, landmarks=landmarks, aligned=aligned)
    join()
    to = None if out is None else Path(out)
    with first_enters(writing_if(to, inputs=sources.paths, overwrite=overwrite)) as folder:
        made, used = _plan_folders(sources, against, recipe, compare, seed, Stages(listener))
        if folder is not None:
            advised = {
                "models": made.swap.to_dict(),
                "advice": made.advice.to_dict(),
                "passed_over": made.passed_over,
                "quarantined": made.quarantined,
            }
            retained = recipe.retain_fraction
            told: dict[str, Any] = {"retain_fraction": retained, "features": made.features, "advised": advised}
            on_first(lambda: _write(folder, made.plan, used, **told))
    return made


def _write(folder: Path, made: Plan, used: PoolUsed, **told: Any) -> None:
    """Write the files of a plan, and their page."""
    write_plan(folder, made, used, **told)
    write_plan_page(folder)


def _plan_folders(
    sources: Sources,
    against: Sequence[ModelLike] | None,
    recipe: Recipe,
    compare: bool,
    seed: int,
    stages: Stages,
) -> tuple[PlanResult, PoolUsed]:
    """Make the plan of `plan_folders`; return it with the pictures of the pool that it used."""
    model, aligned, inputs = sources.model, sources.aligned, read_inputs(sources, cut=recipe.cut)
    check_identities(inputs.identities, recipe)
    check_target(len(inputs.embedded[TARGET] if TARGET in inputs.embedded else inputs.sets[TARGET]), recipe)
    at_hand = find_models(inputs.model, model, () if POOL in inputs.embedded else against, aligned=aligned)
    inputs.check_alike()
    check_alike({f"the network '{name}'": (1, other.fingerprint) for name, other in at_hand.models.items()})
    target_features = inputs.embed(TARGET, stages)
    check_target(len(target_features), recipe)  # some may be unreadable or without a face
    options = recipe.plan_options() | {"seed": seed}
    ranking: list[Ranked] = []
    told: dict[str, Any] = {}
    swap = Swap(reason=NO_PICTURES)
    if POOL in inputs.embedded:
        features = inputs.embedded[POOL]
        left_out = [*features.quarantined, *target_features.quarantined]
        of_all = {name: value for name, value in options.items() if name != "features"}
        with stages.stage("plan"):
            if compare:
                ranking = on_first(lambda: rank_face_plans(features, target_features, **of_all))
            plan = ranking[0].plan if ranking else on_first(lambda: plan_faces(features, target_features, **options))
        used = PoolUsed.of_plan(plan, features.ids)
    else:
        opened = OpenPool(inputs, target_features, recipe, seed, stages, None)
        if compare:
            with stages.stage("pilot"):
                ranking = opened.rank()
        plan = ranking[0].plan if ranking else opened.plan()
        told, rows = opened.told(), opened.rows_of(plan)
        told |= {"kind": ranking[0].features} if ranking else {}
        used = PoolUsed.of_plan(plan, [inputs.sets[POOL].ids[row] for row in rows.tolist()])
        left_out = [*opened.quarantined, *target_features.quarantined]
        swap = compare_at_hand(at_hand, opened, plan, stages)
    unsupported = plan.arrival.unsupported if plan.arrival else ()
    advice = advise(plan.verdict, plan.diagnostics, unsupported, swap, network=next(iter(at_hand.models)))
    _tell_left_out(left_out)
    return PlanResult(plan, ranking, told, swap, advice, inputs.passed_over, left_out), used


def _tell_left_out(pictures: Sequence[tuple[str, str]]) -> None:
    """Log how many pictures cannot be used, if any, and one of them."""
    if pictures and is_first():
        item, reason = pictures[0]
        log.warning("left out %d pictures that cannot be used, such as '%s' (%s)", len(pictures), item, reason)


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
    """Plan which pictures of a pool to accept for a target known by shares of attributes. No picture is decoded.

    Args:
        pool: Labelled pictures, in any form that `find_images` reads.
        shares: TOML file with a table for each attribute: its values and their shares in the target. Several attributes
            are raked to their margins.
        attributes: CSV or Parquet file with a column `path` (relative to the pool) and one column for each attribute.
            Defaults to the attributes that the pool itself has.
        out: Folder to create for `plan.json`, `accepted.parquet` and `report.html`. By default, nothing is written.
        recipe: Settings of the envelope, the retained fraction, the acceptance unit and the floor. Others are not used.
        seed: Seed for the accept decisions.
        overwrite: Replace an `out` that rsft wrote.

    Returns:
        The plan.

    Raises:
        InputError: A file cannot be read, an attribute or a picture is missing from it, or `out` may not be written.
        ValueError: The pool cannot meet the shares; see `raked_ratio`.
    """
    recipe = recipe or Recipe()
    inputs = (pool, shares, attributes)
    join()
    to = None if out is None else Path(out)
    with first_enters(writing_if(to, inputs=inputs, overwrite=overwrite)) as folder:
        made, used = _plan_attributes(pool, shares, attributes, recipe, seed)
        if folder is not None:
            on_first(lambda: _write(folder, made, used, retain_fraction=recipe.retain_fraction))
    return made


def _plan_attributes(
    pool: PathLike, shares: PathLike, attributes: PathLike | None, recipe: Recipe, seed: int
) -> tuple[Plan, PoolUsed]:
    """Make the plan of `plan_attributes`; return it with the pictures of the pool."""
    images = find_images(pool, labelled=True)
    values = images.attributes if attributes is None else read_attributes(to_path(attributes), images.ids)
    wanted = read_shares(shares)
    missing = [name for name in wanted if name not in values]
    if missing:
        where = pool if attributes is None else attributes
        raise InputError(f"'{where}' has no column '{missing[0]}', which '{shares}' has shares of: see --attributes.")
    options = recipe.plan_options()
    _, rank = np.unique(images.people_names, return_inverse=True)
    result = plan_from_ratio(
        raked_ratio({name: values[name] for name in wanted}, wanted),
        identities=torch.from_numpy(rank[images.people]),
        seed=seed,
        **{name: options[name] for name in ("envelope", "retain_fraction", "accept_by", "floor")},
    )
    return result, PoolUsed.of_plan(result, images.ids)
