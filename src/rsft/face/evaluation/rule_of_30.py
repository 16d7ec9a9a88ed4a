"""How many comparisons an error rate needs: the rule of 30 (G. Doddington et al., 2000)."""

# The expected number of errors from which a rate is reported, and from which it is reported without a note.
MIN_ERRORS = 3
SURE_ERRORS = 30
FEW_IMPOSTORS = "fewer impostor comparisons than 30 / FMR"
FEW_PROBES = "fewer non-mated probes than 30 / FPIR"


def is_supported(rate: float, comparisons: int) -> bool:
    """Return whether there are at least 3 / rate comparisons.

    >>> is_supported(0.01, 299), is_supported(0.01, 300)
    (False, True)
    """
    return comparisons >= MIN_ERRORS / rate


def note_for(rate: float, comparisons: int, few: str = FEW_IMPOSTORS) -> str | None:
    """Return the note `few` where there are fewer than 30 / rate comparisons, or None.

    >>> note_for(0.01, 300), note_for(0.01, 3000)
    ('fewer impostor comparisons than 30 / FMR', None)
    """
    return None if comparisons >= SURE_ERRORS / rate else few
