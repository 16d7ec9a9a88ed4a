"""The networks at hand, each on the same pictures of a pool."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from rsft.errors import InputError
from rsft.face.adaptation.alike import choose_compared
from rsft.face.adaptation.gate import MIN_PEOPLE
from rsft.face.adaptation.swap import MOST_ALIKE, MOST_USUAL, Swap, judge_models
from rsft.face.networks.bundle import FaceModel
from rsft.face.networks.load import ModelLike, load_model
from rsft.face.networks.names import KNOWN
from rsft.face.pictures.embedding import Progress
from rsft.face.runs.open_pool import OpenPool
from rsft.face.runs.progress import Stages
from rsft.plan import Plan
from rsft.tuning.distributed import on_first

FUSION = "sface+dlib"  # of the networks in `KNOWN`
SAME_CROP = 0.01  # largest distance between the points of two crops that count as one, as a part of the chip's side


@dataclass(frozen=True)
class AtHand:
    """The network of a plan, and others that could take its place.

    Attributes:
        models: Name -> network, that of the plan first.
        left_out: Name of each other network that cannot be compared -> the reason.
    """

    models: Mapping[str, FaceModel]
    left_out: Mapping[str, str] = field(default_factory=dict)


def find_models(first: FaceModel, name: ModelLike, against: Sequence[ModelLike] | None, *, aligned: bool) -> AtHand:
    """Load the networks that a plan is compared with.

    Args:
        first: The network of the plan.
        name: How the network of the plan was asked for.
        against: The others. None for all of `KNOWN` and `FUSION`, of which those that cannot be loaded are left out.
        aligned: Whether the pictures are chips, so that only networks with the same crop can use them.

    Raises:
        InputError: A network that was asked for cannot be loaded, or is there twice.
    """
    models, left_out = {_name_of(name): first}, dict[str, str]()
    fingerprints = {first.fingerprint}
    for other in [known for known in (*KNOWN, FUSION) if known not in models] if against is None else against:
        label = _name_of(other)
        try:
            model = load_model(other)
        except InputError as error:
            if against is not None:
                raise
            left_out[label] = str(error).rstrip(".")
            continue
        if model.fingerprint in fingerprints or label in models:
            if against is None:
                continue
            raise InputError(f"the network '{label}' is there twice: compare a network with others.")
        fingerprints.add(model.fingerprint)
        if aligned and not same_crop(first, model):
            left_out[label] = f"the chips have the crop of {_name_of(name)}, and it needs another: give the photographs"
        else:
            models[label] = model
    return AtHand(models, left_out)


def same_crop(one: FaceModel, other: FaceModel) -> bool:
    """Return whether two networks expect the face at the same place of their chips, whatever the size of these."""
    first, second = (np.array(model.template) / model.size for model in (one, other))
    return bool(np.abs(first - second).max() <= SAME_CROP)


def compare_at_hand(at_hand: AtHand, pool: OpenPool, plan: Plan, stages: Stages) -> Swap:
    """Let each network verify the same pictures of a pool: some like the target, and usual ones of the same people.

    Args:
        at_hand: The networks.
        pool: The pool of the plan.
        plan: Plan of the pool.
        stages: Times the work and reports its progress.
    """
    drawn = pool.draw_alike(plan)
    people = pool.people_of(drawn.items)
    compared = choose_compared(people, drawn.weights, most_alike=MOST_ALIKE, most_usual=MOST_USUAL, seed=plan.seed)
    if compared is None:
        return Swap(left_out=at_hand.left_out, people=0, reason=_too_few(0))
    found = Swap((), compared.alike, compared.usual, compared.people, at_hand.left_out)
    if compared.people < MIN_PEOPLE:
        return replace(found, reason=_too_few(compared.people))
    if len(at_hand.models) < 2:
        return replace(found, reason="none to compare with")
    items = drawn.items[compared.rows]
    about, embeddings = dict[str, dict[str, Any]](), dict[str, np.ndarray]()
    with stages.stage("compare networks", len(at_hand.models) * len(np.unique(items))) as advance:
        for name, model in at_hand.models.items():
            began = time.perf_counter()
            embeddings[name], pictures = _embed(pool, model, items, advance)
            about[name] = {
                "licence": model.licence,
                "non_commercial": model.is_non_commercial,
                "milliseconds": 1000 * (time.perf_counter() - began) / pictures,
            }
    reports = on_first(lambda: compared.verify(embeddings, seed=plan.seed))
    return replace(found, models=judge_models(reports, about))


def _embed(pool: OpenPool, model: FaceModel, items: np.ndarray, advance: Progress) -> tuple[np.ndarray, int]:
    """Return the embeddings of pictures of a pool, (n, D), and the number of different ones among them."""
    unique, places = np.unique(items, return_inverse=True)
    found = pool.embed_by(model, unique, advance)
    if len(found) < len(unique):
        item, reason = found.quarantined[0]
        raise InputError(f"'{item}' could be used at first, and now not: {reason}. Has the pool changed?")
    return found.embeddings[places], len(unique)


def _name_of(model: ModelLike) -> str:
    return model.name if isinstance(model, FaceModel) else str(model)


def _too_few(people: int) -> str:
    return (
        f"it cannot be told: {people} people of the pool have pictures like the target and further ones, and "
        f"{MIN_PEOPLE:.0f} are needed"
    )
