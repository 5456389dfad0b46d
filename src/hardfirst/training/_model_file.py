"""The file of a trained network: its weights, and what is needed to build it again."""

import json
import pickle
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hardfirst.errors import InputError
from hardfirst.problems import Problem
from hardfirst.records import versions
from hardfirst.training._checkpoint import first_lines, save
from hardfirst.training._network import Weights, difference, has_lazy
from hardfirst.training._randomness import forked_randomness
from hardfirst.training._trial import Trial

FORMAT = 1


@dataclass(frozen=True)
class ModelFile:
    """The content of a file of a trained network.

    Args:
        problem: the name or path by which `load_problem` finds the problem.
        settings: the run's, as in its record.
        precision: the recipe's.
        tasks: the names of the tasks.
        epoch: the epoch whose weights these are.
        weights: the network's `state_dict`.
        versions: of the packages that trained it.
        table: the table's transform as JSON; None if the problem is no table.
    """

    problem: str
    settings: Mapping[str, Any]
    precision: str
    tasks: tuple[str, ...]
    epoch: int
    weights: Weights
    versions: Mapping[str, str]
    table: str | None = None

    def restored(self, build: Callable[[], nn.Module]) -> nn.Module:
        """The network that a function builds, with these weights and in evaluation mode.

        Raises:
            ValueError: the weights do not fit it.
        """
        with forked_randomness():  # the weights that it begins with are random, and replaced
            network = build()
        if not has_lazy(network) and (reason := difference(self.weights, network)):
            raise ValueError(reason)
        try:
            network.load_state_dict(self.weights)
        except (RuntimeError, TypeError, LookupError, AttributeError) as error:
            raise ValueError(first_lines(error)) from error
        return network.eval()


def save_model(path: Path, trial: Trial, problem: Problem, *, epoch: int, weights: Weights) -> None:
    """Write the file of a trained network by atomic rename.

    Args:
        path: the file.
        trial: the run's settings.
        problem: as the trial trains it.
        epoch: the epoch whose weights these are.
        weights: the network's `state_dict`.

    Raises:
        InputError: the folder cannot be written to.
    """
    about = {
        "problem": trial.problem,
        "settings": trial.describe(problem),
        "precision": problem.recipe.precision,
        "tasks": problem.task_names,
        "epoch": epoch,
        "versions": versions(),
        "table": problem.transform and problem.transform.to_json(),
    }
    on_cpu = {name: value.cpu() if isinstance(value, Tensor) else value for name, value in weights.items()}
    save(path, {"format": FORMAT, "about": json.dumps(about), "weights": on_cpu})


def read_model(path: Path) -> ModelFile:
    """Read the file of a trained network, without executing code from the file.

    Raises:
        InputError: the file is missing or damaged, is no such file, or is from a newer hardfirst.
    """
    try:
        with warnings.catch_warnings():  # torch warns about files that are no archive
            warnings.simplefilter("ignore")
            state: Any = torch.load(path, weights_only=True, map_location="cpu")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None
    except pickle.UnpicklingError:
        raise InputError(
            f"{path} is damaged, or holds more than tensors and numbers; that is not loaded, since it could run code."
        ) from None
    except Exception as error:  # torch and pickle raise errors of many types for files that are no archive
        raise InputError(f"{path} is damaged ({type(error).__name__}); train the network again.") from None
    if not isinstance(state, dict) or not {"format", "about", "weights"} <= state.keys():
        raise InputError(f"{path} is no trained network; `hardfirst train` writes one, model.pt.")
    if isinstance(state["format"], int) and state["format"] > FORMAT:
        raise InputError(f"{path} was written by a newer hardfirst; upgrade hardfirst.")
    try:
        return _parsed(json.loads(state["about"]), state["weights"])
    except (TypeError, ValueError, LookupError, AttributeError, RecursionError):
        raise InputError(f"{path} is damaged: it does not say what was trained. Train the network again.") from None


def _parsed(about: Any, weights: Any) -> ModelFile:
    kinds = {"problem": str, "settings": dict, "precision": str, "tasks": list, "epoch": int, "versions": dict}
    for name, kind in kinds.items():
        if type(about[name]) is not kind:
            raise TypeError(name)
    settings = about["settings"]
    texts = [settings["problem"], settings["balancer"], settings["network"], *about["tasks"]]
    texts += [text for name in ("only", "loss", "problem_sha256") if (text := settings.get(name)) is not None]
    texts += [] if about["table"] is None else [about["table"]]
    if not all(isinstance(text, str) for text in texts) or not isinstance(weights, dict):
        raise TypeError
    return ModelFile(**{**about, "tasks": tuple(about["tasks"])}, weights=weights)
