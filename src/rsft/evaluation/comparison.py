"""A difference with its interval, in words."""

from enum import StrEnum

from rsft.types import Interval


class Difference(StrEnum):
    """What an interval of a difference says."""

    BETTER = "better"
    WORSE = "worse"
    NONE = "none"
    UNKNOWN = "unknown"


def judge(difference: Interval) -> Difference:
    """Better or worse where the 95 % interval lies on one side of zero.

    >>> str(judge(Interval(0.02, 0.01, 0.03)))
    'better'
    """
    if difference.low is None or difference.high is None:
        return Difference.UNKNOWN
    if difference.low > 0:
        return Difference.BETTER
    return Difference.WORSE if difference.high < 0 else Difference.NONE


def in_words(difference: Interval, than: str) -> str:
    """Such as "better than pretrained by 0.020 [0.010, 0.030]".

    >>> in_words(Interval(-0.001, -0.01, 0.008), "uniform")
    'no significant difference to uniform: -0.001 [-0.010, +0.008]'
    """
    judged = judge(difference)
    if judged is Difference.UNKNOWN:
        return f"not comparable to {than}: {difference.note}"
    if judged is Difference.NONE:
        return f"no significant difference to {than}: {difference.signed()}"
    return f"{judged} than {than}: {difference.signed()}"
