"""Templates: the five points, in pixels of the chip, where a network expects a face.

The points are the left eye, right eye, nose, left mouth corner and right mouth corner, as seen in the picture.
"""

import numpy as np

Template = tuple[tuple[float, float], ...]

# dlib's own crop at 150 px, as the points that YuNet detects in it.
DLIB: Template = ((46.94, 48.54), (106.09, 48.88), (76.07, 80.32), (50.65, 105.74), (101.65, 106.37))
# insightface's crop at 112 px, on which most current networks were trained.
ARCFACE: Template = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
# Name -> template and the side in pixels of its chip.
TEMPLATES = {"dlib's template": (DLIB, 150), "insightface's template": (ARCFACE, 112)}


def scaled(template: Template, factor: float) -> Template:
    """Scale a template to a larger or smaller chip.

    Args:
        template: Points (x, y) in pixels.
        factor: Side of the new chip divided by the side of the old one.

    Returns:
        The points in pixels of the new chip.

    >>> scaled(((1.0, 2.0),), 2)
    ((2.0, 4.0),)
    """
    return tuple((x * factor, y * factor) for x, y in template)


def similarity_transform(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Find the rotation, uniform scale and shift that map points onto other points with the least squared error.

    Source: S. Umeyama, "Least-squares estimation of transformation parameters between two point patterns", 1991,
    eq. 40-42.

    Args:
        source: (n, 2) points.
        target: (n, 2) points.

    Returns:
        (2, 3) matrix of the transform, linear part first and shift in the last column.

    >>> square = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    >>> similarity_transform(square, 3 * square + 5).round(6) + 0
    array([[3., 0., 5.],
           [0., 3., 5.]])
    """
    source, target = np.asarray(source, float), np.asarray(target, float)
    source_mean, target_mean = source.mean(0), target.mean(0)
    a, b = source - source_mean, target - target_mean
    u, singular, vt = np.linalg.svd(b.T @ a)
    sign = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = (u * sign) @ vt
    matrix = rotation * (singular * sign).sum() / (a**2).sum()
    return np.column_stack([matrix, target_mean - matrix @ source_mean])
