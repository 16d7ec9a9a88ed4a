"""Segmentation: a class that is rare in the pool is as frequent as the others in the target, by pixel.

python examples/rare_class_segmentation.py [--quick] [--json]
"""

import sys

import torch
from compared import arguments, compared, tell
from scenes import digits, masked_scenes
from torch import Tensor, nn
from torch.utils.data import DataLoader

import rsft
from rsft.compare import Comparison
from rsft.tasks.describe import describe
from rsft.tasks.segmentation import Segmentation

DIGITS = 4
TASK = Segmentation(DIGITS + 1)


class UNet(nn.Module):
    """Two levels down and up again."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.top, self.middle = _block(1, width), _block(width, 2 * width)
        self.bottom, self.up = _block(2 * width, 2 * width), _block(4 * width, width)
        self.out = nn.Sequential(_block(2 * width, width), nn.Conv2d(width, DIGITS + 1, 1))
        self.halve, self.twice = nn.MaxPool2d(2), nn.Upsample(scale_factor=2)

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, 1, H, W) -> (B, classes, H, W), for sides that 4 divides."""
        top = self.top(pictures)
        middle = self.middle(self.halve(top))
        bottom = self.twice(self.bottom(self.halve(middle)))
        return self.out(torch.cat([top, self.twice(self.up(torch.cat([middle, bottom], 1)))], 1))


def _block(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU())


def main(quick: bool = False) -> tuple[rsft.Plan, Comparison]:
    torch.manual_seed(0)
    pictures, labels = digits()
    rows = torch.randperm(len(labels))
    sides = [(pictures[part], labels[part]) for part in (rows[:900], rows[900:])]  # no digit is in both
    rare, even = torch.tensor([0.4, 0.4, 0.17, 0.03]), torch.ones(DIGITS)
    pool = masked_scenes(*sides[0], rare, 200 if quick else 1000, seed=1)
    validation = masked_scenes(*sides[0], even, 20 if quick else 100, seed=2)
    test = masked_scenes(*sides[1], even, 30 if quick else 150, seed=3)
    model = UNet()
    batches = DataLoader(pool, 32, shuffle=True, collate_fn=TASK.collate)  # type: ignore[arg-type]
    rsft.fine_tune(model, batches, TASK.loss, stop=rsft.Stopping(epochs=1 if quick else 10), learning_rate=3e-3)

    held = describe(TASK, pool).memberships
    inked = 1 - float(rsft.ratio.memberships.shares(held["class"])[0])
    ratio = rsft.membership_ratio(held, {"class": dict.fromkeys(range(1, DIGITS + 1), inked / DIGITS)})
    print(ratio, file=sys.stderr)
    plan = rsft.plan_from_ratio(ratio.log_ratio, envelope="max_tv=0.05")
    options = {"steps": 150, "learning_rates": [2e-3, 6e-3], "seeds": 3, "draws": 100, "quick": quick}
    return plan, compared(TASK, model, pool, validation, test, plan, **options)


if __name__ == "__main__":
    given = arguments()
    tell(*main(given.quick), ("miou", f"iou_{DIGITS}"), as_json=given.json)
