"""The losses of a recipe: their formulas, and finite gradients at the start of training."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rsft.errors import InputError
from rsft.face.adaptation.adaface import AdaFaceLoss
from rsft.face.adaptation.heads import class_means
from rsft.face.adaptation.losses import LOSSES, make_loss
from rsft.face.adaptation.recipe import Recipe, make_recipe


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def gradients(loss: nn.Module, embeddings: Tensor, classes: Tensor) -> list[Tensor]:
    """Return the loss, and its gradients with respect to the embeddings and to trained parameters."""
    value = loss(embeddings, classes)
    value.backward()
    trained = [parameter for parameter in loss.parameters() if parameter.requires_grad]
    return [value.detach(), *(part.grad for part in (embeddings, *trained) if part.grad is not None)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_gradients_are_finite_if_an_embedding_equals_its_prototype(name: str, dtype: torch.dtype) -> None:
    """When training starts, cosines are 1, or slightly more by rounding. The prototypes are trained too."""
    settings = {"scale": 64.0, "margin_rad": 0.5, "margin_cosine": 0.4, "learnt_prototypes": True}
    recipe = make_recipe({"loss": name} | settings)
    classes, above = torch.arange(600), 0
    for start in range(0, 1000, 100):  # 100 seeds at a time
        seeds = range(start, start + 100)
        embeddings = torch.cat([random(6, 16, seed=seed) for seed in seeds]).to(dtype).requires_grad_()
        prototypes = class_means(embeddings.detach().float(), classes)
        above += int(((F.normalize(embeddings.detach().float()) * F.normalize(prototypes)).sum(1) >= 1).sum())
        found = gradients(make_loss(recipe, prototypes, 10), embeddings, classes)
        assert len(found) == 3
        assert all(bool(part.isfinite().all()) for part in found), seeds
    assert above > 1000


@pytest.mark.parametrize("name", ["ArcFaceLoss", "SubCenterArcFaceLoss"])
def test_arcface_of_pytorch_metric_learning_has_non_finite_gradients_there(name: str) -> None:
    """This is why rsft has its own ArcFace and no sub-centre loss. If this fails, that of the library can be used."""
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    lost = 0
    for seed in range(20):
        embeddings, classes = random(6, 16, seed=seed).requires_grad_(), torch.arange(6)
        options = {"sub_centers": 1} if name.startswith("Sub") else {}
        loss = getattr(losses, name)(num_classes=6, embedding_size=16, **options)
        loss.W.data = F.normalize(embeddings.detach()).T.contiguous()
        lost += not all(bool(part.isfinite().all()) for part in gradients(loss, embeddings, classes))
    assert lost > 10


def test_cosface_is_cross_entropy_with_a_margin_on_the_cosine() -> None:
    embeddings, prototypes, classes = random(7, 8), random(5, 8, seed=1), torch.arange(7) % 5
    cosine = F.normalize(embeddings) @ F.normalize(prototypes).T
    expected = F.cross_entropy(16 * (cosine - 0.3 * F.one_hot(classes, 5)), classes)
    recipe = Recipe(loss="cosface", scale=16.0, margin_cosine=0.3)
    torch.testing.assert_close(make_loss(recipe, prototypes, 10)(embeddings, classes), expected)


def test_by_default_arcface_has_no_margin_and_adaface_that_of_its_paper() -> None:
    embeddings, prototypes, classes = random(7, 8), random(5, 8, seed=1), torch.arange(7) % 5
    for name, margin in (("arcface", 0.0), ("adaface", 0.4)):
        default, told = (
            make_loss(make_recipe({"loss": name} | more), prototypes, 10)(embeddings, classes)
            for more in ({}, {"margin_rad": margin})
        )
        torch.testing.assert_close(default, told)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_the_margin_grows_over_the_ramp(name: str) -> None:
    """A margin makes the loss larger. It is 0 in the first batch, and has its full size after the ramp."""
    embeddings, prototypes, classes = random(7, 8), random(5, 8, seed=1), torch.arange(7) % 5
    recipe = make_recipe({"loss": name, "margin_rad": 0.3, "margin_cosine": 0.3, "margin_ramp_fraction": 0.5})
    loss = make_loss(recipe, prototypes, 4)
    values = [loss(embeddings, classes).item() for _ in range(4)]
    without = Recipe(loss="arcface", margin_rad=0.0)
    assert values[0] == pytest.approx(make_loss(without, prototypes, 4)(embeddings, classes).item(), rel=1e-5)
    assert values[0] < values[1] < values[2] == pytest.approx(values[3], rel=1e-5)


@pytest.mark.parametrize(
    ("z", "angle", "taken"), [(-1.0, 0.4, 0.0), (0.0, 0.0, 0.4), (0.5, -0.2, 0.6), (1.0, -0.4, 0.8)]
)
def test_adaface_follows_the_formula_of_its_paper(z: float, angle: float, taken: float) -> None:
    """The logit is that of ArcFace for the lowest quality and that of CosFace for the mean quality."""
    loss = AdaFaceLoss(torch.eye(2), scale=1.0, margin_rad=0.4)
    loss.get_buffer("norm_mean").fill_(10.0)
    loss.get_buffer("norm_deviation").fill_(1.0 - 1e-3)
    embedding = (10.0 + 3 * z) * torch.tensor([[math.cos(1.0), math.sin(1.0)]])
    own, other = loss.logits(embedding, torch.tensor([0]))[0].tolist()
    assert own == pytest.approx(math.cos(1.0 + angle) - taken, abs=1e-5)
    assert other == pytest.approx(math.sin(1.0), abs=1e-5)
    assert loss.quality(3 * embedding).item() == 1.0


def test_adaface_tracks_the_norms_of_training_batches_only() -> None:
    loss, classes = AdaFaceLoss(random(5, 8), momentum=0.25), torch.arange(20) % 5
    batches = [random(20, 8, seed=seed) * (1 + seed) for seed in range(3)]
    mean = deviation = math.nan
    for number, batch in enumerate(batches):
        loss(batch, classes)
        norms = batch.norm(dim=1)
        weight = 0.25 if number else 1.0
        mean = weight * norms.mean().item() + (1 - weight) * (mean if number else 0.0)
        deviation = weight * norms.std().item() + (1 - weight) * (deviation if number else 0.0)
    with torch.no_grad():
        loss(100 * batches[0], classes)  # a validation
    assert loss.get_buffer("norm_mean").item() == pytest.approx(mean, rel=1e-5)
    assert loss.get_buffer("norm_deviation").item() == pytest.approx(deviation, rel=1e-5)


def test_autocast_keeps_the_prototypes_in_float32() -> None:
    """The library would permanently cast its weights to the dtype of the embeddings."""
    recipe = Recipe(loss="cosface", learnt_prototypes=True)
    loss = make_loss(recipe, random(5, 8), 10)
    with torch.autocast("cpu", torch.bfloat16):
        loss(random(7, 8).bfloat16(), torch.arange(7) % 5)
    assert {parameter.dtype for parameter in loss.parameters()} == {torch.float32}


def test_a_loss_whose_package_is_missing_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert make_recipe({"loss": "adaface"}).loss == "adaface"
    with pytest.raises(InputError, match=r"recipe\.loss: .*\.\[losses\]"):
        make_recipe({"loss": "cosface"})
