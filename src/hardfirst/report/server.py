"""A study's page on 127.0.0.1, made anew whenever a run has ended."""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from string import Template

from hardfirst.errors import InputError
from hardfirst.report import Comparison

HOST = "127.0.0.1"

_FILES = ("study.json", "cost.json", "trials/*.jsonl")

_REFRESH = Template("""<script>
const known = $version;
setInterval(async () => {
  try {
    const found = await (await fetch("/version", {cache: "no-store"})).json();
    if (found !== known) location.reload();
  } catch { /* the server has gone; the page stays as it is */ }
}, $milliseconds);
</script>
""")

_NOTHING_YET = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><link rel="icon" href="data:,"><title>hardfirst</title></head>
<body><main><h1>$folder</h1><p>$reason</p><p>This page will show the study as soon as there is something to show.</p></main>
</body></html>
"""


class Pages:
    """The page of a folder, made anew when a record has come.

    Args:
        folder: the study's.
        seconds: how often a browser asks whether there is something new.
    """

    def __init__(self, folder: Path, *, seconds: float = 2.0) -> None:
        self.folder, self.seconds = folder, seconds
        self._lock = threading.Lock()
        self._made: tuple[str, str] | None = None

    def version(self) -> str:
        """A word for what the folder holds."""
        found = sorted((str(path), path.stat().st_mtime_ns) for pattern in _FILES for path in self._glob(pattern))
        return sha256(repr(found).encode()).hexdigest()[:16]

    def page(self) -> str:
        """The page, which reloads itself when there is something new."""
        with self._lock:
            version = self.version()
            if self._made is None or self._made[0] != version:
                self._made = version, self._page(version)
            return self._made[1]

    def _page(self, version: str) -> str:
        script = _REFRESH.substitute(version=json.dumps(version), milliseconds=round(1000 * self.seconds))
        try:
            text = Comparison.read(self.folder).html()
        except InputError as error:
            text = Template(_NOTHING_YET).substitute(folder=escape(str(self.folder)), reason=escape(str(error)))
        text = text.replace("default-src 'none';", "default-src 'none'; connect-src 'self';", 1)  # to ask for the version
        before, body, after = text.rpartition("</body>")
        return f"{before}{script}{body}{after}"

    def _glob(self, pattern: str) -> list[Path]:
        found = []
        for path in self.folder.glob(pattern):
            try:
                path.stat()
            except FileNotFoundError:  # it has just been replaced
                continue
            found.append(path)
        return found


@contextmanager
def serve(folder: Path, *, port: int = 8400, seconds: float = 2.0) -> Iterator[tuple[ThreadingHTTPServer, str]]:
    """A server for the folder's page, and its address; it answers this machine alone.

    Args:
        folder: of a study or of runs.
        port: 0 for any that is free.
        seconds: how often a browser asks whether there is something new.

    Raises:
        InputError: there is no such folder, or the port is taken.
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
        """A browser that has left while it was answered is no error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # of a socket


def _handler(pages: Pages) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host = self.headers.get("Host", "").rpartition(":")[0]
            if host not in (HOST, "localhost"):  # a name that somebody else's page points here
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
            """Requests are of no interest."""

    return Handler
