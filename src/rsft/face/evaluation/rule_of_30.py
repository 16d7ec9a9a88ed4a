"""Number of comparisons that an error rate needs: the rule of 30 (G. Doddington et al., 2000)."""

# Expected number of errors that a rate needs to be reported, and to be reported without a note.
MIN_ERRORS = 3
SURE_ERRORS = 30
FEW_IMPOSTORS = "fewer impostor comparisons than 30 / FMR"
FEW_PROBES = "fewer non-mated probes than 30 / FPIR"


def is_supported(rate: float, comparisons: int) -> bool:
    """Return whether there are at least 3 / rate comparisons, enough to report the rate.

    >>> is_supported(0.01, 299), is_supported(0.01, 300)
    (False, True)
    """
    return comparisons >= MIN_ERRORS / rate


def note_for(rate: float, comparisons: int, few: str = FEW_IMPOSTORS) -> str | None:
    """Return the note `few` if there are fewer than 30 / rate comparisons, otherwise None.

    >>> note_for(0.01, 300), note_for(0.01, 3000)
    ('fewer impostor comparisons than 30 / FMR', None)
    """
    return None if comparisons >= SURE_ERRORS / rate else few
