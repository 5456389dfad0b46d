"""The settings of a training run."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hardfirst import records
from hardfirst._user_file import modules_sha256
from hardfirst.balancers import Spec
from hardfirst.errors import InputError, check_names, number, whole
from hardfirst.problems import OWN, Problem, Published, digest, load_problem, modules_digest
from hardfirst.recipes import Recipe
from hardfirst.records.objective import Objective
from hardfirst.training._protocol import HELD_OUT, PROTOCOLS, PUBLISHED, check_published, published_of

# Part of every key. Increase it when the same settings no longer give the same run.
REVISION = 3


@dataclass(frozen=True)
class Trial:
    """Everything that determines a run's outcome: the same trial gives the same record.

    Args:
        problem: a built-in problem's name, or the path of a Python file.
        balancer: the balancer's spec.
        seed: determines the initial weights and the order of the data.
        epochs: the number of passes over the training split.
        learning_rate: the optimizer's learning rate, the highest if a schedule changes it.
        network: the name of one of the problem's networks.
        only: the one task to train, for a single-task network; None for all.
        loss: another loss of that task, by its name in `Task.losses`.
        criterion: the text of the `Objective` by which the best epoch is selected on the validation split, such as "mean"
            or "worst".
        test: whether the test split is evaluated at the end. A run that only serves to choose settings never sees it.
        recipe: the parts of the problem's recipe that this trial changes, by name.
        protocol: "held_out" to select the epoch on a validation split; or "published", see `Problem.published`.
    """

    problem: str
    balancer: Spec
    seed: int
    epochs: int
    learning_rate: float
    network: str = OWN
    only: str | None = None
    loss: str | None = None
    criterion: str = "mean"
    test: bool = True
    recipe: tuple[tuple[str, Any], ...] = ()
    protocol: str = HELD_OUT

    @classmethod
    def plan(
        cls,
        problem: str,
        balancer: Spec,
        *,
        seed: int = 0,
        epochs: int | None = None,
        learning_rate: float | None = None,
        network: str = OWN,
        criterion: str = "mean",
        recipe: Mapping[str, Any] = MappingProxyType({}),
        protocol: str = HELD_OUT,
        loaded: Problem | None = None,
    ) -> "Trial":
        """Plan a trial: check all settings, and fill in the problem's defaults.

        Raises:
            InputError: there is no such problem or protocol, the criterion is no objective over the problem's tasks, or an
                option is out of range.
        """
        loaded = loaded or load_problem(problem)
        network = str(loaded.network_spec(network) or network)
        balancer.build(loaded.task_names)
        epochs = loaded.epochs if epochs is None else whole("epochs", epochs, least=1)
        learning_rate = loaded.learning_rate if learning_rate is None else number("learning_rate", learning_rate, above=0)
        merged = loaded.recipe.replace(recipe)
        changes = tuple((name, getattr(merged, name)) for name in sorted(recipe))
        check_names("protocol", [protocol], PROTOCOLS)
        if protocol == PUBLISHED:
            check_published(replace(loaded, recipe=merged), balancer, network, criterion)
        seed = whole("seed", seed, least=0)
        criterion = Objective.parse(criterion, loaded.measured).text
        return cls(
            problem, balancer, seed, epochs, learning_rate, network, criterion=criterion, recipe=changes, protocol=protocol
        )

    @property
    def from_file(self) -> bool:
        """Whether the problem comes from a Python file, which may read data that is not part of the trial's key."""
        return self.problem.endswith(".py")

    def alone(self, task: str) -> "Trial":
        """The trial with this task alone, whose KPI then is every objective."""
        criterion = self.criterion if self.criterion in ("mean", "worst") else "mean"
        return replace(self, only=task, criterion=criterion)

    def load(self) -> Problem:
        """Load the problem as this trial trains it.

        Raises:
            InputError: the problem no longer exists, or has no such network or task.
        """
        return self.of(load_problem(self.problem))

    def of(self, problem: Problem) -> Problem:
        """Return the loaded problem as this trial trains it."""
        variant = problem.variant(network=self.network, only=self.only, loss=self.loss)
        if self.protocol == PUBLISHED:
            variant = published_of(variant).applied(variant)
        return replace(variant, recipe=self.recipe_of(problem)) if self.recipe else variant

    def check_criterion(self, problem: Problem) -> None:
        """Raise `InputError` unless the criterion is an objective over the tasks of the problem, as `of` returns it."""
        if Objective.parse(self.criterion, problem.measured).needs_hard:
            raise InputError(
                f"The criterion {self.criterion!r} does not say which tasks are hard: name them, or see `with_hard_tasks`."
            )

    def recipe_of(self, problem: Problem) -> Recipe:
        """Return the loaded problem's recipe with this trial's changes."""
        return problem.recipe.replace(dict(self.recipe))

    def published_of(self, problem: Problem) -> Published | None:
        """Return the published protocol if the trial uses it, else None."""
        return published_of(problem) if self.protocol == PUBLISHED else None

    def describe(self, problem: Problem) -> dict[str, Any]:
        """Return the settings for the record, with the problem as `of` returns it.

        The user's files, and the local modules that they import, are identified by the hashes of their bytes, not by their
        folders.
        """
        balancer, file, published = self.balancer, self.balancer.file, self.published_of(problem)
        settings = {
            "problem": problem.name,
            "problem_sha256": digest(self.problem),
            "network": self.network,
            "only": self.only,
            "loss": self.loss,
            "balancer": str(balancer if file is None else balancer.with_file(Path(file.name))),
            "seed": self.seed,
            "epochs": self.epochs,
            "learning_rate": self.learning_rate,
            "batch_size": problem.batch_size,
            "criterion": self.criterion,
            "test": self.test,
        }
        further = {
            "recipe": problem.recipe.settings() or None,
            "protocol": self.protocol if published else None,
            "last_epochs": published and published.last,
            "problem_modules_sha256": modules_digest(self.problem),
            "balancer_sha256": balancer.sha256,
            "balancer_modules_sha256": None if file is None else modules_sha256(file),
        }
        # only settings that are set, so that the keys of all other trials do not change
        return settings | {name: value for name, value in further.items() if value is not None}

    def key(self, problem: Problem) -> str:
        """Return the name of the trial's record: a hash of everything that determines its outcome."""
        return trial_key(self.describe(problem))


def trial_key(settings: Mapping[str, Any]) -> str:
    """Return the name of the record of a trial with these settings, as `Trial.describe` returns them."""
    return records.record_key({**settings, "revision": REVISION})
