"""`load`: read the trained network of a run."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from torch import nn

from hardfirst.errors import InputError
from hardfirst.networks import NetworkSpec
from hardfirst.problems import OWN, Problem, TableTransform, digest, load_problem
from hardfirst.trained._network import TrainedNetwork
from hardfirst.training import ModelFile, build_network, read_model

MODEL = "model.pt"
"""The name of the trained network in the folder of `hardfirst train`."""


def load(run: str | Path, *, problem: str | Problem | None = None) -> TrainedNetwork:
    """Load a trained network.

    A network of a table needs no other file. A network of a problem in a Python file needs that file: it is run, as by
    `load_problem`.

    Args:
        run: the folder of `hardfirst train`, or one of the files in `models/` that `hardfirst compare --keep` writes.
        problem: the problem, or its name or path, if the file has changed or is elsewhere. Default: as the run names it.

    Raises:
        InputError: there is no trained network, it is damaged, or the problem is missing or has changed.

    Example:
        >>> load("runs/train-digits-0123456789abcdef")
        Traceback (most recent call last):
        hardfirst.errors.InputError: There is no file or folder runs/train-digits-0123456789abcdef.
    """
    path = model_path(Path(run))
    content = read_model(path)
    if content.table is not None:
        return _of_table(path, content, TableTransform.from_json(content.table))
    found = problem if isinstance(problem, Problem) else _problem(path, content, problem)
    settings = content.settings
    variant = found.variant(network=settings["network"], only=settings.get("only"), loss=settings.get("loss"))
    _check_tasks(path, content, variant.task_names)
    network = _network(path, content, partial(build_network, variant))
    return TrainedNetwork(network, content.tasks, settings, content.epoch, content.precision, problem=variant)


def _of_table(path: Path, content: ModelFile, transform: TableTransform) -> TrainedNetwork:
    targets = [target.name for target in transform.targets]
    _check_tasks(path, content, targets if content.settings.get("only") is None else content.tasks)
    name = content.settings["network"]
    network = _network(
        path, content, transform.network if name == OWN else lambda: NetworkSpec.parse(name).build(transform.parts())
    )
    return TrainedNetwork(network, content.tasks, content.settings, content.epoch, content.precision, transform=transform)


def _check_tasks(path: Path, content: ModelFile, tasks: Sequence[str]) -> None:
    if content.tasks != tuple(tasks):
        raise InputError(
            f"{path} was trained for the tasks {', '.join(content.tasks)}; its problem now has {', '.join(tasks)}."
        )


def model_path(run: Path) -> Path:
    """The file of the trained network in a run's folder, or the file itself.

    Raises:
        InputError: there is none, or the folder has several.
    """
    if run.is_file():
        return run
    if not run.is_dir():
        raise InputError(f"There is no file or folder {run}.")
    if (path := run / MODEL).exists():
        return path
    kept = sorted((run / "models").glob("*.pt"))
    if not kept:
        raise InputError(
            f"There is no trained network in {run}. `hardfirst train` saves its network at the end of the run; "
            "`hardfirst compare` saves those of the best runs with --keep, and `hardfirst search` with --keep-networks."
        )
    if len(kept) > 1:
        raise InputError(f"{run} has {len(kept)} trained networks; choose one: {', '.join(map(str, kept))}.")
    return kept[0]


def _problem(path: Path, content: ModelFile, name: str | None) -> Problem:
    problem = load_problem(name or content.problem)
    trained_on = content.settings.get("problem_sha256")
    if name is None and trained_on is not None and digest(content.problem) != trained_on:
        raise InputError(
            f"{content.problem} has changed since {path} was trained. Restore it; or, if its network is still the same, say "
            f"so by naming the problem: load(…, problem={content.problem!r}), or --problem {content.problem}."
        )
    return problem


def _network(path: Path, content: ModelFile, build: Callable[[], nn.Module]) -> nn.Module:
    try:
        return content.restored(build)
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"The weights in {path} do not fit the network of {content.settings['problem']!r} as it is now: {error}. "
            "They may be from another version of hardfirst or of the problem's code."
        ) from None
