"""A pool of which a tenth is dim and noisy, a target that is so throughout: known by pictures of it without labels.

python examples/domain_shift.py [--quick] [--json]
"""

import torch
from compared import arguments, compared, tell
from scenes import digits
from torch import Tensor, nn
from torch.utils.data import DataLoader

import rsft
from rsft.compare import Comparison
from rsft.tasks.classification import Classification
from rsft.tasks.describe import describe, unlabelled

TASK = Classification(10)


def dimmed(pictures: Tensor) -> Tensor:
    """As at night: a third of the light, and noise."""
    return pictures / 3 + 0.12 * torch.randn(pictures.shape)


def main(quick: bool = False) -> tuple[rsft.Plan, Comparison]:
    torch.manual_seed(0)
    pictures, labels = digits()
    order = torch.randperm(len(labels))
    shifted = torch.where((torch.rand(len(labels)) < 0.1)[:, None, None, None], dimmed(pictures), pictures)
    night = dimmed(pictures)
    pool = [(shifted[row], int(labels[row])) for row in order[:900]]
    target = [night[row] for row in order[900:1100]]  # no labels are looked at
    validation, test = ([(night[row], int(labels[row])) for row in rows] for rows in order[1100:].split(300)[:2])
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    clear = [(pictures[row], int(labels[row])) for row in order[:900]]  # what the network knows: no dim picture
    batches = DataLoader(clear, 32, shuffle=True, collate_fn=TASK.collate)  # type: ignore[arg-type]
    rsft.fine_tune(model, batches, TASK.loss, stop=rsft.Stopping(epochs=2 if quick else 15), learning_rate=1e-3)

    rows, wanted = describe(TASK, pool).table()[:, :4], unlabelled(TASK, target)[:, :4]  # all are of one size
    plan = rsft.plan(rows, wanted, envelope="max_tv=0.05", retain_fraction=0.2)
    rates = [3e-4, 1e-3, 3e-3]
    return plan, compared(TASK, model, pool, validation, test, plan, steps=200, learning_rates=rates, quick=quick)


if __name__ == "__main__":
    given = arguments()
    tell(*main(given.quick), ("accuracy", "balanced_accuracy"), as_json=given.json)
