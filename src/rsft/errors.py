"""Exceptions of rsft's own. Bad values raise `ValueError`, wrong kinds `TypeError`."""


class RsftError(Exception):
    """Base of all; its message is one line that says what to do."""


class NoFaceError(RsftError):
    """No face was found in a picture."""
