"""Worker processes that render maps, one for each CPU core.

Each worker is a new interpreter rather than a `multiprocessing` process: it does not import the running script, and it has a
separate working directory, in which the engine leaves files.
"""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, cast

from hardfirst.errors import InputError
from hardfirst_scenes._engine import RenderJob, read

Progress = Callable[[int, int], None]

POLL = 0.2  # seconds between checks of the workers


def render_maps(jobs: Sequence[RenderJob]) -> None:
    """Render all maps whose files are missing or damaged.

    Args:
        jobs: the maps to render.

    Raises:
        InputError: a worker failed; the files of finished maps are kept.
    """
    with _progress_bar() as report:
        _run_workers(jobs, report)


def _run_workers(jobs: Sequence[RenderJob], report: Progress) -> None:
    missing = [job for job in jobs if not _is_complete(Path(job.path))]
    report(len(jobs) - len(missing), len(jobs))
    count = min(_cores(), len(missing))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folders = [Path(temporary) / str(number) for number in range(count)]
        workers: list[subprocess.Popen[str]] = []
        try:
            workers.extend(_start(missing[number::count], folder) for number, folder in enumerate(folders))
            while running := [worker for worker in workers if worker.poll() is None]:
                with suppress(subprocess.TimeoutExpired):
                    running[0].wait(POLL)
                report(sum(Path(job.path).exists() for job in jobs), len(jobs))
                for worker, folder in zip(workers, folders, strict=True):
                    if worker.poll():
                        reason = _last_line(folder)
                        raise InputError(f"The frames could not be rendered. Finished maps are kept. vizdoom: {reason}")
        finally:
            _stop(workers)


def _start(jobs: Sequence[RenderJob], folder: Path) -> "subprocess.Popen[str]":
    folder.mkdir()
    with (folder / "errors").open("w") as errors:
        worker = subprocess.Popen(
            [sys.executable, "-m", "hardfirst_scenes._engine"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            text=True,
            start_new_session=True,  # Ctrl-C reaches only this process, which then stops its workers
        )
    with suppress(BrokenPipeError):  # the worker ended at once; its error is in the file
        stdin = cast(IO[str], worker.stdin)  # stays open: the worker ends when it is closed
        stdin.write(json.dumps(jobs) + "\n")
        stdin.flush()
    return worker


def _stop(workers: Sequence["subprocess.Popen[str]"]) -> None:
    """Stop the workers that are still running, and their engines, which are processes too."""
    for worker in workers:
        with suppress(BrokenPipeError):
            cast(IO[str], worker.stdin).close()
    for worker in workers:
        try:
            worker.wait(timeout=5)  # it closes the engine
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(worker.pid, signal.SIGKILL)


def _last_line(folder: Path) -> str:
    lines = (folder / "errors").read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "the process ended without a message.")


def _is_complete(path: Path) -> bool:
    """Return whether a map's file exists and is not damaged; remove a damaged one."""
    try:
        read(path)
    except FileNotFoundError:
        return False
    except Exception as error:  # a damaged file can raise anything
        warnings.warn(f"The frames in {path} could not be read and are rendered again: {error}", stacklevel=6)
        path.unlink()
        return False
    return True


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _progress_bar() -> Iterator[Progress]:
    """Show a bar on the terminal; nothing without a terminal, or if another process draws on it."""
    if not sys.stderr.isatty() or multiprocessing.parent_process() is not None:
        yield lambda done, total: None
        return
    try:
        from rich.console import Console
        from rich.progress import Progress as Bar
    except ImportError:
        yield lambda done, total: None
        return
    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Rendering the maps of scenes, once")
        yield lambda done, total: bar.update(task, completed=done, total=total)
