"""Errors of stores and web servers, as those of a disk, in words that hold no signature and no password."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rsft.errors import InputError, RsftError, how_to_install

EXTRAS = {**dict.fromkeys(("s3", "s3a", "gs", "gcs"), "remote"), "hf": "hub"}  # scheme -> the extra with its library
REFUSED = {
    401: (errno.EACCES, "its store refuses it (401): see that you are signed in"),
    403: (errno.EACCES, "its store refuses it (403): see that the credentials are valid and may read it"),
    404: (errno.ENOENT, "it does not exist"),
    410: (errno.ENOENT, "it does not exist any more"),
    416: (errno.EINVAL, "it ends before the part that is asked for"),
}
BUSY = (408, 425, 429)  # and all from 500 on
NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError", "DefaultCredentialsError")
TIMES_OUT = ("TimeoutError", "FSTimeoutError", "ReadTimeoutError", "ConnectTimeoutError", "ServerTimeoutError")
CUT = ("ClientPayloadError", "ServerDisconnectedError", "ConnectionClosedError", "IncompleteReadError", "ProtocolError")
SECRETS = (
    (re.compile(r"\?[^\s'\"<>)]*"), ""),  # queries of URLs
    (re.compile(r"//[^/@\s'\"]*@"), "//"),  # users and passwords
    (re.compile(r"(?i)\b((?:signature|credential|token|secret|password|accesskey)[a-z_-]*)\s*[=:]\s*\S+"), r"\1"),
)
MOST_LETTERS = 200


@contextmanager
def asking(path: Any) -> Iterator[None]:
    """Turn what fsspec and its libraries raise within the block into errors of a disk.

    The errors that they come from are left out, since their messages may hold the signature of a URL.

    Args:
        path: The remote path, whose text holds no secret.

    Raises:
        OSError: With a number that tells whether it may pass; its message is one line.
        InputError: A library is not installed.
    """
    try:
        yield
    except RsftError:
        raise
    except ImportError:
        raise InputError(f"'{path}' needs a library that is not installed: {_how_to_install(path)}.") from None
    except Exception as error:
        number, words = _told(error)
        raise OSError(number, words, str(path)) from None


def without_secrets(text: str) -> str:
    """Return a message in one line, without what signs a URL or names a password.

    >>> without_secrets("403, url='https://host/a.tar?X-Amz-Signature=1f'")
    "403, url='https://host/a.tar'"
    """
    for secret, left in SECRETS:
        text = secret.sub(left, text)
    return " ".join(text.split())[:MOST_LETTERS].rstrip(".")


def _how_to_install(path: Any) -> str:
    """Return how to install the library of the scheme of a path, in our words or in those of fsspec."""
    from fsspec.registry import known_implementations

    scheme = str(path).partition("://")[0]
    if scheme in EXTRAS:
        return how_to_install(EXTRAS[scheme])
    told: str = known_implementations.get(scheme, {}).get("err", "see the documentation of fsspec")
    return told.rstrip(".")


def _told(error: Exception) -> tuple[int, str]:
    """Return the number and the words of an error."""
    every = list(_causes(error))
    status = next((found for one in every if (found := _status(one)) is not None), None)
    if status in REFUSED:
        return REFUSED[status]
    if status is not None and (status in BUSY or status >= 500):
        return errno.EAGAIN, f"its store is busy or fails ({status})"
    names = {kind.__name__ for one in every for kind in type(one).__mro__}
    if names.intersection(NO_CREDENTIALS):
        return errno.EACCES, "no credentials were found for its store: sign in first"
    if names.intersection(TIMES_OUT):
        return errno.ETIMEDOUT, "its store does not answer in time"
    if names.intersection(CUT):
        return errno.ECONNRESET, "the connection to its store was cut"
    if any("Connect" in name for name in names):
        return errno.ECONNREFUSED, "its store cannot be reached"
    if isinstance(error, FileNotFoundError):
        return REFUSED[404]
    if isinstance(error, PermissionError):
        return REFUSED[403]
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno, without_secrets(error.strerror or str(error))
    return errno.EINVAL, without_secrets(f"{type(error).__name__}: {error}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _status(error: Any) -> int | None:
    """Return the status of HTTP that an error tells, if any."""
    answer = getattr(error, "response", None)
    if isinstance(answer, dict):  # of botocore
        answer = answer.get("ResponseMetadata", {})
        found = answer.get("HTTPStatusCode")
    else:
        found = getattr(error, "status", None) or getattr(answer, "status_code", None)
    return found if isinstance(found, int) else None
