"""skorch trains on the sequence of the sampler in every epoch; timm and torchvision models can be tuned."""

from typing import Any

import pytest
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import rsft

ITEMS = 97
ACCEPTANCE = torch.linspace(0.2, 1, ITEMS, dtype=torch.float64)


class Epochs(Callback):
    """Sets the epoch of the sampler, since skorch makes one loader per `fit` and iterates over it in every epoch."""

    def __init__(self, sampler: rsft.RejectionSampler) -> None:
        self.sampler = sampler

    def on_epoch_begin(self, net: Any, **ignored: Any) -> None:
        self.sampler.set_epoch(len(net.history) - 1)


class Noting(nn.Module):
    """Records the items it is trained on; the only feature of an item is its number."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []
        self.linear = nn.Linear(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.seen += x.flatten().long().tolist()
        return self.linear(x / ITEMS).softmax(1)


def test_skorch_trains_on_the_sequence_of_every_epoch() -> None:
    sampler = rsft.RejectionSampler(ACCEPTANCE, seed=5)
    net = NeuralNetClassifier(
        Noting,
        max_epochs=2,
        batch_size=8,
        train_split=None,
        iterator_train__sampler=sampler,
        callbacks=[Epochs(sampler)],
        verbose=0,
    )
    x = torch.arange(ITEMS, dtype=torch.float32)[:, None].numpy()
    net.fit(x, (x[:, 0] > 48).astype("int64"))
    expected = []
    for epoch in range(2):
        alone = rsft.RejectionSampler(ACCEPTANCE, seed=5)
        alone.set_epoch(epoch)
        expected += list(alone)
    assert net.module_.seen == expected


def test_fine_tune_changes_a_timm_model() -> None:
    timm = pytest.importorskip("timm", reason="timm needs torchvision, whose wheels must match torch's build")
    _tuned(timm.create_model("resnet10t", num_classes=2))


def test_fine_tune_changes_a_torchvision_model() -> None:
    models = pytest.importorskip("torchvision.models", reason="torchvision's wheels must match torch's build")
    _tuned(models.resnet18(num_classes=2))


def _tuned(model: nn.Module) -> None:
    data = TensorDataset(torch.rand(24, 3, 64, 64), torch.arange(24) % 2)
    loader = DataLoader(data, 4, sampler=rsft.RejectionSampler(torch.full((24,), 0.5)), drop_last=True)
    before = [parameter.clone() for parameter in model.parameters()]
    rsft.fine_tune(model, loader, nn.CrossEntropyLoss(), stop=rsft.Stopping(steps=2), learning_rate=1e-3)
    assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
