"""Runs whose records are kept in a folder, so that a benchmark continues where it was stopped."""

from collections.abc import Sequence
from pathlib import Path

from hardfirst import records
from hardfirst.training import NotVectorizable, Trial, fit, fit_together


def run(folder: Path, trials: Sequence[Trial]) -> list[records.Record]:
    """The records of trials of one problem; those that have not ended are trained, together where that is possible."""
    problem = trials[0].load()
    files = [folder / f"{trial.key(problem)}.jsonl" for trial in trials]
    left = [(trial, file) for trial, file in zip(trials, files, strict=True) if not _ended(file)]
    if left:
        missing, paths = zip(*left, strict=True)
        try:
            fit_together(missing, record_files=paths, accelerator="cpu")
        except NotVectorizable:
            for trial, path in left:
                fit(trial, record_file=path, accelerator="cpu")
    return [records.read(file) for file in files]


def _ended(file: Path) -> bool:
    return file.exists() and records.read(file).outcome is not None
