import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rsft import acceptance_probability
from rsft.sampling.acceptance import GOLDEN, Stream, accept, accept_at, random_words, uniforms

LOG_RATIOS = st.lists(st.floats(-20, 20), min_size=1, max_size=50).map(lambda v: torch.tensor(v, dtype=torch.float64))


def philox4x64(counter: list[int], key: list[int]) -> list[int]:
    """A slow and simple Philox4x64-10 (Salmon et al., 2011), the reference for the random words."""
    mask = 2**64 - 1
    a, b, c, d = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = a * 0xD2E7470EE14C6C93, c * 0xCA5A826395121157
        a, b, c, d = (p1 >> 64) ^ b ^ k0, p1 & mask, (p0 >> 64) ^ d ^ k1, p0 & mask
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & mask, (k1 + 0xBB67AE8584CAA73B) & mask
    return [a, b, c, d]


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize("stream", Stream)
def test_words_are_those_of_philox_for_seed_epoch_and_index(stream: Stream, part: int) -> None:
    seed, epoch = 2**63 + 11, 5
    words = random_words(seed, epoch, 0, 10, stream, part=part)
    # NumPy increments the counter before it draws, so item i is word i % 4 of block i // 4 + 1
    expected = [philox4x64([i // 4 + 1, 0, part, stream], [seed, epoch])[i % 4] for i in range(10)]
    assert words.tolist() == expected


@pytest.mark.parametrize("bits", [16, 32])
def test_shorter_words_are_parts_of_64_bit_words_lowest_first(bits: int) -> None:
    whole = [int(word) for word in random_words(1, 2, 0, 100)]
    expected = [word >> shift & (2**bits - 1) for word in whole for shift in range(0, 64, bits)]
    assert random_words(1, 2, 37, 200, bits=bits).tolist() == expected[37:200]


def test_a_uniform_joins_16_bits_of_one_part_and_37_bits_of_the_other() -> None:
    top, low = random_words(3, 4, 0, 1000, bits=16), random_words(3, 4, 0, 1000, part=1)
    expected = [((int(t) << 37) + (int(w) >> 27)) / 2**53 for t, w in zip(top, low, strict=True)]
    assert uniforms(3, 4, 0, 1000).tolist() == expected


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**40), st.integers(0, 10**12))
def test_the_fast_decision_equals_the_comparison_with_the_uniform(seed: int, epoch: int, start: int) -> None:
    u = uniforms(seed, epoch, start, start + 300)
    assert not accept(u, seed=seed, epoch=epoch, start=start).any()
    assert accept(np.nextafter(u, 1), seed=seed, epoch=epoch, start=start).all()
    assert not accept(np.nextafter(u, 0), seed=seed, epoch=epoch, start=start).any()
    top = np.floor(u * 2**16) / 2**16  # decided by the top bits alone, or with one more bit
    for more in (0, 2.0**-17, 2.0**-16):
        assert (accept(top + more, seed=seed, epoch=epoch, start=start) == (u < top + more)).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_short_floats_are_compared_exactly(dtype: type) -> None:
    u = uniforms(0, 3, 0, 5001)
    near: np.ndarray = u.astype(dtype)  # the top bits rarely decide
    for p in (near, np.nextafter(near, dtype(1)), np.nextafter(near, dtype(0)), np.linspace(0, 1, 5001).astype(dtype)):
        assert (accept(p, seed=0, epoch=3) == (u < p.astype(np.float64))).all()


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**40), st.integers(0, 1000), st.integers(0, 100))
def test_a_word_does_not_depend_on_where_the_draw_starts(seed: int, epoch: int, start: int, n: int) -> None:
    whole = random_words(seed, epoch, 0, start + n)
    assert (random_words(seed, epoch, start, start + n) == whole[start:]).all()


def test_seeds_epochs_and_streams_give_different_numbers() -> None:
    draws = [uniforms(s, e, 0, 100, k).tobytes() for s in (0, 1) for e in (0, 1) for k in Stream]
    assert len(set(draws)) == len(draws)


def test_the_global_random_state_does_not_change() -> None:
    state, torch_state = str(np.random.get_state()), torch.get_rng_state()  # noqa: NPY002
    accept(np.full(1000, 0.5), seed=0)
    assert str(np.random.get_state()) == state  # noqa: NPY002
    assert bool((torch.get_rng_state() == torch_state).all())


@given(LOG_RATIOS, st.floats(-20, 20), st.floats(-5, 5))
def test_a_constant_added_to_ratio_and_envelope_changes_nothing(log_r: torch.Tensor, log_m: float, c: float) -> None:
    torch.testing.assert_close(acceptance_probability(log_r + c, log_m + c), acceptance_probability(log_r, log_m))


@given(LOG_RATIOS, st.floats(-20, 20), st.floats(0, 10), st.integers(0, 2**32))
def test_a_larger_envelope_accepts_a_subset(log_r: torch.Tensor, log_m: float, more: float, seed: int) -> None:
    some = accept(acceptance_probability(log_r, log_m + more).numpy(), seed=seed)
    assert not (some & ~accept(acceptance_probability(log_r, log_m).numpy(), seed=seed)).any()


@given(LOG_RATIOS, st.floats(-20, 20), st.randoms(use_true_random=False))
def test_acceptance_is_monotone_and_permutation_equivariant(log_r: torch.Tensor, log_m: float, random: object) -> None:
    p = acceptance_probability(log_r, log_m)
    order = torch.argsort(log_r)
    assert bool((p[order].diff() >= 0).all())
    assert torch.equal(acceptance_probability(log_r[order], log_m), p[order])


def test_probability_zero_is_never_and_one_is_always_accepted() -> None:
    p = acceptance_probability(torch.tensor([-math.inf, 3.0]), 3.0)
    assert p.tolist() == [0.0, 1.0]
    for epoch in range(1000):
        assert accept(p.numpy(), seed=0, epoch=epoch).tolist() == [False, True]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_ratio_that_is_not_finite_is_rejected(bad: float) -> None:
    with pytest.raises(ValueError, match="the first at row 1"):
        acceptance_probability(torch.tensor([0.0, bad]), 0.0)


def test_an_infinite_envelope_is_rejected() -> None:
    with pytest.raises(ValueError, match="log_m"):
        acceptance_probability(torch.zeros(2), math.inf)


def test_a_negative_seed_is_rejected() -> None:
    with pytest.raises(ValueError, match="seed"):
        accept(np.ones(2), seed=-1)


def test_the_streams_have_different_numbers_that_stay_the_same() -> None:
    """Aliases included: a stream shared by decision and order would tie the one to the other."""
    numbers = {name: int(stream) for name, stream in Stream.__members__.items()}
    assert numbers == {
        "ACCEPT": 0,
        "SHUFFLE": 1,
        "ONLINE": 2,
        "ROUND": 3,
        "ITEM": 4,
        "FLOOR": 5,
        "PERMUTE": 6,
        "VIEW": 7,
    }


@pytest.mark.parametrize("log_ratio", [torch.tensor(0.0), torch.zeros(2, 2), torch.zeros(2, dtype=torch.int64)])
def test_a_log_ratio_of_another_shape_or_of_integers_is_rejected(log_ratio: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"acceptance_probability\(log_ratio=\.\.\.\)` needs a floating \(N,\)"):
        acceptance_probability(log_ratio, 0.0)


def test_the_first_of_several_wrong_ratios_is_named() -> None:
    with pytest.raises(ValueError, match=r"has 2 values that are NaN or \+inf, the first at row 1"):
        acceptance_probability(torch.tensor([0.0, math.inf, 0.0, math.nan]), 0.0)


def test_a_decision_without_epoch_and_start_is_that_of_epoch_zero_from_the_first_item_on() -> None:
    p = np.full(200, 0.5)
    assert (accept(p, seed=3) == (uniforms(3, 0, 0, 200) < 0.5)).all()


@pytest.mark.parametrize("stream", Stream)
def test_both_parts_of_a_uniform_come_from_its_stream(stream: Stream) -> None:
    top = random_words(5, 6, 10, 400, stream, bits=16)
    low = random_words(5, 6, 10, 400, stream, part=1)
    expected = [((int(t) << 37) + (int(w) >> 27)) / 2**53 for t, w in zip(top, low, strict=True)]
    assert uniforms(5, 6, 10, 400, stream).tolist() == expected


@pytest.mark.parametrize("name", ["seed", "epoch", "start"])
@pytest.mark.parametrize("value", [-1, 2**64])
def test_a_number_outside_of_64_bits_is_rejected_by_name(name: str, value: int) -> None:
    seed, epoch, start = (value if name == each else 0 for each in ("seed", "epoch", "start"))
    with pytest.raises(ValueError, match=f"`{name}` needs an integer"):
        random_words(seed, epoch, start, start + 1)


def test_the_largest_seed_epoch_and_index_are_valid() -> None:
    last = 2**64 - 1
    assert len(random_words(last, last, last, last + 1)) == 1


# Scattered items, and balanced epochs


def number(seed: int, epoch: int, item: int, *, balanced: bool) -> int:
    """The number u of an item in units of 2^-53, with Python's integers."""
    key = [seed, 0 if balanced else epoch]
    top = philox4x64([item // 16 + 1, 0, 0, 0], key)[item // 4 % 4] >> 16 * (item % 4) & 0xFFFF
    low = philox4x64([item // 4 + 1, 0, 1, 0], key)[item % 4] >> 27
    return ((top << 37) + low + balanced * epoch * GOLDEN) % 2**53


def near(numbers: list[int], dtype: type) -> list[np.ndarray]:
    """Probabilities at which the decision on each number is decided late, or by its upper bits alone, or always."""
    u: np.ndarray = (np.array(numbers, np.float64) / 2**53).astype(dtype)
    top = (np.array(numbers) >> 37) / 2**16
    random = np.random.default_rng(len(numbers)).random(len(u))
    fixed = [np.full(len(u), p) for p in (0, 1, 2.0**-53, 1 - 2.0**-53, 2.0**-16, 1 - 2.0**-16, 0.5)]
    ends = [np.nextafter(u, dtype(1)), np.nextafter(u, dtype(0)), top, top + 2.0**-16, np.minimum(top + 2.0**-15, 1)]
    return [p.astype(dtype) for p in (u, random, *ends, *fixed)]


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@given(st.integers(0, 2**64 - 1), st.integers(0, 40) | st.integers(0, 2**64 - 1), st.integers(0, 2**62))
def test_every_decision_is_that_of_exact_arithmetic(
    dtype: type, balanced: bool, seed: int, epoch: int, start: int
) -> None:
    items = np.arange(start, start + 20)
    numbers = [number(seed, epoch, item, balanced=balanced) for item in items.tolist()]
    for p in near(numbers, dtype):
        exact = [u < Fraction(float(each)) * 2**53 for u, each in zip(numbers, p, strict=True)]
        assert accept(p, seed=seed, epoch=epoch, start=start, balanced=balanced).tolist() == exact
        scattered = accept_at(p[::-3], items[::-3], seed=seed, epoch=epoch, balanced=balanced)
        assert scattered.tolist() == exact[::-3]


def test_a_balanced_number_that_passes_one_starts_again_at_zero() -> None:
    """Also where only the lower bits carry it over, which is one item in 131,072."""
    items, found = 2**19, 0
    start = (uniforms(1, 0, 0, items) * 2**53).astype(np.uint64)
    for epoch in (1, 2, 5, 100):
        step = epoch * GOLDEN % 2**53
        top = ((start >> np.uint64(37)) + np.uint64(step >> 37)) % np.uint64(2**16)
        carried = (start % np.uint64(2**37) + np.uint64(step % 2**37)) >= np.uint64(2**37)
        corner = np.flatnonzero((top == 2**16 - 1) & carried)
        found += len(corner)
        for p, accepted in ((2.0**-15, True), (0.0, False), (1.0, True)):
            assert (accept(np.full(items, p), seed=1, epoch=epoch, balanced=True)[corner] == accepted).all()
            assert (accept_at(np.full(len(corner), p), corner, seed=1, epoch=epoch, balanced=True) == accepted).all()
    assert found > 4


def test_large_blocks_of_scattered_and_of_joined_items_agree() -> None:
    p = np.random.default_rng(0).random(200_000).astype(np.float32)
    items = np.random.default_rng(1).permutation(200_000)
    for balanced in (False, True):
        for epoch in (0, 1, 3, 10**6):
            whole = accept(p, seed=9, epoch=epoch, balanced=balanced)
            assert (accept_at(p[items], items, seed=9, epoch=epoch, balanced=balanced) == whole[items]).all()


def test_epoch_zero_is_the_same_when_balanced_and_the_next_ones_are_not() -> None:
    p = np.full(1000, 0.5)
    same = [(accept(p, seed=2, epoch=e, balanced=True) == accept(p, seed=2, epoch=e)).all() for e in range(3)]
    assert same == [True, False, False]


def test_the_step_of_balanced_epochs_is_the_golden_ratio() -> None:
    assert abs((2 * GOLDEN + 2**53) ** 2 - 5 * 2**106) < 2**57  # the root of five, to the last place of a float64


MOST_OFF = 3.1  # of E times the discrepancy of the golden ratio's multiples, for any interval and any E up to 200
Draw = Callable[[int], np.ndarray]  # epoch -> numbers u of all items


def assert_even(draw: Draw, items: int = 3000, epochs: int = 200) -> None:
    """Assert that items of any probability are accepted P * E times in E epochs, to within `MOST_OFF`."""
    p = np.linspace(0, 1, items)
    counts = np.zeros(items)
    for epoch in range(epochs):
        counts += draw(epoch) < p
        off = np.abs(counts - (epoch + 1) * p).max()
        assert off < MOST_OFF, f"{off} after {epoch + 1} epochs"


def balanced_numbers(epoch: int, items: int = 3000) -> np.ndarray:
    return (uniforms(0, 0, 0, items) + epoch * GOLDEN / 2**53) % 1


UNEVEN: dict[str, Draw] = {
    "independent": lambda epoch: uniforms(0, epoch, 0, 3000),
    "one number for all epochs": lambda epoch: uniforms(0, 0, 0, 3000),
    "every other epoch": lambda epoch: (uniforms(0, 0, 0, 3000) + epoch / 2) % 1,
    "ten values": lambda epoch: (uniforms(0, 0, 0, 3000) + epoch / 10) % 1,
    "not started again": lambda epoch: uniforms(0, 0, 0, 3000) + epoch * GOLDEN / 2**53,
    "a nearly whole step": lambda epoch: (uniforms(0, 0, 0, 3000) + epoch * 0.99) % 1,
}


def test_an_item_is_accepted_as_often_as_its_probability_says() -> None:
    p = np.linspace(0, 1, 3000)
    masks = [accept(p, seed=0, epoch=epoch, balanced=True) for epoch in range(200)]
    assert all((mask == (balanced_numbers(epoch) < p)).all() for epoch, mask in enumerate(masks))
    assert_even(balanced_numbers)


@pytest.mark.parametrize("name", UNEVEN)
def test_other_numbers_are_not_even(name: str) -> None:
    with pytest.raises(AssertionError):
        assert_even(UNEVEN[name])


def assert_unrelated(accepted: np.ndarray, probability: float) -> None:
    """Assert that decisions (epochs, items) on items at several distances are independent within an epoch."""
    expected = probability**2
    for mask in accepted:
        for distance in (1, 2, 4, 16, 64, 2**15, 2**16):
            both = mask[:-distance] & mask[distance:]
            # Neighbouring pairs share an item: with 1 <= c <= 2 for the covariances, the variance is c n p^2 (1 - p^2).
            error = math.sqrt(3 * expected * (1 - expected) / len(both))
            assert abs(both.mean() - expected) < 5 * error, distance


@pytest.mark.parametrize("epoch", [0, 1, 2, 50])
def test_two_items_are_independent_within_a_balanced_epoch(epoch: int) -> None:
    p = 0.3
    assert_unrelated(accept(np.full(400_000, p), seed=4, epoch=epoch, balanced=True)[None], p)
    steps = (0.37 + np.arange(400_000) * GOLDEN / 2**53) % 1  # one sequence over items, in place of one for each
    with pytest.raises(AssertionError):
        assert_unrelated((steps < p)[None], p)
    with pytest.raises(AssertionError):
        assert_unrelated((np.repeat(uniforms(4, epoch, 0, 200_000), 2) < p)[None], p)


def test_a_negative_item_or_seed_is_rejected() -> None:
    with pytest.raises(ValueError, match="`start` needs an integer"):
        accept_at(np.ones(2), np.array([0, -1]), seed=0)
    with pytest.raises(ValueError, match="`seed` needs an integer"):
        accept_at(np.ones(1), np.array([0]), seed=2**64)
    assert accept_at(np.empty(0), np.empty(0, np.int64), seed=0).shape == (0,)
