"""Detection of wrong labels: items that look more like another identity than like the rest of their own."""

import numpy as np


def label_margin(embeddings: np.ndarray, people: np.ndarray) -> np.ndarray:
    """Compare the similarity of each item to its own identity with that to the most similar other identity.

    The margin is the cosine between the item and the mean of the other items of its identity, minus the largest cosine
    between the item and the mean of another identity. Means are taken over normalised embeddings.

    Args:
        embeddings: (N, D) embeddings.
        people: (N,) int identity of each item, in 0 ... C - 1.

    Returns:
        (N,) margins in [-2, 2], or infinity for an item that is alone in its identity. A label with a margin below 0 is
        doubtful.

    >>> embeddings = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0], [0.0, 1.0]])
    >>> (label_margin(embeddings, np.array([0, 0, 0, 1, 1])) < 0).tolist()
    [False, False, True, False, False]
    """
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    sums = np.zeros((int(people.max()) + 1, unit.shape[1]))
    np.add.at(sums, people, unit)
    own = sums[people] - unit
    means = sums / np.linalg.norm(sums, axis=1, keepdims=True).clip(min=np.finfo(float).tiny)
    others = unit @ means.T
    others[np.arange(len(unit)), people] = -np.inf
    lengths = np.linalg.norm(own, axis=1)
    alone = np.bincount(people)[people] == 1
    cosine = np.einsum("nd,nd->n", unit, own) / np.where(alone, 1.0, lengths)
    return np.where(alone, np.inf, cosine - others.max(1))


def trusted_labels(embeddings: np.ndarray, people: np.ndarray, least: float | None) -> np.ndarray:
    """Return a mask (N,) bool of the items whose label is trusted.

    Args:
        embeddings: (N, D) embeddings.
        people: (N,) int identity of each item, in 0 ... C - 1.
        least: Smallest `label_margin` of a trusted item. If None, every item is trusted.
    """
    return np.ones(len(people), bool) if least is None else label_margin(embeddings, people) >= least
