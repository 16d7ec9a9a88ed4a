"""Groups of items that tell no more than one item does, such as the frames of a clip."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def effective_number(groups: np.ndarray) -> float:
    """Compute how many groups of equal size tell as much as these: (sum n)^2 / sum n^2 over their sizes n.

    A mean over the items has a variance of at most that of the mean over so many independent ones (L. Kish, 1965).

    Args:
        groups: (n,) integers, the group of each item.

    >>> effective_number(np.array([0, 1, 2])), effective_number(np.array([5, 5, 5, 7]))
    (3.0, 1.6)
    """
    sizes = np.unique(groups, return_counts=True)[1].astype(float)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def joined(*groupings: np.ndarray) -> np.ndarray:
    """Join the items that several groupings connect, directly or by way of others.

    Args:
        *groupings: (n,) integers each. Two items are connected if they have the same number in one of them.

    Returns:
        (n,) int64 groups, numbered from 0 in the order of their first items.

    >>> joined(np.array([0, 0, 1, 2]), np.array([4, 5, 5, 6]))
    array([0, 0, 0, 1])
    """
    items = np.arange(len(groupings[0]))
    firsts = [np.unique(groups, return_index=True, return_inverse=True)[1:] for groups in groupings]
    return linked(np.tile(items, len(groupings)), np.concatenate([first[index] for first, index in firsts]), len(items))


def linked(first: np.ndarray, second: np.ndarray, items: int) -> np.ndarray:
    """Join the items that links connect, directly or by way of others: (items,) int64 groups, in order.

    Args:
        first: (L,) one end of each link, in 0 to items - 1.
        second: (L,) the other end.
        items: Number of items.

    >>> linked(np.array([0, 2]), np.array([3, 1]), 4)
    array([0, 1, 1, 0])
    """
    graph = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(items, items))
    return in_order(connected_components(graph, directed=False)[1])


def in_order(groups: np.ndarray) -> np.ndarray:
    """Number groups (n,) from 0 in the order of their first items: (n,) int64.

    >>> in_order(np.array([7, 3, 7]))
    array([0, 1, 0])
    """
    _, first, index = np.unique(groups, return_index=True, return_inverse=True)
    place = np.empty(len(first), np.int64)
    place[np.argsort(first)] = np.arange(len(first))
    return place[index]
