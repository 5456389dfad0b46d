"""Keeps the trained networks of a study's best runs in its folder."""

import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hardfirst.errors import InputError
from hardfirst.records import Record, replaced_file
from hardfirst.records.selection import chosen
from hardfirst.studies.kinds.base import StudyKind
from hardfirst.studies.store import Store
from hardfirst.studies.trials import StudyTrial
from hardfirst.training import read_model, trial_key


@dataclass(frozen=True)
class Kept:
    """The trained network of the best run of a method, a control or another thing that the study compares.

    Args:
        method: what was compared, with problem and network where the study has several, and with the task of a single-task
            network.
        seed: of the best run by validation.
        path: the file; None if it was not saved, as in a study that was begun without `keep`.
    """

    method: str
    seed: int
    path: Path | None


def keep_best(store: Store, cases: Sequence[StudyKind]) -> list[Kept]:
    """Move the trained networks of the best runs to `models/METHOD.pt`, and remove those of the other runs.

    The best run of a method, a control, static weights, an order or a loss is the one with the highest validation score
    among its seeds; likewise of the single-task networks of each task.

    Args:
        store: the study's folder, in which all trials have ended.
        cases: the study's.

    Raises:
        InputError: the folder cannot be written to.
    """
    kept, names = [], set[str]()
    for case in cases:
        of_case = f"{case.problem.name} {case.network} " if len(cases) > 1 else ""
        for method, trial, record in _best_runs(case):
            path = store.folder / "models" / f"{_unused(of_case + method, names)}.pt"
            saved = _save(store.model_file(trial.key), path, trial.key)
            kept.append(Kept(of_case + method, record.trial["seed"], path if saved else None))
    for path in (store.folder / "trials").glob("*.pt"):
        path.unlink(missing_ok=True)
    return kept


def _best_runs(case: StudyKind) -> Iterator[tuple[str, StudyTrial, Record]]:
    """What is compared, each with its best run; without a finished run it is left out."""
    by_method: dict[str, list[tuple[StudyTrial, Record]]] = {}
    for trial in case.trials():
        if not trial.tuning and trial.role != "grid":
            record = case.record_of(trial)
            if record is not None and record.outcome == "finished":
                name = f"{trial.method} {trial.trial.only}" if trial.role == "single" else trial.method
                by_method.setdefault(name, []).append((trial, record))
    for method, runs in by_method.items():
        yield method, *runs[chosen([record for _, record in runs])]


def _save(source: Path, path: Path, key: str) -> bool:
    """Copy the file of a trial's network; returns whether the network is there now."""
    if source.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced_file(path) as part:
            shutil.copyfile(source, part)
        return True
    try:
        return path.exists() and trial_key(read_model(path).settings) == key
    except InputError:  # damaged, or from another version
        return False


def _unused(text: str, names: set[str]) -> str:
    """A name for a file that is not among the names, to which it is added."""
    name = unique = re.sub(r"[^\w.,=+]+", "-", text).strip("-.")
    number = 1
    while unique in names:
        number += 1
        unique = f"{name}-{number}"
    names.add(unique)
    return unique


def sentences(kept: Iterable[Kept], flag: str = "--keep") -> list[str]:
    """What was kept and what could not be, in sentences.

    Args:
        kept: by `keep_best`.
        flag: the command's, by which networks are kept.
    """
    kept = list(kept)
    there = [(each, each.path) for each in kept if each.path is not None]
    lost = [f"{each.method} (seed {each.seed})" for each in kept if each.path is None]
    said = []
    if there:
        files = ", ".join(f"{path.name} (seed {each.seed})" for each, path in there)
        said.append(f"The trained networks of the best runs by validation are in {there[0][1].parent}: {files}.")
    if lost:
        said.append(
            f"Not kept, since these best runs had ended before {flag} was given: {', '.join(lost)}. To keep their networks, "
            f"run the study in another folder with {flag}."
        )
    return said
