"""Which trials a study wants, and what waits for the outcome of others. Nothing is trained here."""

import math
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import torch.nn.functional as F
from torch import nn

from hardfirst.kpi import accuracy
from hardfirst.problems import PROBLEMS, Problem, Task
from hardfirst.records import Record
from hardfirst.records.names import GRID
from hardfirst.studies import Job, Plan, Schedule, counts
from hardfirst.studies.tuning import SEED
from hardfirst.training import Trial

ValidationKPI = Callable[[Trial, str], float]


def problem(tasks: str) -> Problem:
    return Problem(
        "toy",
        tuple(Task(task, F.cross_entropy, accuracy) for task in tasks),
        network=lambda: nn.Linear(1, 1),
        data=lambda: None,  # type: ignore[arg-type, return-value]
        learning_rate=0.01,
    )


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Callable[..., "Study"]:
    def make(balancers: str, tasks: str = "abc", **settings: object) -> "Study":
        monkeypatch.setitem(PROBLEMS.loaded, "toy", lambda: problem(tasks))
        return Study(Plan(**{"problems": "toy", "balancers": balancers, "seeds": 2, **settings}))

    return make


class Study:
    """A schedule whose trials end at a word, each with the validation KPI that a test gives it."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.records = plan, dict[str, Record]()
        self.schedule = Schedule(plan, plan.cases[0], self.records.get)

    def jobs(self, **wanted: object) -> list[Job]:
        return [job for job in self.schedule.jobs() if all(getattr(job, name) == value for name, value in wanted.items())]

    def end(
        self, jobs: list[Job], kpi: Callable[[Trial, str], float] = lambda trial, task: 0.5, outcome: str = "finished"
    ) -> None:
        for job in jobs:
            tasks = [job.trial.only] if job.trial.only else list(self.schedule.tasks)
            weights = {"a": 3.0, "b": 1.0, "c": 2.0}
            line = {task: {"validation_kpi": kpi(job.trial, task), "weight": weights[task]} for task in tasks}
            made = Record(trial={}, tasks=tuple(tasks), epochs=[{"epoch": 1, "tasks": line}], outcome=outcome)
            self.records[self.schedule.key(job.trial)] = made

    def end_all(self, kpi: ValidationKPI = lambda trial, task: 0.5) -> Iterator[list[Job]]:
        """Round after round, all that can be run."""
        while new := [job for job in self.jobs() if self.schedule.key(job.trial) not in self.records]:
            yield new
            self.end(new, kpi)


def test_without_tuning_baselines_or_controls_there_are_the_methods_alone(toy: Callable[..., Study]) -> None:
    jobs = toy("equal,dtp", baselines=False, controls=False).jobs()
    assert [(job.method, job.trial.seed) for job in jobs] == [("equal", 0), ("dtp", 0), ("equal", 1), ("dtp", 1)]
    assert {(job.role, job.tuning, job.trial.test, job.trial.learning_rate) for job in jobs} == {
        ("method", False, True, 0.01)
    }


def test_the_baselines(toy: Callable[..., Study]) -> None:
    study = toy("dwa")
    rounds = list(study.end_all())
    assert Counter((job.method, job.tuning) for job in rounds[0]) == {
        ("equal", False): 2,
        ("dwa", False): 2,
        ("single-task", False): 6,
        ("static weights", True): 7,  # the centre, three tasks, three pairs
    }
    assert {job.trial.only for job in rounds[0] if job.role == "single"} == {"a", "b", "c"}
    assert len(rounds) == 1, "equal weights were the best of the grid, and have run already"
    assert Counter(job.method for job in study.jobs(tuning=False)) == {
        "equal": 2,
        "dwa": 2,
        "single-task": 6,
        "static weights": 2,
    }


def test_static_weights_are_chosen_on_validation(toy: Callable[..., Study]) -> None:
    study = toy("equal")
    for _ in study.end_all(lambda trial, task: 0.9 if trial.balancer.option("weights.b") == 2.0 else 0.5):
        pass
    static = study.jobs(method="static weights", tuning=False)
    assert [str(job.trial.balancer) for job in static] == [
        "fixed:normalize=true,weights.a=0.5,weights.b=2.0,weights.c=0.5"
    ] * 2
    assert [job.trial.seed for job in static] == [0, 1]


def test_every_method_is_tuned_with_as_many_trials_on_a_seed_of_their_own(toy: Callable[..., Study]) -> None:
    study = toy("dtp,dwa", tune=5)
    first = study.jobs()
    assert {(job.trial.seed, job.trial.test) for job in first if job.tuning} == {(SEED, False)}
    assert Counter(job.method for job in first) == {"equal": 5, "dtp": 5, "dwa": 5, "single-task": 15}
    assert not study.jobs(tuning=False), "no seed is reported on before the settings are chosen"
    # the highest learning rate is the best for dwa, the lowest for all else
    sign = {"dwa": 1}
    for _ in study.end_all(lambda trial, task: 0.5 + sign.get(trial.balancer.name, -1) * trial.learning_rate):
        pass
    rates = {job.method: job.trial.learning_rate for job in study.jobs(tuning=False)}
    assert rates == dict.fromkeys(rates, 0.001) | {"dwa": 0.1}
    options = {str(job.trial.balancer) for job in study.jobs(method="dwa", tuning=False)}
    assert options == {str(study.jobs(method="dwa", tuning=True)[-1].trial.balancer)}
    assert not {job.trial for job in study.jobs(tuning=True)} & {job.trial for job in study.jobs(tuning=False)}


def test_a_method_starts_when_its_own_tuning_has_ended(toy: Callable[..., Study]) -> None:
    study = toy("equal,dwa", tune=3, baselines=False)
    tuning = study.jobs(method="dwa", tuning=True)
    study.end(tuning[:2])
    assert not study.jobs(tuning=False)
    study.end(tuning[2:], outcome="failed")
    assert {job.method for job in study.jobs(tuning=False)} == {"dwa"}


def test_potentials_are_validation_kpis_of_single_task_networks_with_the_same_seed(
    toy: Callable[..., Study],
) -> None:
    study = toy("dtp:potential=stl", controls=False)
    assert not study.jobs(method="dtp:potential=stl")

    def kpi(trial: Trial, task: str) -> float:
        return {"a": 0.9, "b": 0.001, "c": math.nan}[task] - 0.1 * trial.seed * (task == "a")

    study.end(study.jobs(role="single"), kpi)
    found = study.jobs(method="dtp:potential=stl")
    assert [str(job.trial.balancer) for job in found] == [
        "dtp:potential.a=0.9,potential.b=0.01",
        "dtp:potential.a=0.8,potential.b=0.01",
    ]


def test_potentials_while_tuning_come_from_the_tuning_seed(toy: Callable[..., Study]) -> None:
    study = toy("dtp:potential=stl", tune=3, controls=False)
    study.end(study.jobs(role="single", tuning=True), lambda trial, task: 10 * trial.learning_rate)
    tuning = study.jobs(method="dtp:potential=stl")
    assert len(tuning) == 3
    assert {(job.tuning, job.trial.balancer.option("potential.a")) for job in tuning} == {(True, 1.0)}
    study.end(tuning)
    study.end(study.jobs(role="single", tuning=False), lambda trial, task: 0.25)
    reported = study.jobs(method="dtp:potential=stl", tuning=False)
    assert {job.trial.balancer.option("potential.a") for job in reported} == {0.25}


def test_single_task_networks_run_for_potentials_even_without_baselines(toy: Callable[..., Study]) -> None:
    assert len(toy("dtp:potential=stl", baselines=False).jobs(role="single")) == 6


def test_controls_differ_from_their_dtp_in_one_thing(toy: Callable[..., Study]) -> None:
    study = toy("dwa,dtp:uniform=0.5,dtp", baselines=False)
    assert {job.method for job in study.jobs(role="control")} == {"easy first", "raw weights"}
    study.end(study.jobs(role="method"))
    controls = {job.method: str(job.trial.balancer) for job in study.jobs(role="control")}
    assert controls == {
        "easy first": "dtp:priority=easy,uniform=0.5",
        "raw weights": "dtp:normalize=false",
        "frozen average": "fixed:normalize=true,weights.a=1.5,weights.b=0.5,weights.c=1.0",
    }
    assert not toy("dwa", baselines=False).jobs(role="control")
    assert not toy("dtp", controls=False).jobs(role="control")
    own = toy("dtp:normalize=false,priority=easy", baselines=False)
    assert {job.method for job in own.jobs(role="control")} == set()
    own.end(own.jobs())
    assert {job.method for job in own.jobs(role="control")} == {"frozen average"}


def test_what_diverged_is_not_frozen(toy: Callable[..., Study]) -> None:
    study = toy("dtp", baselines=False)
    study.end(study.jobs(role="method"), outcome="diverged")
    assert "frozen average" not in {job.method for job in study.jobs()}


def test_of_two_tasks_the_whole_grid_is_shown(toy: Callable[..., Study]) -> None:
    study = toy("equal", "ab")
    for _ in study.end_all():
        pass
    grid = study.jobs(role="grid")
    assert len(grid) == 4 * 2, "equal weights run as such"
    assert {job.trial.seed for job in grid} == {0, 1}


def test_one_task_has_no_baselines_but_equal_weights(toy: Callable[..., Study]) -> None:
    assert {job.method for job in toy("dtp", "a").jobs()} == {"equal", "dtp"}


@pytest.mark.parametrize("tasks", ["a", "ab", "abc"])
@pytest.mark.parametrize("settings", [{}, {"tune": 3}, {"baselines": False}, {"controls": False}])
def test_the_count_is_what_will_be_run(toy: Callable[..., Study], tasks: str, settings: dict) -> None:
    study = toy("equal,dwa,dtp,dtp:potential=stl" if len(tasks) > 1 else "equal,dwa,dtp", tasks, **settings)
    for _ in study.end_all(lambda trial, task: 0.5 + (0.1 if trial.balancer.name == "fixed" else 0)):
        pass
    planned = counts(study.plan)
    jobs = Counter((GRID if job.role == "grid" else job.method, job.tuning) for job in study.jobs())
    assert {method: (jobs[method, True], jobs[method, False]) for method in planned} == planned


def test_study_json_says_what_each_trial_is(toy: Callable[..., Study]) -> None:
    study = toy("dtp", tune=2)
    for _ in study.end_all():
        pass
    found = study.schedule.entries()
    assert (found.problem, found.network) == ("toy", "own")
    assert Counter((entry.role, entry.tuning) for entry in found.trials) == Counter((j.role, j.tuning) for j in study.jobs())
    assert {entry.key for entry in found.trials} == set(study.records)
