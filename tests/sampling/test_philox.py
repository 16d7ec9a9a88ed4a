"""The generator at scattered counters against NumPy's own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsft.sampling import philox as module
from rsft.sampling.acceptance import Stream, random_words, random_words_at
from rsft.sampling.philox import philox

WORDS = st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2**32 - 1, 2**32, 2**63, 2**64 - 1])
BLOCKS = st.integers(0, 2**64 - 2) | st.sampled_from([0, 2**32 - 2, 2**32 - 1, 2**32, 2**63, 2**64 - 2])
ITEMS = st.integers(0, 2**63 - 1) | st.sampled_from([0, 15, 16, 2**32, 2**63 - 1])
CASES = [(0, 0, 0, 0, 0), (2**64 - 1, 2**64 - 1, 2**64 - 2, 2**64 - 1, 2**64 - 1), (2**63, 1, 2**32 - 1, 1, 7)]


def numpys(seed: int, epoch: int, block: int, part: int, stream: int) -> list[int]:
    key, counter = np.array([seed, epoch], np.uint64), np.array([block, 0, part, stream], np.uint64)
    return np.random.Philox(key=key, counter=counter).random_raw(4).tolist()


def ours(seed: int, epoch: int, block: int, part: int, stream: int) -> list[int]:
    (words,) = philox(seed, epoch, np.array([block], np.uint64), part, stream).tolist()
    return words


@given(WORDS, WORDS, BLOCKS, WORDS, WORDS)
def test_the_words_are_numpys_at_any_counter_and_key(seed: int, epoch: int, block: int, part: int, stream: int) -> None:
    assert ours(seed, epoch, block, part, stream) == numpys(seed, epoch, block, part, stream)


@pytest.mark.parametrize("case", CASES)
def test_the_words_are_numpys_at_the_ends(case: tuple[int, int, int, int, int]) -> None:
    assert ours(*case) == numpys(*case)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("ROUNDS", 9),
        ("ROUNDS", 11),
        ("MULTIPLIERS", module.MULTIPLIERS[::-1]),
        ("WEYL", module.WEYL[::-1]),
        ("WEYL", (0, 0)),
        ("LOW_HALF", np.uint64(0x7FFFFFFF)),
    ],
)
def test_another_generator_is_told_apart(name: str, wrong: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, name, wrong)
    for case in CASES:
        assert ours(*case) != numpys(*case)


def test_blocks_do_not_depend_on_each_other_and_their_array_does_not_change() -> None:
    blocks = np.array([5, 2**40, 5, 0], np.uint64)
    words = philox(3, 4, blocks, 1, 2)
    assert blocks.tolist() == [5, 2**40, 5, 0]
    assert [row.tolist() for row in words] == [numpys(3, 4, block, 1, 2) for block in blocks.tolist()]
    assert philox(3, 4, blocks[:0], 1, 2).shape == (0, 4)


@given(WORDS, WORDS, st.lists(ITEMS, max_size=20), st.sampled_from(Stream), st.sampled_from([64, 32, 16]), WORDS)
def test_scattered_words_are_those_of_a_run(
    seed: int, epoch: int, items: list[int], stream: Stream, bits: int, part: int
) -> None:
    scattered = random_words_at(seed, epoch, np.array(items, np.int64), stream, bits=bits, part=part)
    alone = [int(random_words(seed, epoch, i, i + 1, stream, bits=bits, part=part)[0]) for i in items]
    assert scattered.tolist() == alone


def test_a_negative_item_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"`start` needs an integer in \[0, 2\^64\), got -3"):
        random_words_at(0, 0, np.array([5, -3]))
