"""Serve the page of a database to browsers on this machine.

The server listens on 127.0.0.1 only, and only reads. A page of another site could still send requests to it, under a
name of its own that leads to 127.0.0.1 (DNS rebinding); so a request for another host than this one is refused.
"""

from __future__ import annotations

import hashlib
import logging
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from ffcli.errors import BadOption, FFError, MissingPackage
from ffcli.web.content import Content
from ffcli.web.page import policy, render

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

ADDRESS = "127.0.0.1"
DEFAULT_PORT = 8642
TRIED_PORTS = 20
"""Number of ports to try if none was asked for and the default one is in use."""

MAX_AGE = 10.0
"""Seconds after which the database is read again although its files have not changed: a run of a process that was
killed becomes interrupted without a change."""

PAUSE = 4
"""How many times as long as the last reading the server waits before the next: it shares the computer with a sweep, and
takes at most a fifth of one core from it."""


@dataclass(frozen=True, slots=True)
class Version:
    """One state of the page."""

    content: Content
    body: bytes
    tag: str
    """Identifies the state: an HTTP entity tag."""


class Page:
    """The current page of a database. It is rendered again only if what it shows has changed."""

    def __init__(self, database: Path, read: Callable[[], Content]) -> None:
        """Make a page that is read at the first call of `current`.

        Args:
            database: the file, to notice changes.
            read: reads what the page shows.
        """
        self._files = [database, database.with_name(f"{database.name}-wal")]
        self._read = read
        self._lock = Lock()
        self._version: Version | None = None
        self._seen: tuple[object, ...] = ()
        self._read_at = self._took = 0.0

    def current(self) -> Version:
        """Return the page as of now, or as of a moment ago if reading it takes long."""
        with self._lock:
            seen, begun = tuple(map(_fingerprint, self._files)), time.monotonic()
            age = begun - self._read_at
            changed = seen != self._seen and age > PAUSE * self._took
            if self._version is None or changed or age > MAX_AGE:
                self._version = self._next(self._version)
                self._seen, self._read_at = seen, time.monotonic()
                self._took = self._read_at - begun
            return self._version

    def _next(self, before: Version | None) -> Version:
        """Read the database. If only the time differs, it is still the same version."""
        content = self._read()
        if before and replace(content, made=before.content.made) == before.content:
            return before
        body = render(content, live=True).encode()
        return Version(content, body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def _fingerprint(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def application(page: Page, port: int) -> Callable[[dict[str, Any], StartResponse], Iterable[bytes]]:
    """Return the WSGI application that answers for `port`: one page at `/`, and nothing else."""
    hosts = {f"{name}:{port}" for name in (ADDRESS, "localhost", "[::1]")}

    def answer(environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        def send(status: str, text: bytes = b"", **headers: str) -> Iterable[bytes]:
            named = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(text)), **_SAFETY}
            named |= {name.replace("_", "-"): value for name, value in headers.items()}
            start(status, list(named.items()))
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [text]

        if environ.get("HTTP_HOST", "").lower() not in hosts:
            return send("421 Misdirected Request", b"this server answers only for 127.0.0.1 and localhost\n")
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return send("405 Method Not Allowed", b"only GET\n", Allow="GET, HEAD")
        if environ["PATH_INFO"] != "/":
            return send("404 Not Found", b"the only page is /\n")
        try:
            version = page.current()
        except FFError as error:
            return send("503 Service Unavailable", f"{error}\n".encode())
        if environ.get("HTTP_IF_NONE_MATCH") == version.tag:
            return send("304 Not Modified", ETag=version.tag)
        return send("200 OK", version.body, Content_Type="text/html; charset=utf-8", ETag=version.tag)

    return answer


_SAFETY: Mapping[str, str] = {
    "Content-Security-Policy": f"{policy(live=True)}; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def serve(page: Page, port: int | None, ready: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C.

    Args:
        page: the page.
        port: the port; None for DEFAULT_PORT, or the next one that is free.
        ready: called with the page's address as soon as it can be opened.

    Raises:
        MissingPackage: if waitress is not installed.
        BadOption: if the port is in use or not allowed.
    """
    try:
        from waitress.server import create_server
    except ImportError as error:
        raise MissingPackage('ff serve needs waitress, which is not installed: pip install "ffcli[serve]"') from error
    # Waitress warns on stderr of each request that has to wait for a thread.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    with closing(_listen(port)) as listening:
        number = listening.getsockname()[1]
        server = create_server(
            application(page, number), sockets=[listening], threads=2, ident=None, clear_untrusted_proxy_headers=True
        )
        ready(f"http://{ADDRESS}:{number}/")
        try:
            server.run()  # returns on Ctrl-C
        finally:
            server.close()


def _listen(port: int | None) -> socket.socket:
    tried = [port] if port is not None else range(DEFAULT_PORT, DEFAULT_PORT + TRIED_PORTS)
    for number in tried:
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((ADDRESS, number))
            listening.listen()
            return listening
        except OSError as error:
            listening.close()
            reason = (error.strerror or str(error)).lower()
    raise BadOption(f"--port {tried[-1]}: {reason}; give another one")
