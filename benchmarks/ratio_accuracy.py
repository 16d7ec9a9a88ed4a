"""Density ratios against scikit-learn's plain logistic odds, densratio and skada, where the exact ratio is known.

    pip install ".[bench]"
    RSFT_DATA=... python benchmarks/ratio_accuracy.py

The error is the normalised one, sum of (r - exact)^2 over sum of exact^2, at fresh items of the pool's population, with
all estimates scaled to mean 1 there; 0 is perfect, and a ratio of 1 everywhere is listed as "no ratio". rsft's error at
the pool's own items, each scored by a model that did not see it, is listed as well. The real shifts are pictures of one
collection drawn with other shares of a known attribute, so the exact ratio is known too; they need `RSFT_DATA`. A fit
longer than `LIMIT_SECONDS` is stopped and recorded. Writes `benchmarks/results/ratio_accuracy.json`.
"""

import argparse
import contextlib
import csv
import io
import json
import os
import signal
import tarfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import densratio
import numpy as np
import skada
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from torch.distributions import Normal

from rsft import attribute_ratio, fit_ratio

RESULTS = Path(__file__).parent / "results" / "ratio_accuracy.json"
CACHE = Path("runs/ratio_accuracy")
LIMIT_SECONDS = 60
LFW_PICTURES = 2500


@dataclass(frozen=True)
class Pair:
    """A pool and a target, fresh items of the pool's population, and the exact log ratio of pool and fresh items.

    `bounded`: a largest ratio exists.
    """

    name: str
    pool: np.ndarray
    target: np.ndarray
    fresh: np.ndarray
    exact_pool: np.ndarray
    exact_fresh: np.ndarray
    bounded: bool = False


def _pair(name: str, pool: np.ndarray, target: np.ndarray, exact: np.ndarray, bounded: bool = False) -> Pair:
    """The second half of `pool` is the fresh one."""
    n = len(pool) // 2
    return Pair(name, pool[:n], target, pool[n:], exact[:n], exact[n:], bounded)


def _normals(seed: int, n: int, d: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def _log_normal(x: np.ndarray, mean: float, spread: float) -> np.ndarray:
    return Normal(mean, spread).log_prob(torch.from_numpy(x)).numpy()


def shifted(n: int, k: int, d: int, seed: int) -> Pair:
    pool, target = _normals(10 * seed, 2 * n, d), _normals(10 * seed + 1, k, d)
    target[:, 0] += 1
    return _pair(f"shifted mean, n={n}, k={k}, d={d}", pool, target, pool[:, 0] - 0.5)


def correlated(n: int, d: int, seed: int) -> Pair:
    mix = np.random.default_rng(10 * seed + 2).normal(size=(d, d)).astype(np.float32) / np.sqrt(d)
    pool, target = _normals(10 * seed, 2 * n, d), _normals(10 * seed + 1, n, d)
    target[:, 0] += 1
    return _pair(f"shifted mean, correlated, n={n}, d={d}", pool @ mix, target @ mix, pool[:, 0] - 0.5)


def narrowed(n: int, d: int, seed: int) -> Pair:
    pool, target = _normals(10 * seed, 2 * n, d), _normals(10 * seed + 1, n, d)
    target[:, 0] = target[:, 0] * 0.8 + 0.5
    exact = _log_normal(pool[:, 0], 0.5, 0.8) - _log_normal(pool[:, 0], 0.0, 1.0)
    return _pair(f"narrower, n={n}, d={d}", pool, target, exact, bounded=True)


def two_modes(n: int, seed: int) -> Pair:
    pool, target = _normals(10 * seed, 2 * n, 2), _normals(10 * seed + 1, n, 2) * 0.5
    target[:, 0] += 1.2 * np.sign(_normals(10 * seed + 2, n, 1)[:, 0])
    modes = np.logaddexp(_log_normal(pool[:, 0], 1.2, 0.5), _log_normal(pool[:, 0], -1.2, 0.5)) - np.log(2)
    exact = modes + _log_normal(pool[:, 1], 0.0, 0.5) - _log_normal(pool, 0.0, 1.0).sum(1)
    return _pair(f"two modes, n={n}, d=2", pool, target, exact, bounded=True)


def steps(n: int, d: int, seed: int) -> Pair:
    generator = np.random.default_rng(seed)
    pool, drawn = (generator.random((m, d)).astype(np.float32) for m in (2 * n, 10 * n))
    level = lambda x: np.where(x[:, 0] > 0.7, 1.0, 0.2)  # noqa: E731
    target = drawn[generator.random(len(drawn)) < level(drawn)][:n]
    return _pair(f"steps, n={n}, d={d}", pool, target, np.log(level(pool) / (0.3 + 0.7 * 0.2)), bounded=True)


def rare_part(n: int, d: int, seed: int) -> Pair:
    pool, target = _normals(10 * seed, 2 * n, d), _normals(10 * seed + 1, n, d)
    moved = np.random.default_rng(10 * seed + 3).random(n) >= 0.1
    target[moved, 0] = target[moved, 0] * 0.6 + 2
    away = _log_normal(pool[:, 0], 2.0, 0.6) - _log_normal(pool[:, 0], 0.0, 1.0)
    return _pair(f"rare part, n={n}, d={d}", pool, target, np.logaddexp(np.log(0.9) + away, np.log(0.1)), bounded=True)


# Kernel density estimates and KLIEP at more than this many rows times columns take hours, or do not answer to a signal.
MAX_SLOW_CELLS = 1_000_000
SLOW = {"skada KDE", "densratio KLIEP", "skada KLIEP"}

# Each with how many seeds; the large ones take minutes.
SYNTHETIC: list[tuple[Callable[[int], Pair], int]] = [
    (lambda seed: shifted(1000, 1000, 2, seed), 5),
    (lambda seed: shifted(5000, 5000, 128, seed), 1),
    (lambda seed: shifted(20_000, 500, 64, seed), 1),
    (lambda seed: shifted(5000, 5000, 512, seed), 1),
    (lambda seed: correlated(5000, 32, seed), 3),
    (lambda seed: narrowed(5000, 2, seed), 3),
    (lambda seed: narrowed(5000, 16, seed), 3),
    (lambda seed: narrowed(100_000, 16, seed), 1),
    (lambda seed: two_modes(5000, seed), 1),
    (lambda seed: steps(5000, 4, seed), 1),
    (lambda seed: rare_part(5000, 32, seed), 1),
]


def _by_attribute(name: str, features: np.ndarray, attribute: np.ndarray, shares: dict[Any, float], seed: int) -> Pair:
    """A third is the pool, a third is fresh, both as they are; the target is drawn from the last with other shares.

    Features are standardised, for peers that do not do so.
    """
    features = (features - features.mean(0)) / np.maximum(features.std(0), 1e-6)
    order = np.random.default_rng(seed).permutation(len(features))
    pool, rest, fresh = np.array_split(order, 3)
    count = min(int((attribute[rest] == value).sum() / share) for value, share in shares.items() if share)
    target = np.concatenate([rest[attribute[rest] == value][: round(count * share)] for value, share in shares.items()])
    both = np.concatenate([pool, fresh])
    exact = attribute_ratio(attribute[both].tolist(), shares).numpy()
    title = f"{name}, n={len(pool)}, k={len(target)}, d={features.shape[1]}"
    return Pair(title, features[pool], features[target], features[fresh], *np.split(exact, [len(pool)]))


def cameras(data: Path, seed: int) -> Pair:
    """MUCT: pixels of 16 x 12; the target is mostly seen by camera e, from below."""
    pixels, camera = [], []
    with tarfile.open(data / "muct_32x24.tar") as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None and member.name.endswith((".png", ".jpg", ".pgm")):
                image = Image.open(io.BytesIO(file.read())).convert("L").resize((12, 16), Image.Resampling.BOX)
                pixels.append(np.asarray(image, np.float32).ravel())
                camera.append(PurePosixPath(member.name).stem[5])
    shares = {"a": 0.05, "b": 0.05, "c": 0.1, "d": 0.1, "e": 0.7}
    return _by_attribute("MUCT cameras", np.array(pixels), np.array(camera), shares, seed)


def turned(data: Path, seed: int) -> Pair:
    """LFW: what the frozen stages of the network see; the target is mostly turned."""
    from rsft.data.images import find_images
    from rsft.face.networks.load import load_model
    from rsft.face.pictures.embedding import embed

    with open(data / "lfw-landmarks-folds1-6.csv") as file:
        rows = list(csv.DictReader(file))
    yaw = {PurePosixPath(row["file"]).stem: abs(float(row["yaw_proxy"])) for row in rows}
    path = CACHE / "lfw.npz"
    if not path.exists():
        images = find_images(data / "lfw-folds1-6.tar", labelled=True)
        rows_used = np.sort(np.random.default_rng(0).permutation(len(images))[:LFW_PICTURES])
        features = embed(load_model("dlib"), images.subset(rows_used.tolist()))
        CACHE.mkdir(parents=True, exist_ok=True)
        np.savez(path, x=features.nuisances, ids=np.array(features.ids))
    stored = np.load(path)
    known = np.array([PurePosixPath(item).stem in yaw for item in stored["ids"]])
    turn = np.array([yaw.get(PurePosixPath(item).stem, 0.0) for item in stored["ids"]])
    attribute = (turn > 0.15).astype(int)
    return _by_attribute("LFW head turn", stored["x"][known], attribute[known], {0: 0.3, 1: 0.7}, seed)


Estimator = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # pool, target, fresh -> ratio at the fresh


def ours(method: str, own: bool = False) -> Estimator:
    """At the fresh items; or at the pool's `own`."""

    def estimate(pool: np.ndarray, target: np.ndarray, fresh: np.ndarray) -> np.ndarray:
        ratio = fit_ratio(torch.from_numpy(pool), torch.from_numpy(target), method)
        return (ratio.pool_log_ratio if own else ratio.log_ratio(torch.from_numpy(fresh))).exp().numpy()

    return estimate


def plain_logistic(pool: np.ndarray, target: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    x, y = np.concatenate([pool, target]), np.repeat([0, 1], [len(pool), len(target)])
    odds = LogisticRegression(max_iter=1000).fit(x, y).decision_function(fresh)
    return np.exp(odds) * len(pool) / len(target)


def of_densratio(method: str) -> Estimator:
    return lambda pool, target, fresh: np.asarray(
        densratio.densratio(target, pool, method=method, verbose=False).compute_density_ratio(fresh)
    ).ravel()


def of_skada(adapter: Callable[[int], Any]) -> Estimator:
    def estimate(pool: np.ndarray, target: np.ndarray, fresh: np.ndarray) -> np.ndarray:
        x, domain = np.concatenate([pool, target]), np.repeat([1, -2], [len(pool), len(target)])
        fitted = adapter(pool.shape[1]).fit(x, sample_domain=domain)
        return fitted.compute_weights(fresh, sample_domain=np.ones(len(fresh), int))

    return estimate


OURS = {"rsft": ours("classifier"), "rsft auto": ours("auto")}
PEERS: dict[str, Estimator] = {
    "scikit-learn odds": plain_logistic,
    "densratio uLSIF": of_densratio("uLSIF"),
    "densratio RuLSIF": of_densratio("RuLSIF"),
    "densratio KLIEP": of_densratio("KLIEP"),
    "skada KDE": of_skada(lambda width: skada._reweight.DensityReweightAdapter()),
    "skada Gaussian": of_skada(lambda width: skada._reweight.GaussianReweightAdapter()),
    "skada discriminator": of_skada(lambda width: skada._reweight.DiscriminatorReweightAdapter()),
    "skada KLIEP": of_skada(
        lambda width: skada._reweight.KLIEPReweightAdapter(gamma=[g / width for g in (0.1, 0.3, 1.0)], random_state=0)
    ),
}


@contextlib.contextmanager
def limited(seconds: int) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def measure(estimate: Estimator, pair: Pair, log_exact: np.ndarray) -> dict[str, Any]:
    exact = np.exp(log_exact.astype(np.float64))
    started = time.perf_counter()
    try:
        with limited(LIMIT_SECONDS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ratio = np.asarray(estimate(pair.pool, pair.target, pair.fresh), np.float64)
    except TimeoutError:
        return {"failed": f"over {LIMIT_SECONDS} s"}
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}"[:200]}
    seconds = time.perf_counter() - started
    scaled = np.nan_to_num(ratio / ratio.mean() * exact.mean())
    return {
        "error": float(((scaled - exact) ** 2).sum() / (exact**2).sum()),
        "largest": float(scaled.max()),
        "seconds": seconds,
    }


def compare(make: Callable[[int], Pair], seeds: int) -> dict[str, Any]:
    """Means over seeds."""
    cells: dict[str, list[dict[str, Any]]] = {}
    for seed in range(seeds):
        pair = make(seed)
        exact = np.exp(pair.exact_fresh.astype(np.float64))
        for name, estimate in (OURS | PEERS).items():
            if name in SLOW and pair.pool.size > MAX_SLOW_CELLS:
                cells.setdefault(name, []).append({"failed": "not run: too large for it"})
            else:
                cells.setdefault(name, []).append(measure(estimate, pair, pair.exact_fresh))
        for name, method in (("rsft, own items", "classifier"), ("rsft auto, own items", "auto")):
            cells.setdefault(name, []).append(measure(ours(method, own=True), pair, pair.exact_pool))
    means = {
        name: {key: float(np.mean([run[key] for run in runs])) for key in runs[0]}
        if all("error" in run for run in runs)
        else next(run for run in runs if "failed" in run)
        for name, runs in cells.items()
    }
    peers = {name: means[name]["error"] for name in PEERS if "error" in means[name]}
    return {
        "pair": pair.name,
        "seeds": seeds,
        "bounded": pair.bounded,
        "largest_exact": float(exact.max()),
        "no_ratio": float(((exact.mean() - exact) ** 2).sum() / (exact**2).sum()),
        "best_peer": min(peers, key=lambda name: peers[name]),
        "estimators": means,
    }


def show(result: dict[str, Any]) -> None:
    cells = result["estimators"]
    best = result["best_peer"]
    print(f"{result['pair']} ({result['seeds']} seeds, no ratio {result['no_ratio']:.3f})")
    for name, cell in cells.items():
        text = cell.get("failed") or f"{cell['error']:.4f}  {cell['seconds']:.2f} s  largest {cell['largest']:.2f}"
        print(f"   {name:22s} {text}{'  <- best peer' if name == best else ''}")
    if result["bounded"]:
        print(f"   largest exactly {result['largest_exact']:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="of the timing at n = 5,000, d = 128")
    arguments = parser.parse_args()
    makers = list(SYNTHETIC)
    if "RSFT_DATA" in os.environ:
        data = Path(os.environ["RSFT_DATA"])
        makers += [(lambda seed: cameras(data, seed), 1), (lambda seed: turned(data, seed), 1)]
    first = shifted(1000, 1000, 2, 0)
    OURS["rsft"](first.pool, first.target, first.fresh)  # the first call loads libraries
    speed = timing(shifted(5000, 5000, 128, 0), arguments.repeats)
    print("seconds at n = 5,000, d = 128:", {name: round(value, 3) for name, value in speed.items()}, flush=True)
    results = []
    for make, seeds in makers:
        results.append(compare(make, seeds))
        show(results[-1])
        RESULTS.write_text(json.dumps({"pairs": results, "speed": speed}, indent=1))


def timing(pair: Pair, repeats: int) -> dict[str, float]:
    """Medians, alternating."""
    fits = {"rsft": OURS["rsft"], "densratio": PEERS["densratio uLSIF"]}
    seconds: dict[str, list[float]] = {name: [] for name in fits}
    for _ in range(repeats):
        for name, estimate in fits.items():
            started = time.perf_counter()
            estimate(pair.pool, pair.target, pair.fresh)
            seconds[name].append(time.perf_counter() - started)
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    return medians | {"times_faster": medians["densratio"] / medians["rsft"], "repeats": repeats}


if __name__ == "__main__":
    main()
