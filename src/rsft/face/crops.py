"""Where a network expects a face in its chip, as five points in pixels.

These are left eye, right eye, nose, left and right mouth corner, as seen in the picture.
"""

Template = tuple[tuple[float, float], ...]

# dlib's own crop at 150 px, in YuNet's terms.
DLIB: Template = ((46.94, 48.54), (106.09, 48.88), (76.07, 80.32), (50.65, 105.74), (101.65, 106.37))
# insightface's at 112 px, which most networks of today were trained on.
ARCFACE: Template = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
# The template and the side in pixels that it is meant for.
TEMPLATES = {"dlib's template": (DLIB, 150), "insightface's template": (ARCFACE, 112)}


def scaled(template: Template, factor: float) -> Template:
    """The template of a chip that is so many times as large.

    >>> scaled(((1.0, 2.0),), 2)
    ((2.0, 4.0),)
    """
    return tuple((x * factor, y * factor) for x, y in template)
