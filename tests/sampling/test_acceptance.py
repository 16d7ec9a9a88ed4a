import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rsft import acceptance_probability
from rsft.sampling.acceptance import Stream, accept, random_words, uniforms

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
