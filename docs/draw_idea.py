"""Draw the figures of `idea.md`: a pool and a target of one feature, the envelope M, and who is accepted.

Run `python docs/draw_idea.py` after a change. Every number comes from rsft itself. Text and lines take the colours of a
light or a dark page, whichever the figure stands on.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch.distributions import Normal

import rsft
from rsft.report.style import COLOURS, INK, draw_svg, standalone
from rsft.report.style import POOL as GREY
from rsft.types import PRETRAINED, TUNED, UNIFORM

FOLDER = Path(__file__).with_name("idea")
POOL, TARGET = Normal(0.0, 1.0), Normal(1.2, 0.6)
SIZE = (4.8, 2.9)
LINE = torch.linspace(-3.2, 3.4, 331)


def pool_items(count: int) -> torch.Tensor:
    """Return the features of some items of the pool."""
    return POOL.mean + POOL.stddev * torch.randn(count, generator=torch.Generator().manual_seed(2))


def log_ratio(x: torch.Tensor) -> torch.Tensor:
    """Return log target - log pool at features."""
    return TARGET.log_prob(x) - POOL.log_prob(x)


def density(x: torch.Tensor, of: Normal) -> np.ndarray:
    """Return a density at features, to four digits: the figures are the same on every machine."""
    return np.round(of.log_prob(x).exp().numpy().astype(float), 4)


def curves(axes: Any, pool_times: float = 1.0, pool_name: str = "pool q(x)") -> None:
    """Draw both densities."""
    axes.plot(LINE, pool_times * density(LINE, POOL), color=COLOURS[PRETRAINED], label=pool_name)
    axes.plot(LINE, density(LINE, TARGET), color=COLOURS[TUNED], label="target p(x)")
    axes.set_xlabel("feature x, such as how dark a picture is")
    axes.set_ylabel("density")
    axes.set_xlim(-4.5, 3.6)  # room for the legend


def pool_and_target(figure: Figure) -> None:
    """Draw the two populations."""
    axes = figure.subplots()
    curves(axes)
    for of, name in ((POOL, PRETRAINED), (TARGET, TUNED)):
        axes.fill_between(LINE, density(LINE, of), color=COLOURS[name], alpha=0.15, linewidth=0)
    axes.legend(frameon=False, loc="upper left")


def envelope(figure: Figure) -> None:
    """Draw the pool's density lifted until it covers the target."""
    axes = figure.subplots()
    m = math.exp(float(log_ratio(LINE).max()))
    curves(axes, m, f"M q(x), M = {m:.1f}")
    axes.plot(LINE, density(LINE, POOL), color=COLOURS[PRETRAINED], linestyle=":", label="pool q(x)")
    axes.fill_between(LINE, density(LINE, TARGET), m * density(LINE, POOL), color=GREY, alpha=0.35, linewidth=0)
    largest = int(log_ratio(LINE).argmax())
    touch = (float(LINE[largest]), density(LINE, TARGET)[largest])
    axes.annotate("the largest ratio:\nall are accepted here", touch, (10, 34), textcoords="offset points",
                  arrowprops={"arrowstyle": "-", "color": INK})  # fmt: skip
    axes.legend(frameon=False, loc="upper left")


def accept_or_reject(figure: Figure) -> None:
    """Draw items at a random height below M q: those below the target's curve are accepted."""
    axes = figure.subplots()
    x = pool_items(500)
    ratio = log_ratio(x)
    log_m = float(log_ratio(LINE).max())
    height = torch.rand(len(x), generator=torch.Generator().manual_seed(3))
    kept = (height < rsft.acceptance_probability(ratio, log_m)).numpy()
    curves(axes, math.exp(log_m), "M q(x)")
    place = np.round((height * math.exp(log_m) * POOL.log_prob(x).exp()).numpy().astype(float), 3)
    places = np.round(x.numpy().astype(float), 3)
    axes.plot(places[~kept], place[~kept], ".", color=GREY, markersize=4, label=f"rejected: {(~kept).sum()}")
    axes.plot(places[kept], place[kept], ".", color=COLOURS[UNIFORM], markersize=5, label=f"accepted: {kept.sum()}")
    axes.legend(frameon=False, loc="upper left")


def accepted(figure: Figure) -> None:
    """Draw the histogram of what is accepted, on the target's density."""
    axes = figure.subplots()
    x = pool_items(40_000)
    plan = rsft.plan_from_ratio(log_ratio(x), envelope="max")
    kept = x[list(plan.sampler(seed=0))].numpy()
    bins = np.linspace(-3.2, 3.4, 56).tolist()
    axes.hist(x.numpy(), bins, density=True, color=GREY, label=f"pool: {len(x):,}")
    axes.hist(kept, bins, density=True, color=COLOURS[UNIFORM], alpha=0.6, label=f"accepted: {len(kept):,}")
    axes.plot(LINE, density(LINE, TARGET), color=COLOURS[TUNED], label="target p(x)")
    axes.set_xlabel("feature x")
    axes.set_ylabel("density")
    axes.legend(frameon=False, loc="upper left")


def price(figure: Figure) -> None:
    """Draw what a smaller M costs: the clipped share of the target over the accepted share of the pool."""
    axes = figure.subplots()
    ratio = log_ratio(pool_items(40_000))
    rules = ["max", *(f"max_tv={share:g}" for share in np.geomspace(0.001, 0.5, 40))]
    prices = rsft.price_list(ratio, rules)
    rates = [round(one.acceptance_rate, 3) for one in prices]
    axes.plot(rates, [round(one.clipped_mass, 3) for one in prices], color=COLOURS[TUNED])
    for rule in ("max", "max_tv=0.02", "max_tv=0.1", "max_tv=0.2"):
        (one,) = rsft.price_list(ratio, [rule])
        shift, side, gap = ((-8, 6), "right", "\n") if rule == "max" else ((9, -3), "left", " ")
        axes.plot(round(one.acceptance_rate, 3), round(one.clipped_mass, 3), "o", color=COLOURS[UNIFORM])
        told = f"{rule}{gap}(M = {math.exp(one.log_m):.1f})"
        axes.annotate(told, (one.acceptance_rate, one.clipped_mass), shift, textcoords="offset points", ha=side,
                      va="center")  # fmt: skip
    axes.set_xlabel("acceptance rate: share of the pool that an epoch trains on")
    axes.set_ylabel("clipped mass")
    axes.set_xlim(0, max(rates) * 1.02)


def stepped(figure: Figure) -> None:
    """Draw which of sixty items six epochs accept, and the batches that are made of them."""
    axes = figure.subplots()
    x = pool_items(60).sort().values
    plan = rsft.plan_from_ratio(log_ratio(x), envelope="max")
    sampler = plan.sampler(seed=0)
    for epoch in range(6):
        sampler.set_epoch(epoch)
        kept = sorted(sampler)
        axes.plot(range(len(x)), [epoch] * len(x), "s", color=GREY, markersize=3)
        axes.plot(kept, [epoch] * len(kept), "s", color=COLOURS[UNIFORM], markersize=5)
        axes.annotate(f"{len(kept)}", (len(x) + 1, epoch), va="center")
    axes.set_yticks(range(6), [f"epoch {epoch}" for epoch in range(6)])
    axes.invert_yaxis()
    axes.set_xticks([0, len(x) - 1], ["least like the target", "most"])
    axes.grid(visible=False)
    axes.set_xlim(-1, len(x) + 4)
    for tick, side in zip(axes.get_xticklabels(), ("left", "right"), strict=True):
        tick.set_ha(side)


FIGURES: dict[str, Callable[[Figure], None]] = {
    "pool-and-target": pool_and_target,
    "envelope": envelope,
    "accept-or-reject": accept_or_reject,
    "accepted": accepted,
    "price": price,
    "stepped": stepped,
}


def draw(name: str) -> str:
    """Return a figure as SVG, whose colours follow the page."""
    return standalone(draw_svg(FIGURES[name], SIZE))


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in FIGURES:
        (FOLDER / f"{name}.svg").write_text(draw(name), encoding="utf-8")
