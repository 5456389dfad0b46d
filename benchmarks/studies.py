"""Overhead of running trials in parallel: `python benchmarks/studies.py`.

Prints the wall time of a study of 24 runs of digits, divided by the training seconds of its runs per worker. The rest is for
starting Python and torch, loading data, processes, records and the table on the screen. The limit is 1.15 with two workers.
"""

import tempfile
import time
from pathlib import Path

from hardfirst.studies import Plan, Runner, cores

SEEDS = 12


def main() -> None:
    workers = min(2, cores())
    plan = Plan(problems="digits", balancers="equal,dtp", seeds=SEEDS, baselines=False, controls=False, workers=workers)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        runner = Runner(plan, Path(folder))
        runner.run()
        wall = time.perf_counter() - start
        (case,) = runner.store.about().cases
        runs = runner.store.runs(case)
    own = sum(run.record.seconds for run in runs)
    print(f"study of {len(runs)} runs, {workers} at a time: {wall:.1f} s, {own:.1f} s of training in it")
    print(f"wall time over training seconds / {workers}: {wall / (own / workers):.3f} (limit 1.15)")


if __name__ == "__main__":
    main()
