"""Names that would turn the direction of the text after them."""

import re
from typing import Any

ISOLATE, ISOLATE_END = "\u2068", "\u2069"
# what sets a direction, and the isolates among it: Unicode Standard Annex 9
TURNS, ISOLATES = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"), re.compile("[\u2066-\u2069]")


def isolated(value: Any) -> Any:
    """Return JSON values in which no text changes the direction of the text after it.

    Names of people and folders come from anybody, and a sentence goes on after them. A text with characters that set a
    direction (Unicode Annex 9) is put between a first strong isolate and its end.
    """
    if isinstance(value, dict):
        return {isolated(key): isolated(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [isolated(inner) for inner in value]
    if isinstance(value, str) and TURNS.search(value):
        return f"{ISOLATE}{ISOLATES.sub('', value)}{ISOLATE_END}"
    return value


def closed(text: str) -> str:
    """Return a text that was cut off with an end for the isolate that it may have begun.

    >>> closed("\u2068ab"), closed("ab")
    ('\u2068ab\u2069', 'ab')
    """
    return text + ISOLATE_END * (text.count(ISOLATE) > text.count(ISOLATE_END))
