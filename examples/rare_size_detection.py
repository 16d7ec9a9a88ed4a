"""Detection: large objects are rare in the pool and as frequent as the others in the target, by box.

The detector is single-stage and without anchors: each cell says whether an object's centre lies in it, and its box.

    python examples/rare_size_detection.py [--quick] [--json]
"""

import sys
from collections.abc import Sequence

import torch
from compared import arguments, compared, tell
from scenes import boxed_scenes, digits
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

import rsft
from rsft.compare import Comparison
from rsft.tasks.describe import describe
from rsft.tasks.detection import Detection, Objects

STRIDE, MOST, UNIT = 4, 10, 16.0  # pixels a cell; boxes a picture; pixels to which a side's logarithm refers
SIZES = torch.tensor([10, 18, 30])


def loss_of_each(outputs: Tensor, objects: Sequence[Objects]) -> Tensor:
    """Focal loss of the centres and L1 of the boxes, over each picture's own objects: (B,)."""
    losses = []
    for output, found in zip(outputs, objects, strict=True):
        truth = torch.zeros_like(output[0])
        boxes = found["boxes"]
        middle, size = (boxes[:, :2] + boxes[:, 2:]) / 2 / STRIDE, boxes[:, 2:] - boxes[:, :2]
        column, row = middle.long().unbind(1)
        truth[row, column] = 1
        wanted = torch.cat([middle - middle.floor(), (size / UNIT).log()], 1)
        entropy = functional.binary_cross_entropy_with_logits(output[0], truth, reduction="none")
        focal = ((1 - torch.exp(-entropy)) ** 2 * entropy).sum()
        apart = (output[1:, row, column].T - wanted).abs().sum()
        losses.append((focal + apart) / max(1, len(boxes)))
    return torch.stack(losses)


def decode(output: Tensor) -> Objects:
    """The ten highest local maxima of the centres."""
    centre = output[0].sigmoid()
    highest = centre * (centre == functional.max_pool2d(centre[None], 3, 1, 1)[0])
    scores, places = highest.flatten().topk(MOST)
    row, column = places // centre.shape[1], places % centre.shape[1]
    shift, size = output[1:3, row, column].T, output[3:, row, column].T.clamp(-3, 3).exp() * UNIT
    middle = (torch.stack([column, row], 1) + shift) * STRIDE
    boxes = torch.cat([middle - size / 2, middle + size / 2], 1)
    return {"boxes": boxes, "labels": torch.zeros(MOST, dtype=torch.long), "scores": scores}


TASK = Detection(1, loss_of_each, decode, size_edges=(14.0**2, 24.0**2))


def detector(width: int = 16) -> nn.Module:
    """(B, 1, H, W) -> (B, 5, H / 4, W / 4): centre, its place in the cell, logarithms of width and height."""
    steps = [(1, width, 2), (width, width, 2), (width, width, 1), (width, width, 1), (width, width, 1)]
    layers = [
        part
        for number, (inputs, outputs, stride) in enumerate(steps)
        for part in (
            nn.Conv2d(inputs, outputs, 3, stride, padding=2 ** max(0, number - 2), dilation=2 ** max(0, number - 2)),
            nn.ReLU(),
        )
    ]
    last = nn.Conv2d(width, 5, 1)
    with torch.no_grad():
        last.bias[0] = -4.0  # centres are rare
    return nn.Sequential(*layers, last)


def main(quick: bool = False) -> tuple[rsft.Plan, Comparison]:
    torch.manual_seed(0)
    pictures, labels = digits()
    rows = torch.randperm(len(labels))
    sides = [(pictures[part], labels[part]) for part in (rows[:900], rows[900:])]  # no digit is in both
    rare, even = torch.tensor([0.6, 0.36, 0.04]), torch.ones(3)
    pool = boxed_scenes(*sides[0], SIZES, rare, 200 if quick else 1000, seed=1)
    validation = boxed_scenes(*sides[0], SIZES, even, 20 if quick else 100, seed=2)
    test = boxed_scenes(*sides[1], SIZES, even, 30 if quick else 150, seed=3)
    model = detector()
    batches = DataLoader(pool, 32, shuffle=True, collate_fn=TASK.collate)  # type: ignore[arg-type]
    rsft.fine_tune(model, batches, TASK.loss, stop=rsft.Stopping(epochs=1 if quick else 15), learning_rate=3e-3)

    held = describe(TASK, pool).memberships
    ratio = rsft.membership_ratio(held, {"size": dict.fromkeys(range(3), 1 / 3)})
    print(ratio, file=sys.stderr)
    plan = rsft.plan_from_ratio(ratio.log_ratio, envelope="max_tv=0.05")
    options = {"steps": 150, "learning_rates": [2e-3, 6e-3], "seeds": 3, "draws": 50, "quick": quick}
    return plan, compared(TASK, model, pool, validation, test, plan, **options)


if __name__ == "__main__":
    given = arguments()
    tell(*main(given.quick), ("map", "map_large"), as_json=given.json)
