"""Exceptions of rsft's own. Bad values raise `ValueError`, wrong kinds `TypeError`."""


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
    """The loss was not a number, several steps in a row."""
