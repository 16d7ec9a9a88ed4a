import math

import numpy as np
import pytest

from rsft.sampling.quantise import quantise

SEEDS = 4000


def value(quantised: np.ndarray) -> np.ndarray:
    return quantised / 255 if quantised.dtype == np.uint8 else quantised.astype(np.float64)


@pytest.mark.parametrize("p", [0.0, 1e-9, 3e-5, 0.0011, 0.3, 0.9999, 1.0])
@pytest.mark.parametrize(("dtype", "absolute", "relative"), [("uint8", 1 / 255, 0.0), ("float16", 2.0**-24, 2.0**-10)])
def test_rounding_is_unbiased_and_within_its_bound(dtype: str, absolute: float, relative: float, p: float) -> None:
    rounded = value(np.concatenate([quantise(np.full(10, p), dtype, seed=seed) for seed in range(SEEDS)]))
    bound = max(absolute, relative * p)
    assert np.abs(rounded - p).max() < bound
    assert len(np.unique(rounded)) <= 2
    # a two-point distribution on neighbours has variance f (1 - f) step^2, where f is the position between them
    low, high = rounded.min(), rounded.max()
    sd = math.sqrt(max((p - low) * (high - p), 0)) / math.sqrt(len(rounded))
    if low < high:
        assert abs(rounded.mean() - p) < 5 * sd
    else:  # one value in 40,000 draws: p is within 20 / 40,000 of a step of it
        assert abs(low - p) <= 20 / len(rounded) * bound


def test_rounding_to_nearest_fails_the_same_check() -> None:
    p = 0.0011
    assert abs(value(np.round(np.full(10, p) * 255).astype(np.uint8)).mean() - p) > 20 / (10 * SEEDS) / 255


@pytest.mark.parametrize("dtype", ["uint8", "float16"])
def test_rounding_by_blocks_equals_rounding_the_whole_pool(dtype: str) -> None:
    p = np.random.default_rng(0).random(1000)
    parts = [quantise(p[s : s + 300], dtype, seed=5, start=s) for s in range(0, 1000, 300)]
    assert np.array_equal(np.concatenate(parts), quantise(p, dtype, seed=5))
    assert not np.array_equal(quantise(p, dtype, seed=6), quantise(p, dtype, seed=5))


def test_bad_probabilities_and_dtypes_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"the first at row 7: 1\.5"):
        quantise(np.array([0.5, 1.5]), "uint8", seed=0, start=6)
    with pytest.raises(ValueError, match="'int8'"):
        quantise(np.array([0.5]), "int8", seed=0)
