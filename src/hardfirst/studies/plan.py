"""What a study is to run."""

from collections.abc import Sequence
from dataclasses import dataclass

from hardfirst.balancers import Spec
from hardfirst.errors import number
from hardfirst.problems import Problem, load_problem
from hardfirst.training import Trial


@dataclass(frozen=True)
class Plan:
    """Methods × seeds on one problem; methods share seeds, so that differences are paired.

    Args:
        problem: a built-in problem's name, or the path of a Python file.
        balancers: the methods.
        seeds: how many; they are 0, 1, 2, …, never chosen.
        epochs: None for the problem's own.
        learning_rate: None for the problem's own.

    Raises:
        InputError: a name is unknown, or an option out of range.
    """

    problem: str
    balancers: Sequence[Spec]
    seeds: int = 5
    epochs: int | None = None
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        number("seeds", self.seeds, least=1)

    def load(self) -> Problem:
        """The problem."""
        return load_problem(self.problem)

    def trials(self, problem: Problem) -> list[Trial]:
        """The trials, seed by seed, so that a study that is stopped has complete pairs."""
        return [
            Trial.plan(
                self.problem,
                balancer,
                seed=seed,
                epochs=self.epochs,
                learning_rate=self.learning_rate,
                loaded=problem,
            )
            for seed in range(self.seeds)
            for balancer in self.balancers
        ]
