"""Groups of items that tell no more than one item does, such as the frames of a clip."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def effective_number(groups: np.ndarray) -> float:
    """Compute how many groups of equal size tell as much as these: (sum n)^2 / sum n^2 over their sizes n.

    A mean over the items has a variance of at most that of the mean over so many independent ones (L. Kish, 1965).

    Args:
        groups: (n,) integers >= 0, the group of each item.

    >>> effective_number(np.array([0, 1, 2])), effective_number(np.array([5, 5, 5, 7]))
    (3.0, 1.6)
    """
    sizes = np.bincount(groups).astype(float)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def joined(*groupings: np.ndarray) -> np.ndarray:
    """Join the items that several groupings connect, directly or by way of others.

    Args:
        *groupings: (n,) integers >= 0 each. Two items are connected if they have the same number in one of them.

    Returns:
        (n,) int64 groups, numbered from 0 in the order of their first items.

    >>> joined(np.array([0, 0, 1, 2]), np.array([4, 5, 5, 6]))
    array([0, 0, 0, 1])
    """
    items = len(groupings[0])
    nodes, edges, start = items, [], items
    for groups in groupings:
        edges.append(start + np.unique(groups, return_inverse=True)[1])
        nodes = start = int(edges[-1].max(initial=start - 1)) + 1
    ends = np.concatenate(edges)
    rows = np.tile(np.arange(items), len(groupings))
    graph = coo_array((np.ones(len(rows), np.int8), (rows, ends)), shape=(nodes, nodes))
    return in_order(connected_components(graph, directed=False)[1][:items])


def in_order(groups: np.ndarray) -> np.ndarray:
    """Number groups (n,) from 0 in the order of their first items: (n,) int64.

    >>> in_order(np.array([7, 3, 7]))
    array([0, 1, 0])
    """
    _, first, index = np.unique(groups, return_index=True, return_inverse=True)
    place = np.empty(len(first), np.int64)
    place[np.argsort(first)] = np.arange(len(first))
    return place[index]
