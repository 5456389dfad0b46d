"""`load`: read the trained network of a run."""

from pathlib import Path

from torch import nn

from hardfirst.errors import InputError
from hardfirst.problems import Problem, digest, load_problem
from hardfirst.trained._network import TrainedNetwork
from hardfirst.training import ModelFile, read_model

MODEL = "model.pt"
"""The name of the trained network in the folder of `hardfirst train`."""


def load(run: str | Path, *, problem: str | Problem | None = None) -> TrainedNetwork:
    """Load a trained network.

    A network of a problem in a Python file needs that file: it is run, as `load_problem` does.

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
    found = problem if isinstance(problem, Problem) else _problem(path, content, problem)
    settings = content.settings
    variant = found.variant(network=settings["network"], only=settings.get("only"), loss=settings.get("loss"))
    if variant.task_names != content.tasks:
        raise InputError(
            f"{path} was trained for the tasks {', '.join(content.tasks)}; problem {variant.name!r} now has "
            f"{', '.join(variant.task_names)}."
        )
    return TrainedNetwork(_network(path, variant, content), variant, settings, content.epoch, content.precision)


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
            "`hardfirst compare` saves those of the best runs with --keep."
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


def _network(path: Path, problem: Problem, content: ModelFile) -> nn.Module:
    try:
        return content.network(problem)
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"The weights in {path} do not fit the network of problem {problem.name!r} as it is now: {error}. They may be "
            "from another version of hardfirst or of the problem's code."
        ) from None
