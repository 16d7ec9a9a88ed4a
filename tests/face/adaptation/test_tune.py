"""Tuning of a network, on real faces."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from drawn_people import draw_people, tiny_model
from small_pools import plan_with, tune_all, with_people
from torch import nn

from rsft.data.features import Features, load_features
from rsft.data.images import find_images
from rsft.data.packed_views import PackedViews
from rsft.errors import InputError, LowAcceptanceError
from rsft.face.adaptation.label_noise import label_margin
from rsft.face.adaptation.planning import plan_faces
from rsft.face.adaptation.recipe import Recipe
from rsft.face.adaptation.tune import KEPT, WHITENED, check_identities
from rsft.face.adaptation.views import AcceptedViews, embed_activations
from rsft.face.networks.load import load_model
from rsft.face.pictures.embedding import embed
from rsft.sampling.identities import mind_identities

RECIPE = Recipe(steps=6, batch_size=16, views=3, learning_rate=1e-4)


@pytest.fixture(scope="module")
def pool(faces: Path) -> Features:
    return embed(load_model("dlib"), find_images(faces / "pool"), aligned=True, views=RECIPE.views)


def test_cached_activations_give_the_embeddings_of_the_whole_network(pool: Features, faces: Path) -> None:
    """They are equal up to float16 rounding at the cut."""
    model = load_model("dlib")
    images = find_images(faces / "pool")
    chips = np.stack([images.read(images.ids.index(item)) for item in pool.ids[:8] if item.endswith(".jpg")])
    pictures = torch.from_numpy(chips).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        direct = (model.network(pictures) + model.network(pictures.flip(3))).numpy()
    rows = [row for row, item in enumerate(pool.ids[:8]) if item.endswith(".jpg")]
    np.testing.assert_allclose(embed_activations(model.split(RECIPE.cut)[1], pool)[rows], direct, atol=2e-3)
    np.testing.assert_allclose(pool.embeddings[rows], direct, atol=2e-3)


def test_unusable_pictures_are_quarantined_and_the_others_are_embedded(pool: Features) -> None:
    assert [(Path(item).name, reason) for item, reason in pool.quarantined] == [
        ("broken.jpg", "unreadable: not an image file")
    ]
    assert len(pool) == 101


def test_saved_features_are_loaded_unchanged(pool: Features, tmp_path: Path) -> None:
    pool.save(tmp_path)
    again = load_features(tmp_path)
    assert (list(again.ids), again.fingerprint) == (list(pool.ids), pool.fingerprint)
    for name in ("embeddings", "nuisances", "activations"):
        np.testing.assert_array_equal(getattr(again, name), getattr(pool, name))
    (tmp_path / "embedding.json").unlink()
    with pytest.raises(InputError, match="as part of a complete output"):
        load_features(tmp_path)


def test_tuning_changes_only_the_last_stages_and_not_the_model(pool: Features) -> None:
    model = load_model("dlib")
    fingerprint = model.fingerprint
    everything = torch.ones(len(pool), dtype=torch.float64)
    run = tune_all(model, pool, plan_with(everything), RECIPE)
    assert model.fingerprint == fingerprint
    before, after = model.network.state_dict(), run.at(1.0).state_dict()  # independent of the gate
    moved = {int(name.split(".")[0]) for name in after if not torch.equal(before[name], after[name])}
    assert moved == set(range(11, 16))
    assert all(torch.equal(before[name], weights) for name, weights in run.at(0.0).state_dict().items())
    assert run.line.times_trained.sum() == 6 * 16
    assert run.samples == 3 * 6 * 16


def test_the_night_part_of_the_pool_is_found(pool: Features, faces: Path) -> None:
    """The target is dark, so the items most likely to be accepted are darker than the pool."""
    target = embed(load_model("dlib"), find_images(faces / "target"), aligned=True)
    result = plan_faces(pool, target, **RECIPE.plan_options(), seed=0)
    images = find_images(faces / "pool").subset([find_images(faces / "pool").ids.index(item) for item in pool.ids])
    brightness = np.array([images.read(row).mean() for row in range(len(pool))])
    likely = np.argsort(-result.likeness.numpy())[:5]
    assert brightness[likely].mean() < 0.7 * brightness.mean()


def halves_of(views: int) -> Callable[[int], np.ndarray]:
    """Return a function that draws about half of some views in each epoch."""
    return lambda epoch: np.random.default_rng(epoch).permutation(views)[: views // 2]


def test_batches_are_full_and_carry_over_from_epoch_to_epoch() -> None:
    draw = halves_of(20)
    activations = np.arange(20, dtype=np.float16).reshape(10, 2, 1, 1, 1)
    views = AcceptedViews(
        activations, np.arange(10), torch.arange(10), [f"item {row}" for row in range(10)], draw, batch_size=8
    )
    seen: list[float] = []
    for _ in range(5):
        for inputs, classes, ids in views:
            assert ids == [f"item {row}" for row in classes.tolist()]
            assert len(inputs) == 8
            assert classes.tolist() == (inputs.flatten() // 2).long().tolist()
            seen += inputs.flatten().tolist()
    expected: list[int] = []
    for epoch in range(20):
        expected += draw(epoch).tolist()
    assert seen == expected[: len(seen)]
    assert views.times_given.sum() == len(seen)


def test_a_pass_that_was_complete_when_saved_is_not_mixed_with_the_next() -> None:
    def make() -> AcceptedViews:
        ids = [f"item {row}" for row in range(10)]
        return AcceptedViews(
            np.arange(20, dtype=np.float16).reshape(10, 2, 1, 1, 1),
            np.arange(10),
            torch.arange(10),
            ids,
            halves_of(20),
            8,
        )

    def ids_of(views: AcceptedViews) -> list[list[str]]:
        return [ids for _, _, ids in views]

    whole, cut, resumed = make(), make(), make()
    passes = [ids_of(whole) for _ in range(3)]
    batches = iter(cut)
    assert [next(batches)[2] for _ in passes[0]] == passes[0]
    resumed.load_state_dict(cut.state_dict())  # after the last batch of the pass, but before its end
    assert [ids_of(resumed) for _ in range(3)] == [[], *passes[1:]]


def test_for_a_view_that_was_not_computed_the_next_one_of_the_picture_is_trained_on() -> None:
    dense = np.arange(12, dtype=np.float16).reshape(4, 3, 1, 1, 1)
    kept = np.array([[1, 0, 0], [0, 1, 1], [1, 1, 1], [0, 0, 1]], bool)
    views = AcceptedViews(
        PackedViews(dense[kept], kept), np.arange(1, 4), torch.arange(3), list("abcd"), lambda epoch: np.arange(9), 9
    )
    ((inputs, classes, ids),) = views
    assert inputs.flatten().tolist() == [4, 4, 5, 6, 7, 8, 11, 11, 11]
    assert (classes.tolist(), "".join(ids)) == ([0, 0, 0, 1, 1, 1, 2, 2, 2], "bbbcccddd")
    assert views.times_given.tolist() == [0, 3, 3, 3]


def test_a_pool_without_accepted_items_raises_an_error() -> None:
    nothing = np.zeros((4, 1, 1, 1, 1), np.float16)
    views = AcceptedViews(
        nothing, np.arange(4), torch.zeros(4), ["a", "b", "c", "d"], lambda epoch: np.empty(0, int), 2
    )
    with pytest.raises(LowAcceptanceError, match="retain_fraction"):
        next(iter(views))


def test_unsuitable_pools_are_refused(pool: Features) -> None:
    model, ones = load_model("dlib"), torch.ones(len(pool), dtype=torch.float64)
    with pytest.raises(InputError, match="identities or more, got 1"):
        tune_all(model, with_people(pool, np.zeros(len(pool), int)), plan_with(ones), RECIPE)
    bare = Features(pool.ids, pool.embeddings, pool.nuisances, None, [], pool.fingerprint)
    with pytest.raises(InputError, match="activations"):
        tune_all(model, bare, plan_with(ones), RECIPE)
    other = Features(pool.ids, pool.embeddings, pool.nuisances, None, [], "another")
    with pytest.raises(InputError, match="different models"):
        plan_faces(pool, other, **RECIPE.plan_options(), seed=0)
    assert isinstance(model.network, nn.Sequential)


def test_items_with_doubtful_labels_are_left_out(tmp_path: Path) -> None:
    model, images = tiny_model(), find_images(draw_people(tmp_path) / "pool", labelled=True)
    pool = embed(model, images, aligned=True, views=2)
    light = np.flatnonzero([int(Path(item).stem) % 2 for item in pool.ids])[[1, 20]]  # of two people
    people = pool.people.copy()
    people[light] = people[light[::-1]]
    mixed_up, everything = with_people(pool, people), torch.ones(len(pool), dtype=torch.float64)
    doubtful = np.flatnonzero(label_margin(pool.embeddings, people) < 0)
    assert set(light) <= set(doubtful)
    recipe = Recipe(steps=30, batch_size=16, views=2, cut=-1, min_label_margin=0.0)
    run = tune_all(model, mixed_up, plan_with(everything), recipe)
    assert run.doubtful == len(doubtful) < len(pool)
    assert (run.line.times_trained == 0).nonzero()[0].tolist() == doubtful.tolist()
    trusting_recipe = recipe.model_copy(update={"min_label_margin": None})
    trusting = tune_all(model, mixed_up, plan_with(everything), trusting_recipe)
    assert trusting.doubtful == 0
    assert min(trusting.line.times_trained[light]) > 0


@pytest.mark.parametrize(("accept_by", "floor"), [("identity", 1), ("item", 6)])
def test_training_uses_the_acceptance_rule_for_identities(pool: Features, accept_by: str, floor: int) -> None:
    """A short training uses only pictures that the rule accepts in its first epoch."""
    people, steps = pool.people, 1
    acceptance = torch.full((len(pool),), 0.5 if accept_by == "identity" else 0.1, dtype=torch.float64)
    rule = mind_identities(acceptance, torch.from_numpy(people), accept_by, floor)
    assert rule is not None
    accepted = rule.accepted(0, 0)
    assert len(accepted) >= RECIPE.batch_size * steps
    recipe = RECIPE.model_copy(update={"accept_by": accept_by, "floor": floor, "steps": steps})
    run = tune_all(load_model("dlib"), pool, plan_with(acceptance), recipe)
    most = np.bincount(accepted, minlength=len(pool))
    assert (run.line.times_trained <= most).all()
    assert (most == 0).any()


def test_patience_ends_at_the_best_weights_and_sets_the_length_of_the_last_training(
    pool: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In both folds the scores rise twice and then fall: they are of the start and of steps 2, 4, 6 and 8."""
    scores = iter([0.1, 0.2, 0.3, 0.25, 0.24, 0.1, 0.2, 0.3, 0.2, 0.1])
    monkeypatch.setattr("rsft.face.adaptation.held_out.pair_scores", lambda *arguments: (next(scores), 0.0))
    everything, records = torch.ones(len(pool), dtype=torch.float64), list[dict[str, float]]()
    recipe = RECIPE.model_copy(update={"steps": 16, "patience": 2, "validate_every": 2})
    run = tune_all(load_model("dlib"), pool, plan_with(everything), recipe, on_step=records.append)
    steps = [sum("loss" in record for record in records if record["fold"] == fold) for fold in (0, 1, KEPT)]
    assert steps == [8, 8, 4]
    assert run.line.result.stopped_by == "accepted"
    assert run.samples == 20 * recipe.batch_size


def test_patience_ends_a_training_that_harms_held_out_pairs_like_the_target(pool: Features) -> None:
    """The learning rate is far too high. The end of the line is the weights before they got worse."""
    everything = torch.ones(len(pool), dtype=torch.float64)
    wrecking = {
        "learning_rate": 0.1,
        "patience": 1,
        "validate_every": 1,
        "steps": 30,
        "warmup_fraction": 0.0,
        "folds": 1,
    }
    run = tune_all(load_model("dlib"), pool, plan_with(everything), RECIPE.model_copy(update=wrecking))
    assert run.line.result.stopped_by == "patience"
    assert run.line.result.steps < 30
    assert run.line.result.best_step < run.line.result.steps


def test_with_one_fold_there_is_one_training_on_four_fifths_of_the_identities(pool: Features) -> None:
    people, everything = pool.people, torch.ones(len(pool), dtype=torch.float64)
    recipe = RECIPE.model_copy(update={"folds": 1, "steps": 40})
    run = tune_all(load_model("dlib"), pool, plan_with(everything), recipe)
    held_out = {person for person in range(10) if run.line.times_trained[people == person].sum() == 0}
    assert len(held_out) == 2
    assert run.samples == run.line.times_trained.sum() == 40 * 16


@pytest.mark.parametrize("loss", ["cosface", "adaface"])
def test_a_launcher_can_request_low_precision(pool: Features, loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """This is what `accelerate launch --mixed_precision bf16` does. The trained weights stay in float32."""
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    AcceleratorState._reset_state(reset_partial_state=True)
    everything = torch.ones(len(pool), dtype=torch.float64)
    recipe = RECIPE.model_copy(update={"loss": loss, "folds": 1, "steps": 3, "learnt_prototypes": True})
    low = tune_all(load_model("dlib"), pool, plan_with(everything), recipe)
    assert AcceleratorState().mixed_precision == "bf16"
    AcceleratorState._reset_state(reset_partial_state=True)
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION")
    full = tune_all(load_model("dlib"), pool, plan_with(everything), recipe)
    losses = [[record["loss"] for record in run.line.result.history] for run in (low, full)]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)  # bfloat16 keeps 8 bits
    assert losses[0] != losses[1]
    assert {tensor.dtype for tensor in low.at(1.0).state_dict().values()} == {torch.float32}


@pytest.mark.parametrize(("folds", "least"), [(1, 3), (2, 4), (3, 3), (4, 4)])
def test_the_fewest_allowed_identities_are_tuned_and_fewer_are_refused(pool: Features, folds: int, least: int) -> None:
    """Every fold then has at least two people to train on and one to hold out."""
    recipe = RECIPE.model_copy(update={"folds": folds, "steps": 1})
    people, ones = pool.people, torch.ones(len(pool), dtype=torch.float64)
    rows = np.flatnonzero(people < least)
    tune_all(load_model("dlib"), pool.subset(rows), plan_with(ones[rows]), recipe)
    with pytest.raises(InputError, match=f"needs {least} identities or more, got {least - 1}"):
        check_identities(least - 1, recipe)


def test_the_way_to_the_tuned_weights_leads_by_way_of_the_whitened_ones(pool: Features) -> None:
    """Whitening changes the last layer alone. Without training, or without whitening, the way is straight."""
    model, plan = load_model("dlib"), plan_with(torch.ones(len(pool), dtype=torch.float64))
    both, whitened, trained = (
        tune_all(model, pool, plan, RECIPE.model_copy(update=changes)).line
        for changes in ({}, {"steps": 0}, {"whitening": 0.0})
    )
    pretrained, end = both.at(0.0).state_dict(), both.at(1.0).state_dict()
    half = both.at(WHITENED).state_dict()
    moved = [name for name in half if not torch.equal(half[name], pretrained[name])]
    assert moved == ["4.fc.weight"]
    torch.testing.assert_close(half, whitened.at(1.0).state_dict())
    assert (whitened.times_trained == 0).all()
    for share, first, second in ((WHITENED / 2, pretrained, half), ((1 + WHITENED) / 2, half, end)):
        middle = {name: (first[name] + second[name]) / 2 for name in end}
        torch.testing.assert_close(both.at(share).state_dict(), middle)
    straight = {name: (pretrained[name] + trained.at(1.0).state_dict()[name]) / 2 for name in end}
    torch.testing.assert_close(trained.at(0.5).state_dict(), straight)
