import math

import pytest
import torch
from torch import nn

from rsft.face.adaptation.adaface import AdaFaceLoss
from rsft.face.adaptation.heads import PrototypeHead, PrototypeLoss, class_means


def test_without_a_margin_the_loss_is_cross_entropy_of_scaled_cosines() -> None:
    generator = torch.Generator().manual_seed(0)
    prototypes, embeddings = torch.randn(5, 8, generator=generator), torch.randn(7, 8, generator=generator)
    classes = torch.arange(7) % 5
    cosine = nn.functional.cosine_similarity(embeddings[:, None], prototypes[None], dim=2)
    expected = nn.functional.cross_entropy(16 * cosine, classes)
    torch.testing.assert_close(PrototypeLoss(prototypes, scale=16.0, margin_rad=0.0)(embeddings, classes), expected)


@pytest.mark.parametrize("degrees", [20.0, 90.0, 150.0])
def test_the_margin_is_added_to_the_angle(degrees: float) -> None:
    angle, margin = math.radians(degrees), 0.3
    embedding = torch.tensor([[math.cos(angle), math.sin(angle)]])
    loss = PrototypeLoss(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), scale=1.0, margin_rad=margin)
    own, other = loss.logits(embedding, torch.tensor([0]))[0].tolist()
    assert own == pytest.approx(math.cos(angle + margin), abs=1e-5)
    assert other == pytest.approx(math.sin(angle), abs=1e-5)


def test_the_logit_of_the_own_class_always_falls_as_the_angle_grows() -> None:
    angles = torch.linspace(0, math.pi, 2000)
    embeddings = torch.stack([angles.cos(), angles.sin()], 1)
    loss = PrototypeLoss(torch.tensor([[1.0, 0.0]]), margin_rad=0.5)
    logits = loss.logits(embeddings, torch.zeros(2000, dtype=torch.long))[:, 0]
    assert bool((logits.diff() <= 1e-4).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("learnt", [False, True])
def test_gradients_are_finite_if_an_embedding_equals_its_prototype(dtype: torch.dtype, learnt: bool) -> None:
    """When training starts, cosines are 1, or slightly more by rounding."""
    above = 0
    for seed in range(1000):
        embeddings = torch.randn(6, 16, generator=torch.Generator().manual_seed(seed)).to(dtype).requires_grad_()
        classes = torch.arange(6)
        prototypes = class_means(embeddings.detach().float(), classes)
        loss = PrototypeLoss(prototypes, scale=64.0, margin_rad=0.5, learnt=learnt)
        unit = nn.functional.normalize(embeddings.detach().float())
        above += int(((unit * nn.functional.normalize(prototypes)).sum(1) >= 1).sum())
        value = loss(embeddings, classes)
        value.backward()
        gradients = [embeddings.grad] + ([loss.prototypes.grad] if learnt else [])
        assert bool(value.isfinite())
        assert all(gradient is not None and bool(gradient.isfinite().all()) for gradient in gradients), seed
    assert above > 1000  # otherwise the clamp would not be tested


def test_the_margin_grows_with_training_batches_only() -> None:
    embedding = torch.tensor([[math.cos(1.0), math.sin(1.0)]])
    loss = PrototypeLoss(torch.tensor([[1.0, 0.0]]), scale=1.0, margin_rad=0.4, ramp_batches=4)
    angles = []
    for _ in range(6):
        with torch.no_grad():
            loss(embedding, torch.tensor([0]))
        angles.append(math.acos(loss.logits(embedding, torch.tensor([0])).item()))
        loss(embedding, torch.tensor([0]))
    assert angles == pytest.approx([1.0, 1.1, 1.2, 1.3, 1.4, 1.4], abs=1e-4)


def test_only_learnt_prototypes_require_a_gradient() -> None:
    assert [PrototypeLoss(torch.eye(2), learnt=learnt).prototypes.requires_grad for learnt in (False, True)] == [0, 1]


def test_a_margin_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"pi / 2"):
        PrototypeLoss(torch.eye(2), margin_rad=28.6)


@pytest.mark.parametrize("make", [PrototypeLoss, AdaFaceLoss])
def test_a_weight_multiplies_the_loss_of_its_item(make: type[PrototypeHead]) -> None:
    generator = torch.Generator().manual_seed(0)
    prototypes, embeddings = (torch.randn(n, 8, generator=generator) for n in (5, 4))
    classes = torch.tensor([0, 1, 2, 2])
    with torch.no_grad():
        weighted = make(prototypes)(embeddings, classes, torch.tensor([3.0, 0.0, 1.0, 0.0]))
        single = [make(prototypes)(embeddings[[row]], classes[[row]]) for row in (0, 2)]
    assert weighted == pytest.approx((3 * single[0] + single[1]) / 4)
