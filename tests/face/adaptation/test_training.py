"""A network is whitened by its pool, and each network of a fusion by itself."""

import numpy as np
import torch
from drawn_people import tiny_model
from torch import nn

from rsft.data.features import Features
from rsft.face.adaptation.heads import class_means
from rsft.face.adaptation.recipe import Recipe
from rsft.face.adaptation.training import classes_of, train_stages, whitened_stages
from rsft.face.adaptation.whitening import whitenings_of
from rsft.face.networks.bundle import FaceModel, fuse

PEOPLE, PICTURES = 20, 4
RECIPE = Recipe(cut=-1, whitening=0.5)


def pool_of(model: FaceModel) -> Features:
    """Draw chips of people and embed them twice, a second time with noise."""
    generator = torch.Generator().manual_seed(0)
    own = torch.rand(PEOPLE, 3, 14, 14, generator=generator).repeat_interleave(PICTURES, 0)
    chips = 255 * (0.5 * own + 0.5 * torch.rand(2, len(own), 3, 14, 14, generator=generator)).repeat_interleave(8, 3)
    before, after = model.split(RECIPE.cut)
    with torch.inference_mode():
        inputs = [before(view).half().float() for view in chips.repeat_interleave(8, 4)]
        embeddings = sum(after(view) for view in inputs)
    return Features(
        ids=[f"{person}/{picture}" for person in range(PEOPLE) for picture in range(PICTURES)],
        embeddings=np.asarray(embeddings),
        nuisances=np.zeros((len(own), 1), np.float32),
        activations=torch.stack(inputs, 1).half().numpy(),
        quarantined=[],
        fingerprint=model.fingerprint,
    )


def test_each_network_of_a_fusion_is_whitened_by_itself() -> None:
    model = fuse([tiny_model(1), tiny_model(2)])
    pool = pool_of(model)
    assert pool.activations is not None
    likeness = np.tile([1.0, 0.0, 0.5, 0.2], PEOPLE)
    suffix, prototypes, whitened = whitened_stages(model, pool, np.arange(len(pool)), RECIPE, likeness)
    assert whitened
    x = torch.from_numpy(pool.embeddings / 2)
    maps = [next(whitenings_of(part.numpy(), pool.people, likeness, RECIPE.whitening)) for part in x.split(32, 1)]
    parts = [nn.functional.normalize(made.of(part)) for made, part in zip(maps, x.split(32, 1), strict=True)]
    torch.testing.assert_close(prototypes, class_means(torch.cat(parts, 1), torch.from_numpy(pool.people)))
    first_view = torch.from_numpy(pool.activations[:, 0]).float()
    wanted = [nn.functional.normalize(made.of(v)) for made, v in zip(maps, first_view.split(32, 1), strict=True)]
    with torch.inference_mode():
        torch.testing.assert_close(suffix(first_view), torch.cat(wanted, 1), atol=1e-4, rtol=1e-3)
    together = next(whitenings_of(x.numpy(), pool.people, likeness, RECIPE.whitening)).of(first_view)
    assert torch.cosine_similarity(suffix(first_view), together).min() < 0.999  # not as one embedding


def test_a_network_without_a_bias_is_whitened_about_zero() -> None:
    model = tiny_model()
    last = model.network[-1]
    assert isinstance(last, nn.Linear)
    last.register_parameter("bias", None)
    pool = pool_of(model)
    maps = list(whitenings_of(pool.embeddings / 2, pool.people, np.ones(len(pool)), RECIPE.whitening))
    suffix, _, whitened = whitened_stages(model, pool, np.arange(len(pool)), RECIPE)
    assert whitened
    changed = list(suffix)[-1].weight
    torch.testing.assert_close(changed, maps[-1].matrix.float() @ last.weight, atol=1e-4, rtol=1e-3)


def test_nothing_is_whitened_without_pairs_or_if_the_recipe_says_so() -> None:
    model = tiny_model()
    pool = pool_of(model)
    rows = np.arange(len(pool))
    for recipe, likeness in ((RECIPE, np.zeros(len(pool))), (Recipe(cut=-1, whitening=0.0), None)):
        suffix, prototypes, whitened = whitened_stages(model, pool, rows, recipe, likeness)
        assert not whitened
        for name, tensor in suffix.state_dict().items():
            assert torch.equal(tensor, model.split(-1)[1].state_dict()[name])
        means = class_means(torch.from_numpy(pool.embeddings / 2), torch.from_numpy(pool.people))
        torch.testing.assert_close(prototypes, means)


def test_a_training_is_held_to_the_whitened_network_and_not_to_the_pretrained_one() -> None:
    model = tiny_model()
    pool = pool_of(model)
    assert pool.activations is not None
    first_view, classes = torch.from_numpy(pool.activations[:, 0]).float(), classes_of(pool, np.arange(len(pool)))
    wrong, kept = classes.flip(0), {}  # labels that can only be learnt by leaving the start
    for weight in (0.0, 1e4):
        recipe = RECIPE.model_copy(update={"distillation": weight, "learning_rate": 1e-2})
        suffix, prototypes, whitened = whitened_stages(model, pool, np.arange(len(pool)), recipe)
        assert whitened
        with torch.no_grad():
            start, pretrained = suffix(first_view), model.split(recipe.cut)[1](first_view)
        train_stages(suffix, prototypes, [(first_view, wrong)], recipe, steps=40)
        with torch.no_grad():
            kept[weight] = torch.cosine_similarity(suffix(first_view), start).mean()
    assert torch.cosine_similarity(start, pretrained).mean() < 0.99  # where a wrong teacher would lead
    assert kept[0.0] < 0.99
    assert kept[1e4] > 0.995
