"""Cost of a study whose runs are trained together: `python benchmarks/vectorized.py [PROBLEM[:EPOCHS] ...] [--OPTION ...]`.

`hardfirst compare PROBLEM`, the default study, with and without `--no-vectorize`, one after the other in new folders: CPU
seconds of all its processes, and the ratio. Without arguments the problem is digits. The limit for digits is a third.
Options are those of `hardfirst compare`, such as `--seeds 3` for a large problem.
"""

import ctypes
import os
import resource
import subprocess
import sys
import tempfile
from contextlib import suppress

LIMITS = {"digits": 1 / 3}
_PR_SET_CHILD_SUBREAPER = 36  # Linux: processes that lose their parent become children of this one, which counts their time


def seconds(problem: str, epochs: str, *options: str) -> float:
    """CPU seconds of a study and of all processes that it starts."""
    before = _used()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hardfirst", "compare", problem, "--out", folder, *options]
        subprocess.run([*command, *(["--epochs", epochs] if epochs else [])], check=True, stdout=subprocess.DEVNULL)
        with suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
    return _used() - before


def _used() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main(arguments: list[str]) -> None:
    first_option = next((place for place, text in enumerate(arguments) if text.startswith("-")), len(arguments))
    problems, options = arguments[:first_option], arguments[first_option:]
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    print(f"{'problem':16} {'together':>9} {'singly':>9} {'ratio':>6}")
    for text in problems or ["digits"]:
        problem, _, epochs = text.partition(":")
        together, singly = (seconds(problem, epochs, *options, *flag) for flag in ([], ["--no-vectorize"]))
        limit = f"  (limit {LIMITS[problem]:.2f})" if problem in LIMITS and not epochs and not options else ""
        print(f"{text:16} {together:8.1f}s {singly:8.1f}s {together / singly:6.2f}{limit}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
