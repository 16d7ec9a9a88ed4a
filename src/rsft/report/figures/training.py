"""Training: the loss, and what the gate chose between gain and loss."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from rsft.report.style import BAD, INK, POOL, SOFT, Drawing, colour_of, drawable, drawing
from rsft.types import TUNED

ROOM = 0.2  # of the axes, that a label takes
MEAN_OVER = 20  # parts of a training; each point of the mean is over one part


def loss_figure(trainings: Mapping[str, Sequence[float]]) -> Drawing:
    """Draw the running mean of the loss of each training, from its own first step.

    Args:
        trainings: Name of each training -> the loss of each step.
    """
    names = list(trainings)

    def draw(figure: Figure, narrow: bool) -> None:
        axes = figure.subplots()
        for place, name in enumerate(names):
            loss = drawable(trainings[name])
            window = max(1, len(loss) // MEAN_OVER)
            mean = np.convolve(loss, np.ones(window) / window, mode="valid") if len(loss) else loss
            last = place == len(names) - 1
            if len(names) == 1:
                axes.plot(np.arange(1, len(loss) + 1), loss, color=POOL, linewidth=0.6)
            axes.plot(np.arange(window, len(loss) + 1), mean, color=colour_of(TUNED) if last else SOFT,
                      linewidth=2 if last else 0.9, label=name if last or len(names) < 5 else None)  # fmt: skip
        axes.set_xlabel("step of the training")
        axes.set_ylabel("loss" if len(names) == 1 else "loss, running mean")
        if len(names) > 1:
            figure.legend(loc="outside upper center", ncols=1 if narrow else 3)

    ends = [
        f"{name}: from {np.mean(loss[:tenth]):.3f} to {np.mean(loss[-tenth:]):.3f}"
        for name, loss in trainings.items()
        if (tenth := max(1, len(loss) // 10)) and len(loss)
    ]
    return drawing(draw, "Loss of each training", "; ".join(ends[-4:]), height=2.6)


def path_figure(path: list[dict[str, Any]], chosen: float, allowed: float) -> Drawing:
    """Draw gain against loss along the line from the pretrained to the tuned weights, as the gate saw it.

    Args:
        path: Points of the line: "share" of the tuned weights in [0, 1], and the scores "target" and "others".
        chosen: The share that is kept.
        allowed: The allowed loss.
    """
    start = min(path, key=lambda point: point["share"])
    points = sorted(path, key=lambda point: point["share"])
    gain = drawable([point["target"] - start["target"] for point in points])
    change = drawable([point["others"] - start["others"] for point in points])

    def draw(figure: Figure, narrow: bool) -> None:
        axes = figure.subplots()
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.axvline(-allowed, color=BAD, linewidth=1.2, linestyle=":", label="largest allowed loss")
        axes.plot(change, gain, "o-", color=POOL, markersize=5, label="share of the tuned weights")
        for place in _apart(change, gain):
            axes.annotate(f"{points[place]['share']:.0%}", (change[place], gain[place]), (8, 7), color=SOFT,
                          textcoords="offset points")  # fmt: skip
        near = min(range(len(points)), key=lambda place: abs(points[place]["share"] - chosen))
        axes.plot(change[near], gain[near], "o", color=colour_of(TUNED), markersize=9, label=f"kept: {chosen:.0%}")
        axes.margins(0.15)
        axes.grid(visible=False)
        axes.set_xlabel("change on the other pairs of the pool")
        axes.set_ylabel("gain, target-like pairs")
        figure.legend(loc="outside upper center", ncols=1 if narrow else 3)

    told = "; ".join(
        f"at {point['share']:.0%}: {gain[place]:+.3f} on pairs like the target, {change[place]:+.3f} on others"
        for place, point in enumerate(points)
    )
    return drawing(draw, "Gain against loss on held-out people", told, height=3.2, narrow_height=3.6)


def _apart(x: np.ndarray, y: np.ndarray) -> list[int]:
    """Return the places of points that have room for a label: apart from the ones before, by a part of the axes."""
    at = np.stack([x, y], 1)
    at = (at - np.nanmin(at, 0)) / np.maximum(np.nanmax(at, 0) - np.nanmin(at, 0), 1e-9)
    kept: list[int] = []
    for place in [len(at) - 1, *range(len(at) - 1)]:
        if all(np.hypot(*(at[place] - at[other])) > ROOM for other in kept):
            kept.append(place)
    return kept
