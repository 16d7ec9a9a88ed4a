"""A guard against wrong labels: does an item look more like another identity than like the rest of its own?"""

import numpy as np


def label_margin(embeddings: np.ndarray, people: np.ndarray) -> np.ndarray:
    """Cosine of each item to the mean of the others of its identity, less its largest to the mean of another identity.

    Means are of normalised embeddings. An item alone in its identity has nothing to be compared with: infinity.

    Args:
        embeddings: (N, D).
        people: (N,) int identity of each item, in 0 ... C - 1.

    Returns:
        (N,), in [-2, 2] or infinity; below 0 the label is doubtful.

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
    """(N,) bool: whose `label_margin` is `least` or more; all where `least` is None."""
    return np.ones(len(people), bool) if least is None else label_margin(embeddings, people) >= least
