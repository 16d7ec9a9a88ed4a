"""A web server of files that answers ranges, counts what it sends, and fails as it is told."""

import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

RANGE = re.compile(r"bytes=(\d+)-(\d+)")


@dataclass
class WebStore:
    """Files by their paths, such as "pool/a.png".

    Attributes:
        files: Path -> content.
        latency: Seconds before each answer.
        bytes_per_s: Rate at which all answers together are sent; 0 for as fast as it goes.
        signature: Query that each request needs, if any; without it the answer is 403.
        whole: Whether ranges are not known here, and files are sent whole.
        failing: Path -> the statuses of the next answers.
        refused: Whether all is answered with 403.
        sent: Number of bytes of content that were sent.
        requests: (method, path) -> number of requests.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    latency: float = 0.0
    bytes_per_s: float = 0.0
    signature: str = ""
    whole: bool = False
    failing: dict[str, list[int]] = field(default_factory=dict)
    refused: bool = False
    sent: int = 0
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)
    link: threading.Lock = field(default_factory=threading.Lock)

    def forget(self) -> None:
        """Count from zero."""
        self.sent = 0
        self.requests.clear()

    def answer(self, method: str, target: str, headers: Mapping[str, str]) -> tuple[int, bytes, dict[str, str]]:
        """Return status, content and headers of the answer to a request."""
        time.sleep(self.latency)
        asked = urlsplit(target)
        path = unquote(asked.path).lstrip("/")
        with self.lock:
            self.requests[method, path] += 1
            if self.refused or asked.query != self.signature:
                return 403, b"<Error><Code>AccessDenied</Code></Error>", {}
            if self.failing.get(path):
                return self.failing[path].pop(0), b"", {}
            if path not in self.files:
                return 404, b"", {}
            content = self.files[path]
        part = RANGE.fullmatch(headers.get("Range", ""))
        told = {"ETag": f'"{hash(content):x}"', "Accept-Ranges": "bytes"}
        if part is None or self.whole:
            return 200, content, told
        first, last = int(part[1]), min(int(part[2]), len(content) - 1)
        if first >= len(content):
            return 416, b"", {}
        return 206, content[first : last + 1], told | {"Content-Range": f"bytes {first}-{last}/{len(content)}"}


@contextmanager
def serving(store: WebStore) -> Iterator[WebStore]:
    """Serve a store on a free port of this machine within the block; `store.url` is set."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            status, content, told = store.answer(self.command, self.path, dict(self.headers))
            self.send_response(status)
            for name, value in told.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                if store.bytes_per_s:
                    with store.link:
                        time.sleep(len(content) / store.bytes_per_s)
                self.wfile.write(content)
                if status < 300:
                    with store.lock:
                        store.sent += len(content)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]  # of clients that left
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    store.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
