"""How much a command tells on the error stream, as `--quiet` and `--verbose` ask."""

import logging

LOGGER = logging.getLogger("rsft")


def tell(*, quiet: bool, verbose: bool) -> None:
    """Set how much the library's logger tells."""
    if quiet or verbose:
        LOGGER.setLevel(logging.WARNING if quiet else logging.DEBUG)


def is_quiet() -> bool:
    """Return whether only warnings are to be shown."""
    return LOGGER.level >= logging.WARNING


def is_verbose() -> bool:
    """Return whether more than usual is to be shown."""
    return logging.NOTSET < LOGGER.level <= logging.DEBUG
