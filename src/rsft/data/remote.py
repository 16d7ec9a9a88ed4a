"""Files in buckets and on web servers, by paths such as `s3://bucket/pool.csv`; fsspec reads them.

A remote path is a `Path`, so readers need not know it from a file on a disk: names and suffixes are those of its URL,
and `open_regular` opens it. What a URL holds that nobody else may know, such as the signature of a signed one, is kept
apart from the path and never shown.
"""

import errno
import hashlib
import io
import os
import re
import stat
from collections.abc import Generator, Mapping
from pathlib import Path, PosixPath
from typing import Any, BinaryIO

from rsft.data.remote_errors import asking
from rsft.data.retrying import retried
from rsft.errors import InputError
from rsft.types import PathLike

# The slashes become one when a program takes the text for a path.
URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+):/{1,3}([^/].*)", re.DOTALL)
SECRET = re.compile(r"\?.*=.*$", re.DOTALL)  # the query of a signed URL
PASSWORD = re.compile(r"^[^/]*:[^/]*@")  # a user and a password before a host
TOKEN = re.compile(r"^[^/]*@")  # what stands there on the web is no name of a bucket
SIGNING = re.compile(r"[?&]([^=&]*(signature|token|expires)[^=&]*|sig)=", re.IGNORECASE)
CHAIN = re.compile(r"::[a-zA-Z][a-zA-Z0-9+.-]*:/")  # of URLs, as in zip://pool.csv::s3://bucket/pool.zip
WINDOW = 1 << 20  # bytes that are asked for at a time where a file is read through
MOST_BYTES = 1 << 28  # of a file that is read at once
WEB = ("http", "https")
# What a store tells of a version of a file, the best first, in lower case.
VERSIONS = ("etag", "blob_id", "lastmodified", "last_modified", "updated", "mtime", "created")
TIMES = VERSIONS[2:]
_queries: dict[str, str] = {}  # a URL as it is shown -> its query
_logins: dict[str, str] = {}  # scheme and host -> user and password


def to_path(path: PathLike) -> Path:
    """Return a path on a disk as a `Path`, and a URL of a scheme that fsspec knows as a `RemotePath`.

    >>> to_path("faces/pool.csv"), to_path("s3://bucket/pool.csv").suffix, str(to_path(Path("s3://bucket/pool.csv")))
    (PosixPath('faces/pool.csv'), '.csv', 's3://bucket/pool.csv')
    >>> str(to_path("https://host/pool.csv?X-Amz-Signature=1"))
    'https://host/pool.csv'
    """
    if isinstance(path, RemotePath):
        return path
    text = os.fspath(path)
    if CHAIN.search(text):
        raise InputError(
            f"'{text.partition('::')[0]}::...' is a chain of URLs, which is not read: give the URL of a file or folder."
        )
    found = URL.fullmatch(text)
    if found is None:
        return Path(path)
    scheme, rest = found[1].lower(), found[2]
    if scheme == "file":
        return Path("/", rest)
    if not text.startswith(f"{found[1]}://") and (not _is_known(scheme) or os.path.exists(f"{found[1]}:")):
        return Path(path)
    if not _is_known(scheme):
        raise InputError(f"'{scheme}://' is no scheme that fsspec knows: see that it is spelt right, as in s3://.")
    secret = TOKEN if scheme in WEB else PASSWORD
    login, query = secret.match(rest), SECRET.search(rest)
    shown = RemotePath(f"{scheme}:", secret.sub("", SECRET.sub("", rest)))
    if login is not None:
        _logins[shown.host] = login[0]
    if query is not None:
        _note_query(str(shown), query[0])
    return shown


def _note_query(shown: str, query: str) -> None:
    """Keep the query of a URL; a newer signature replaces an older one, also of the files that were named by it.

    Raises:
        InputError: Two queries that sign nothing tell two files apart, which would have one path.
    """
    older = _queries.setdefault(shown, query)
    if older == query:
        return
    if SIGNING.search(query) is None:
        raise InputError(
            f"'{shown}' was given with two queries, which stand after the '?', and is one file here: copy the files to "
            "a disk, or give them URLs that differ before it."
        )
    folder = shown.rpartition("/")[0]
    same = [path for path, known in _queries.items() if known == older and path.rpartition("/")[0] == folder]
    _queries.update(dict.fromkeys(same, query))


def is_url(path: PathLike) -> bool:
    """Return whether `to_path` takes a path for a remote one."""
    return isinstance(to_path(path), RemotePath)


def _is_known(scheme: str) -> bool:
    from fsspec import available_protocols

    return scheme in available_protocols()


class RemotePath(PosixPath):
    """The path of a file or folder that fsspec reads; `to_path` makes it.

    Errors of asking for it are those of a disk: `OSError` with a number that tells whether they may pass.
    """

    def __str__(self) -> str:
        first, *others = self.parts or (".",)
        return f"{first}//{'/'.join(others)}" if first.endswith(":") else "/".join([first, *others])

    def __fspath__(self) -> str:
        raise InputError(
            f"'{self}' does not lie on a disk, and what it was given for needs one: give a path on a disk."
        )

    def __reduce__(self) -> Any:
        return to_path, (self._url(),)

    @property
    def host(self) -> str:
        """Its scheme and its bucket or host."""
        return "//".join(self.parts[:2])

    @property
    def is_web(self) -> bool:
        """Whether it lies on a web server, which lists no folders."""
        return self.parts[0][:-1] in WEB

    def with_name(self, name: str) -> "RemotePath":
        made: RemotePath = super().with_name(name)
        if str(self) in _queries:  # one signature may be of all files in a folder
            _queries.setdefault(str(made), _queries[str(self)])
        return made

    def absolute(self) -> "RemotePath":
        return self

    def resolve(self, strict: bool = False) -> "RemotePath":
        return self

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Return kind, size and time of the last change; `st_ctime_ns` is a digest of the version.

        Raises:
            OSError: It is not there, or cannot be asked for.
        """
        told = self.told()
        mode = stat.S_IFDIR if told.get("type") == "directory" else stat.S_IFREG
        changed, size = _nanoseconds(told), int(told.get("size") or 0)
        version = int.from_bytes(hashlib.blake2b(version_of(told).encode(), digest_size=7).digest(), "little")
        seconds = (changed // 10**9, changed // 10**9, version // 10**9)
        nanoseconds = {"st_mtime_ns": changed, "st_ctime_ns": version}
        return os.stat_result((mode, 0, 0, 1, 0, 0, size, *seconds), nanoseconds)

    def told(self) -> Mapping[str, Any]:
        """Return what its store tells of it, in the words of fsspec; errors as of `stat`."""
        with asking(self):
            system, name = self._system()
            found: Mapping[str, Any] = system.info(name)
        if found.get("type") != "directory" and found.get("size") is None:
            raise OSError(errno.EINVAL, "its server does not tell its size", str(self))
        return found

    def exists(self) -> bool:
        return self._mode() is not None

    def is_dir(self) -> bool:
        return not self.is_web and stat.S_ISDIR(self._mode() or 0)

    def is_file(self) -> bool:
        return stat.S_ISREG(self._mode() or 0)

    def _mode(self) -> int | None:
        try:
            return retried(self.stat, str(self), counts=False).st_mode
        except FileNotFoundError:
            return None

    def iterdir(self) -> Generator["RemotePath", None, None]:
        """Yield what lies in a folder; nothing if it does not exist. Errors as of `stat`."""
        for name in retried(lambda: self._names(below=False), str(self), counts=False):
            yield self / name

    def files_below(self) -> list[str]:
        """Return the paths of all files below a folder, relative to it and sorted. Errors as of `stat`."""
        return retried(lambda: self._names(below=True), str(self), counts=False)

    def _names(self, *, below: bool) -> list[str]:
        with asking(self):
            system, name = self._system()
            system.invalidate_cache()  # or what was added since would not be seen
            try:
                found = system.find(name) if below else system.ls(name, detail=False)
            except FileNotFoundError:
                return []
        start = name.rstrip("/") + "/"
        names = (path.rstrip("/") for path in found)
        return sorted(path[len(start) :] for path in names if path.startswith(start))

    def read_range(self, start: int, stop: int) -> bytes:
        """Return the bytes from `start` up to, but not including, `stop`, by one request; fewer where the file ends.

        Raises:
            OSError: They cannot be had.
            InputError: The server sends the whole file in place of the part.
        """
        if start >= stop:
            return b""
        with asking(self):
            from fsspec.asyn import AsyncFileSystem

            system, name = self._system()
            if isinstance(system, AsyncFileSystem):
                content = bytes(system.cat_file(name, start=start, end=stop))
            else:
                with system.open(name, "rb", cache_type="none") as file:
                    file.seek(start)
                    content = file.read(stop - start)
        if len(content) > stop - start:
            raise InputError(f"'{self}': its server sends whole files where a part is asked for. Copy it to a disk.")
        return content

    def write_new(self, content: bytes) -> None:
        """Write a file. Errors as of `stat`."""
        with asking(self):
            system, name = self._system()
            system.pipe_file(name, content)
            system.invalidate_cache()

    def open_binary(self) -> BinaryIO:
        """Open the file for reading; parts of it are asked for as they are read, and again if that fails for a moment.

        Raises:
            OSError: It is not there, or it is a folder.
        """
        told = retried(self.stat, str(self), counts=False)
        if not stat.S_ISREG(told.st_mode):
            raise OSError(errno.EINVAL, "it is not a file", str(self))
        return io.BufferedReader(_Ranges(self, told.st_size), WINDOW)

    def _system(self) -> tuple[Any, str]:
        """Return the file system of fsspec, and the name of the file in it."""
        from fsspec.core import url_to_fs

        system, name = url_to_fs(self._url())
        return system, name

    def _url(self) -> str:
        """Return the URL as it is asked for."""
        scheme, *rest = self.parts
        path = "/".join(rest)
        if self.is_web:  # a server is not told what stands after this sign
            path = path.replace("#", "%23")
        return f"{scheme}//{_logins.get(self.host, '')}{path}{_queries.get(str(self), '')}"


class _Ranges(io.RawIOBase):
    """The bytes of a remote file."""

    def __init__(self, path: RemotePath, size: int) -> None:
        self._path, self._size, self._at = path, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        stop = min(self._at + len(buffer), self._size)
        content = retried(lambda: self._path.read_range(self._at, stop), str(self._path))
        if len(content) < stop - self._at:
            raise OSError(errno.EINVAL, "it ends earlier than its store says", str(self._path))
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)


def version_of(told: Mapping[str, Any]) -> str:
    """Return what a store tells of the version of a file; empty if it tells nothing.

    Args:
        told: See `RemotePath.told`.
    """
    lower = {name.lower(): value for name, value in told.items()}
    return next((str(lower[name]).strip('"') for name in VERSIONS if lower.get(name)), "")


def _nanoseconds(told: Mapping[str, Any]) -> int:
    """Return the time of the last change, if it is told."""
    lower = {name.lower(): value for name, value in told.items()}
    time = next((lower[name] for name in TIMES if hasattr(lower.get(name), "timestamp")), None)
    return 0 if time is None else int(time.timestamp() * 10**6) * 1000
