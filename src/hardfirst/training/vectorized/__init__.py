"""Placeholder until the trainer is merged."""

from collections.abc import Sequence
from pathlib import Path

from hardfirst import records
from hardfirst.training._fit import fit
from hardfirst.training._trial import Trial


class NotVectorizable(Exception):
    """Trials cannot be trained together."""


def fit_together(
    trials: Sequence[Trial], *, record_files: Sequence[Path], command: str | None = None, accelerator: str = "auto"
) -> list[records.Record]:
    return [
        fit(trial, record_file=file, command=command, accelerator=accelerator)
        for trial, file in zip(trials, record_files, strict=True)
    ]
