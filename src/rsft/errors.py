"""Exceptions of rsft's own. Bad values raise `ValueError`, wrong kinds `TypeError`."""

from collections.abc import Sequence
from typing import Any


class RsftError(Exception):
    """Base of all; its message is one line that says what to do."""


class InputError(RsftError, ValueError):
    """Something the user gave cannot be used as it is."""


class UnreadableImageError(RsftError):
    """A file is not a picture that can be decoded."""


class NoFaceError(RsftError):
    """No face was found in a picture."""


class LowAcceptanceError(RsftError):
    """So little is accepted that there is nothing to train on."""


class DivergedError(RsftError):
    """The loss was not a number, several steps in a row.

    Attributes:
        items: of the batches of these steps, where the batches carry them.
    """

    def __init__(self, message: str, items: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.items = list(items)


class InterruptedTrainingError(RsftError):
    """Training was told to stop before its end, and can be resumed."""


class WithdrawnDataWarning(UserWarning):
    """Pictures seem to be of a data set that its makers have withdrawn."""
