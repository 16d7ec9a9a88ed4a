"""A long-tailed pool, a target where all classes are equally frequent: its class shares are known, no picture of it.

python examples/long_tail.py [--quick] [--json]
"""

import torch
from compared import arguments, compared, tell
from scenes import digits
from torch import nn
from torch.utils.data import DataLoader

import rsft
from rsft.compare import Comparison
from rsft.tasks.classification import Classification
from rsft.tasks.describe import describe

TASK = Classification(10)


def main(quick: bool = False) -> tuple[rsft.Plan, Comparison]:
    torch.manual_seed(0)
    pictures, labels = digits()
    order = torch.randperm(len(labels))
    items = [(pictures[row], int(labels[row])) for row in order]
    keep = torch.rand(1000) < 0.7 ** labels[order[:1000]]  # each digit seven tenths as frequent as the one before
    pool, validation, test = [items[n] for n in range(1000) if keep[n]], items[1000:1300], items[1300:]
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    batches = DataLoader(pool, 32, shuffle=True, collate_fn=TASK.collate)  # type: ignore[arg-type]
    rsft.fine_tune(model, batches, TASK.loss, stop=rsft.Stopping(epochs=2 if quick else 15), learning_rate=1e-3)

    held = describe(TASK, pool).memberships
    ratio = rsft.membership_ratio(held, {"class": dict.fromkeys(range(10), 0.1)}, least_effective=10)
    plan = rsft.plan_from_ratio(ratio.log_ratio, envelope="max")
    rates = [3e-4, 1e-3, 3e-3]
    return plan, compared(TASK, model, pool, validation, test, plan, steps=300, learning_rates=rates, quick=quick)


if __name__ == "__main__":
    given = arguments()
    tell(*main(given.quick), ("accuracy", "balanced_accuracy"), as_json=given.json)
