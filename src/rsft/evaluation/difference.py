"""Judgement and wording of a difference from its confidence interval."""

from enum import StrEnum

from rsft.types import Interval


class Difference(StrEnum):
    """What the confidence interval of a difference shows."""

    BETTER = "better"
    WORSE = "worse"
    NONE = "none"
    UNKNOWN = "unknown"


def judge(difference: Interval) -> Difference:
    """Judge a difference by its 95 % interval: better or worse if the interval excludes zero, none if it contains zero.

    Args:
        difference: The difference, where positive means better. Without interval ends the result is `UNKNOWN`.

    >>> str(judge(Interval(0.02, 0.01, 0.03)))
    'better'
    """
    if difference.low is None or difference.high is None:
        return Difference.UNKNOWN
    if difference.low > 0:
        return Difference.BETTER
    return Difference.WORSE if difference.high < 0 else Difference.NONE


def in_words(difference: Interval, than: str) -> str:
    """Describe a difference in words, such as "better than pretrained: +0.020 [+0.010, +0.030]".

    Args:
        difference: The difference, where positive means better.
        than: Name of the system that is compared against.

    >>> in_words(Interval(-0.001, -0.01, 0.008), "uniform")
    'no significant difference to uniform: -0.001 [-0.010, +0.008]'
    """
    judged = judge(difference)
    if judged is Difference.UNKNOWN:
        return f"not comparable to {than}: {difference.note}"
    if judged is Difference.NONE:
        return f"no significant difference to {than}: {difference.signed()}"
    return f"{judged} than {than}: {difference.signed()}"
