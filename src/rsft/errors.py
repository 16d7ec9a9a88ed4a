"""Exceptions and warnings of rsft, and parts of their messages.

Invalid argument values raise `ValueError`, invalid types `TypeError`.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any


class RsftError(Exception):
    r"""Base class of the exceptions of rsft. Each message is one line that states what to do.

    Names that come from files may hold anything: what cannot be printed, such as the end of a line or the codes of a
    terminal, is shown by its escape.

    >>> print(InputError("no picture 'a\nb'"))
    no picture 'a\nb'
    """

    def __str__(self) -> str:
        return "".join(
            sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in super().__str__()
        )


class InputError(RsftError, ValueError):
    """Input that the user provided, such as a file, folder or setting, cannot be used."""


class DiskFullError(RsftError):
    """There is no room on the disk for what is to be written."""


class DiskGoneError(RsftError):
    """The disk that holds the pictures does not answer any more."""


class UnreadableImageError(RsftError):
    """A file cannot be decoded as a picture."""


class NoFaceError(RsftError):
    """No face was found in a picture."""


class LowAcceptanceError(RsftError):
    """Too few items are accepted to continue."""


class DivergedError(RsftError):
    """The loss or its gradient was NaN or infinite in several consecutive steps.

    Attributes:
        items: The items of the batches of these steps, if the batches state them; otherwise empty.
    """

    def __init__(self, message: str, items: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.items = list(items)


class InterruptedTrainingError(RsftError):
    """Training was asked to stop before its end. It can be resumed."""


class InputWarning(UserWarning):
    """Input can be used, but perhaps not as it is meant."""


class WithdrawnDataWarning(InputWarning):
    """Pictures appear to belong to a data set that its authors have withdrawn."""


def did_you_mean(word: str, choices: Iterable[str], most: int = 1) -> str:
    """Return a question that offers the valid words nearest to a wrong one, or nothing if none is near.

    >>> f"no option '--poll'{did_you_mean('--poll', ['--pool', '--seed'])}."
    "no option '--poll' (did you mean '--pool'?)."
    >>> did_you_mean("nonesuch", ["--pool"])
    ''
    """
    plain = {choice.casefold(): choice for choice in choices}
    near = [plain[found] for found in get_close_matches(word.casefold(), plain, most)]
    return f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""


def install_command(extra: str) -> str:
    """Return the command that installs an extra. It works in a checkout, since there is no release on an index yet.

    >>> install_command("onnx")
    "pip install '.[onnx]'"
    """
    return f"pip install '.[{extra}]'"


def how_to_install(extra: str) -> str:
    """Return `install_command` with the place where it works, for a message.

    >>> how_to_install("onnx")
    "pip install '.[onnx]' in your checkout of rsft"
    """
    return f"{install_command(extra)} in your checkout of rsft"
