"""Serves a study's page on 127.0.0.1 and updates it whenever a run ends."""

import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from hardfirst.errors import InputError
from hardfirst.report.comparison import Comparison
from hardfirst.report.html.page import Live
from hardfirst.report.html.rendering import asset, render

HOST = "127.0.0.1"

_OWN_HOST = re.compile(rf"({re.escape(HOST)}|localhost)(:\d+)?")  # browsers leave out port 80
_FILES = ("study.json", "cost.json", "trials/*.jsonl")


class Pages:
    """The page of a folder, made again after a record has been added.

    Args:
        folder: the study's.
        seconds: how often a browser asks whether there is something new.
    """

    def __init__(self, folder: Path, *, seconds: float = 2.0) -> None:
        self.folder, self.seconds = folder, seconds
        self._lock = threading.Lock()
        self._latest: tuple[str, str] | None = None

    def version(self) -> str:
        """A hash of the folder's file names and their times."""
        files = sorted((str(path), time) for pattern in _FILES for path, time in self._modified(pattern))
        return sha256(repr(files).encode()).hexdigest()[:16]

    def page(self) -> str:
        """The page, which reloads itself when there is something new."""
        with self._lock:
            version = self.version()
            if self._latest is None or self._latest[0] != version:
                self._latest = version, self._render(Live(version, round(1000 * self.seconds)))
            return self._latest[1]

    def _render(self, live: Live) -> str:
        try:
            return Comparison.read(self.folder).html(live)
        except InputError as error:
            reason = str(error)
        except Exception as error:  # a fault of ours must not end what a browser shows
            reason = f"The page cannot be made, by a fault of hardfirst: {type(error).__name__}: {error}"
        return render("waiting.html.j2", folder=self.folder, reason=reason, live=live, style=asset("page.css"))

    def _modified(self, pattern: str) -> Iterator[tuple[Path, int]]:
        for path in self.folder.glob(pattern):
            with suppress(FileNotFoundError):  # it has just been replaced
                yield path, path.stat().st_mtime_ns


@contextmanager
def serve(folder: Path, *, port: int = 8400, seconds: float = 2.0) -> Iterator[tuple[ThreadingHTTPServer, str]]:
    """A server for the folder's page, and its address; it answers requests from this machine only.

    Args:
        folder: of a study or of runs.
        port: 0 for any free port.
        seconds: how often a browser asks whether there is something new.

    Raises:
        InputError: the folder does not exist, or the port is taken.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}.")
    pages = Pages(folder, seconds=seconds)
    try:
        server = _Server((HOST, port), _handler(pages))
    except (OSError, OverflowError) as error:
        raise InputError(f"Port {port} of {HOST} cannot be had ({error}); choose another with --port, or 0.") from None
    with server:
        yield server, f"http://{HOST}:{server.server_port}/"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a browser that has closed the connection."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # of a socket


def _handler(pages: Pages) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # seconds without a byte after which a connection is closed

        def do_GET(self) -> None:
            # another site's page may have pointed its own name here
            if not _OWN_HOST.fullmatch(self.headers.get("Host", "")):
                self._answer(HTTPStatus.FORBIDDEN, "text/plain", "This page is for this machine alone.")
            elif self.path == "/":
                self._answer(HTTPStatus.OK, "text/html", pages.page())
            elif self.path == "/version":
                self._answer(HTTPStatus.OK, "application/json", json.dumps(pages.version()))
            else:
                self._answer(HTTPStatus.NOT_FOUND, "text/plain", "There is only one page: /")

        def _answer(self, status: HTTPStatus, kind: str, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Do not log requests."""

    return Handler
