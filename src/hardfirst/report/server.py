"""Serves a study's page on 127.0.0.1 and updates it whenever a run ends."""

import json
import re
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

from hardfirst.errors import InputError
from hardfirst.records.study_folder import StudyFolder
from hardfirst.report.comparison import Comparison
from hardfirst.report.html.page import Live
from hardfirst.report.html.rendering import asset, render
from hardfirst.report.text.next_step import duration

HOST = "127.0.0.1"

_OWN_HOST = re.compile(rf"({re.escape(HOST)}|localhost)(:\d+)?")  # browsers leave out port 80
_PAUSE, _UNUSUAL = 600.0, 10  # seconds without an end, and times the usual, after which a study was resumed
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
            comparison = Comparison.read(self.folder)
            return comparison.html(live._replace(remaining=self._remaining(comparison.missing)))
        except InputError as error:
            reason = self._progress() or str(error)
        except Exception as error:  # a fault of ours must not end what a browser shows
            reason = f"The page cannot be made, by a fault of hardfirst: {type(error).__name__}: {error}"
        return render("waiting.html.j2", folder=self.folder, reason=reason, live=live, style=asset("page.css"))

    def _progress(self) -> str:
        """How far the study is that has nothing to show yet; "" if this is not why there is no page."""
        if not self.folder.exists():
            return f"The folder {self.folder} does not exist yet."
        store = StudyFolder(self.folder)
        with suppress(InputError):
            keys = {entry.key for case in store.about().cases for entry in case.trials}
            missing = sum(not store.record_file(key).exists() for key in keys)
            if missing:
                left = self._remaining(missing)
                about = "" if left is None else f", about {duration(left)} to go"
                return f"{len(keys) - missing} of {len(keys)} runs have ended{about}; none of them is a method's result yet."
        return ""

    def _remaining(self, missing: int) -> float | None:
        """About how many seconds the study still takes."""
        return remaining([modified / 1e9 for _, modified in self._modified("trials/*.jsonl")], missing, time.time())

    def _modified(self, pattern: str) -> Iterator[tuple[Path, int]]:
        for path in self.folder.glob(pattern):
            with suppress(FileNotFoundError):  # it has just been replaced
                yield path, path.stat().st_mtime_ns


def remaining(ended: Sequence[float], missing: int, now: float) -> float | None:
    """Seconds until the missing runs have ended, at the pace at which the others did.

    Args:
        ended: when each run ended, in seconds.
        missing: the number of runs that have not ended.
        now: the time.

    Returns:
        None if no pace can be told: runs have ended at fewer than two times, or none has for so long that the study stands.

    >>> remaining([0, 10, 20], 3, now=25), remaining([0, 10, 20], 3, now=500), remaining([5], 3, now=6)
    (25.0, None, None)
    """
    times = _since_pause(sorted(ended))
    if not missing or len(times) < 2 or times[0] == times[-1]:
        return None
    pace = (times[-1] - times[0]) / (len(times) - 1)
    left = missing * pace - (now - times[-1])
    return left if left > 0 else None


def _since_pause(times: list[float]) -> list[float]:
    """The times after the longest gap, if that is so long that the study was stopped meanwhile."""
    gaps = [later - earlier for earlier, later in pairwise(times)]
    if len(gaps) < 2:
        return times
    longest = max(gaps)
    typical = (sum(gaps) - longest) / (len(gaps) - 1)
    return times[gaps.index(longest) + 1 :] if longest > max(_PAUSE, _UNUSUAL * typical) else times


@contextmanager
def serve(folder: Path, *, port: int = 8400, seconds: float = 2.0) -> Iterator[tuple[ThreadingHTTPServer, str]]:
    """A server for the folder's page, and its address; it answers requests from this machine only.

    Args:
        folder: of a study or of runs; it need not exist yet.
        port: 0 for any free port.
        seconds: how often a browser asks whether there is something new.

    Raises:
        InputError: the folder is a file, or the port is taken.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; expected the folder of a study, which need not exist yet.")
    pages = Pages(folder, seconds=seconds)
    try:
        server = _Server((HOST, port), _handler(pages))
    except (OSError, OverflowError) as error:
        raise InputError(f"Port {port} of {HOST} is not available ({error}); choose another with --port, or 0.") from None
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
