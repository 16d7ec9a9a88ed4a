"""Wrong labels are found, and right ones are trusted."""

import numpy as np
import pytest

from rsft.face.adaptation.label_noise import label_margin


def slow(embeddings: np.ndarray, people: np.ndarray) -> list[float]:
    """Compute the margins (N,) one item at a time."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    margins = []
    for row, person in enumerate(people):
        means = {other: unit[people == other].mean(0) for other in np.unique(people)}
        own = unit[(people == person) & (np.arange(len(people)) != row)]
        if not len(own):
            margins.append(np.inf)
            continue
        means[person] = own.mean(0)
        cosine = {other: unit[row] @ mean / np.linalg.norm(mean) for other, mean in means.items()}
        margins.append(cosine.pop(person) - max(cosine.values()))
    return margins


def test_the_margin_equals_a_slow_loop() -> None:
    generator = np.random.default_rng(0)
    people = np.array([0, 0, 0, 1, 1, 2, 3, 3, 3, 3])
    embeddings = generator.normal(size=(10, 6))
    np.testing.assert_allclose(label_margin(embeddings, people), slow(embeddings, people))


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_flipped_labels_are_found(share: float) -> None:
    """Identities are close in 32 dimensions. A wrong item would hide if it counted in the mean of its own identity."""
    generator = np.random.default_rng(1)
    true = np.arange(40).repeat(8)
    embeddings = generator.normal(size=(40, 32))[true] + 0.6 * generator.normal(size=(320, 32))
    flipped = generator.random(320) < share
    people = np.where(flipped, (true + generator.integers(1, 40, 320)) % 40, true)
    doubtful = label_margin(embeddings, people) < 0
    assert doubtful[flipped].mean() > 0.95
    assert doubtful[~flipped].mean() < 0.05
