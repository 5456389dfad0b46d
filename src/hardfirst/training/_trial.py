"""The settings of a training run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hardfirst import records
from hardfirst.balancers import Spec
from hardfirst.errors import number, whole
from hardfirst.problems import OWN, Problem, digest, load_problem

# Part of every key. Raise it when the same settings no longer give the same run.
REVISION = 3


@dataclass(frozen=True)
class Trial:
    """Everything that determines a run's outcome: the same trial gives the same record.

    Args:
        problem: a built-in problem's name, or the path of a Python file.
        balancer: the balancer's spec.
        seed: determines the initial weights and the order of the data.
        epochs: passes over the training split.
        learning_rate: Adam's.
        network: which of the problem's networks.
        only: the one task to train, for a single-task network; None for all.
        loss: another loss of that task, by its name in `Task.losses`.
        criterion: how the best epoch is chosen on the validation split: by the "mean" of the tasks' KPIs, or by the KPI of
            the "worst" task.
        test: whether the test split is evaluated at the end. A run that only serves to choose settings never sees it.
    """

    problem: str
    balancer: Spec
    seed: int
    epochs: int
    learning_rate: float
    network: str = OWN
    only: str | None = None
    loss: str | None = None
    criterion: Literal["mean", "worst"] = "mean"
    test: bool = True

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
        loaded: Problem | None = None,
    ) -> "Trial":
        """Plan a trial: check all settings, with the problem's defaults where none are given.

        Raises:
            InputError: there is no such problem, or an option is out of range.
        """
        loaded = loaded or load_problem(problem)
        network = str(loaded.network_spec(network) or network)
        balancer.build(loaded.task_names)
        epochs = loaded.epochs if epochs is None else whole("epochs", epochs, least=1)
        learning_rate = loaded.learning_rate if learning_rate is None else number("learning_rate", learning_rate, above=0)
        return cls(problem, balancer, whole("seed", seed, least=0), epochs, learning_rate, network)

    def load(self) -> Problem:
        """The problem as this trial trains it.

        Raises:
            InputError: the problem no longer exists, or has no such network or task.
        """
        return self.of(load_problem(self.problem))

    def of(self, problem: Problem) -> Problem:
        """The loaded problem as this trial trains it."""
        return problem.variant(network=self.network, only=self.only, loss=self.loss)

    def describe(self, problem: Problem) -> dict[str, Any]:
        """The settings for the record. The user's files enter by the hashes of their bytes, not by their folders."""
        balancer, file = self.balancer, self.balancer.file
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
        # only for a class in a file, so that the keys of all other trials stay as they are
        return settings if file is None else {**settings, "balancer_sha256": balancer.sha256}

    def key(self, problem: Problem) -> str:
        """The name of the trial's record: a hash of everything that determines its outcome."""
        return records.record_key({**self.describe(problem), "revision": REVISION})
