"""A pool of a million pictures that nobody looks at: a plan from a pilot, and features of what a pass reaches.

The pictures are handwritten digits, each moved and lit by its own number; 3 % are dim and noisy, as all of the
target are. They are drawn when they are asked for, so what is drawn is what a run costs.

    python examples/large_pool.py [--quick]
"""

import argparse

import numpy as np
import torch
from scenes import digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import rsft

PICTURES, LABELS = digits()
POOL_ITEMS, KEPT_BACK = 1_000_000, 500  # the last digits are in the target and the test set only


class Digits(Dataset[tuple[Tensor, int]]):
    """Pictures that are drawn from their number; counts them."""

    drawn = 0

    def __getitem__(self, item: int) -> tuple[Tensor, int]:
        self.drawn += 1
        generator = torch.Generator().manual_seed(item)
        row = item % (len(LABELS) - KEPT_BACK)
        moved = PICTURES[row].roll(tuple(torch.randint(-1, 2, (2,), generator=generator).tolist()), (1, 2))
        return (dim(moved, generator) if torch.rand(1, generator=generator) < 0.03 else moved), int(LABELS[row])


def dim(picture: Tensor, generator: torch.Generator) -> Tensor:
    return picture / 4 + 0.05 * torch.randn(picture.shape, generator=generator)


def describe(pictures: Tensor) -> Tensor:
    """Mean, spread and grain of each picture: (n, 1, 8, 8) -> (n, 3)."""
    grain = pictures.diff(dim=3).abs()
    return torch.stack([pictures.mean((1, 2, 3)), pictures.std((1, 2, 3)), grain.median(3).values.mean((1, 2))], 1)


def main(quick: bool = False) -> dict[str, float]:
    torch.manual_seed(0)
    pool, generator = Digits(), torch.Generator().manual_seed(0)
    shifted = torch.stack([dim(picture, generator) for picture in PICTURES[-KEPT_BACK:]])
    target, test, test_labels = shifted[:300], shifted[300:], LABELS[-200:]  # no labels of the target are looked at

    def score(items: np.ndarray) -> Tensor:
        return describe(torch.stack([pool[item][0] for item in items.tolist()]))

    plan = rsft.plan_from_pilot(
        score, describe(target), items=POOL_ITEMS, method="auto", envelope="max_tv=0.05", retain_fraction=0.5
    )
    sampler = plan.sampler(score=score, reach=4_000 if quick else 20_000)
    print(plan.verdict, plan.pilot and f"; rate {plan.pilot.acceptance_rate}")
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    rest = range(4_000 if quick else 20_000)
    uniform = DataLoader(pool, 32, sampler=rest)  # the numbers are no order of anything
    rsft.fine_tune(network, uniform, nn.functional.cross_entropy, stop=rsft.Stopping(epochs=1), learning_rate=1e-3)
    before, drawn = accuracy(network, test, test_labels), pool.drawn
    loader = DataLoader(pool, 32, sampler=sampler)
    rsft.fine_tune(
        network, loader, nn.functional.cross_entropy, stop=rsft.Stopping(epochs=2 if quick else 10), learning_rate=3e-4
    )
    promise = plan.check_promise(*sampler.scored)
    return {
        "trained uniformly": before,
        "tuned on the accepted": accuracy(network, test, test_labels),
        "pictures of the pool": POOL_ITEMS,
        "looked at": len(sampler.scored[0]),
        "accepted in the first pass": len(sampler.accepted(0)),
        "drawn while tuning": pool.drawn - drawn,
        "mean ratio met": 1.0 if promise is None else promise.mean_ratio.value or 0.0,
    }


def accuracy(network: nn.Module, pictures: Tensor, labels: Tensor) -> float:
    with torch.inference_mode():
        return float((network(pictures).argmax(1) == labels).double().mean())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    for name, value in main(parser.parse_args().quick).items():
        print(f"{name}: {value:.3f}" if value < 2 else f"{name}: {value:.0f}")
