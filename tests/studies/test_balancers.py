"""Which trials a study wants, and what waits for the outcome of others. Nothing is trained here."""

import math
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import torch.nn.functional as F
from torch import nn

from hardfirst.errors import InputError
from hardfirst.kpi import accuracy
from hardfirst.problems import PROBLEMS, Problem, Task
from hardfirst.records import Record
from hardfirst.records.names import GRID
from hardfirst.studies import Plan, StudyTrial, counts
from hardfirst.studies.kinds.balancers import BalancerStudy
from hardfirst.studies.tuning import SEED
from hardfirst.training import Trial

ValidationKPI = Callable[[Trial, str], float]


def problem(tasks: str) -> Problem:
    return Problem(
        "toy",
        tuple(Task(task, F.cross_entropy, accuracy if task.islower() else None) for task in tasks),
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
    """A study of balancers whose trials end when a test says so, each with the validation KPI that the test gives it."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.records = plan, dict[str, Record]()
        self.case = BalancerStudy(plan, plan.cases[0], self.records.get)

    def trials(self, **wanted: object) -> list[StudyTrial]:
        return [run for run in self.case.trials() if all(getattr(run, name) == value for name, value in wanted.items())]

    def end(
        self,
        trials: list[StudyTrial],
        kpi: Callable[[Trial, str], float] = lambda trial, task: 0.5,
        outcome: str = "finished",
    ) -> None:
        for run in trials:
            tasks = [run.trial.only] if run.trial.only else list(self.case.tasks)
            weights = {"a": 3.0, "b": 1.0, "c": 2.0, "B": 1.0}
            line = {task: {"validation_kpi": kpi(run.trial, task), "weight": weights[task]} for task in tasks}
            made = Record(trial={}, tasks=tuple(tasks), epochs=[{"epoch": 1, "tasks": line}], outcome=outcome)
            self.records[run.key] = made

    def end_all(self, kpi: ValidationKPI = lambda trial, task: 0.5) -> Iterator[list[StudyTrial]]:
        """Round after round, all that can be run."""
        while new := [run for run in self.trials() if run.key not in self.records]:
            yield new
            self.end(new, kpi)


def test_without_tuning_baselines_or_controls_there_are_the_methods_alone(toy: Callable[..., Study]) -> None:
    trials = toy("equal,dtp", baselines=False, controls=False).trials()
    assert [(run.method, run.trial.seed) for run in trials] == [("equal", 0), ("dtp", 0), ("equal", 1), ("dtp", 1)]
    assert {(run.role, run.tuning, run.trial.test, run.trial.learning_rate) for run in trials} == {
        ("method", False, True, 0.01)
    }


def test_the_baselines(toy: Callable[..., Study]) -> None:
    study = toy("dwa")
    rounds = list(study.end_all())
    assert Counter((run.method, run.tuning) for run in rounds[0]) == {
        ("equal", False): 2,
        ("dwa", False): 2,
        ("single-task", False): 6,
        ("grid of static weights", True): 7,  # the centre, three tasks, three pairs
    }
    assert {run.trial.only for run in rounds[0] if run.role == "single"} == {"a", "b", "c"}
    assert len(rounds) == 1, "equal weights were the best of the grid, and have run already"
    assert Counter(run.method for run in study.trials(tuning=False)) == {
        "equal": 2,
        "dwa": 2,
        "single-task": 6,
        "static weights (worst task)": 2,
        "static weights (mean)": 2,
    }


@pytest.mark.parametrize("criterion", ["mean", "worst"])
@pytest.mark.parametrize(
    ("lifted", "for_mean", "for_worst"),
    [
        ({"b": (0.9, 0.9, 0.9)}, "b", "b"),
        ({"b": (0.5, 0.9, 0.5), "c": (0.6, 0.6, 0.6)}, "b", "c"),
        ({"b": (0.4, 0.9, 0.4)}, "b", None),  # equal weights have the best worst task
    ],
)
def test_static_weights_are_chosen_on_validation_for_each_measure(
    toy: Callable[..., Study], criterion: str, lifted: dict[str, tuple[float, ...]], for_mean: str, for_worst: str | None
) -> None:
    def kpi(trial: Trial, task: str) -> float:
        point = next((name for name in lifted if trial.balancer.option(f"weights.{name}") == 2.0), None)
        return lifted[point]["abc".index(task)] if point and not trial.only else 0.5

    study = toy("equal", criterion=criterion)
    for _ in study.end_all(kpi):
        pass
    for name, point in (("static weights (mean)", for_mean), ("static weights (worst task)", for_worst)):
        runs = study.trials(method=name, tuning=False)
        assert [run.trial.seed for run in runs] == [0, 1]
        assert {run.trial.balancer.option(f"weights.{point}") for run in runs} == {2.0 if point else None}
    keys = {run.key for run in study.trials(role="static", tuning=False)}
    assert len(keys) == 2 * len({for_mean, for_worst}), "the same weights run once"


def test_a_criterion_of_hard_tasks_waits_for_the_run_that_measures_them(toy: Callable[..., Study]) -> None:
    study = toy("equal,dtp", criterion="hard", tune=2)
    rounds = list(study.end_all(lambda trial, task: {"a": 0.9, "b": 0.5, "c": 0.6}[task]))
    (first,) = rounds[0]
    assert (first.method, first.role, first.tuning, first.trial.balancer.name) == ("hard tasks", "order", True, "equal")
    assert (first.trial.criterion, first.trial.test) == ("mean", False)
    assert study.case.count()["hard tasks"] == (1, 0)
    assert {run.trial.criterion for run in study.trials(role="method")} == {"b,c"}
    assert {run.trial.criterion for run in study.trials(role="single")} == {"mean"}, "which is the task's KPI"
    names = {"static weights (mean)", "static weights (worst task)", "static weights (criterion)"}
    assert {run.method for run in study.trials(role="static", tuning=False)} == names


def test_hard_tasks_that_no_run_could_measure_get_a_sentence(toy: Callable[..., Study]) -> None:
    study = toy("equal", criterion="hard")
    study.end(study.trials(), outcome="diverged")
    with pytest.raises(InputError, match="The hard tasks of the criterion 'hard' are unknown, since the run that measures"):
        study.trials()


def test_static_weights_are_chosen_by_the_criterion_as_well(toy: Callable[..., Study]) -> None:
    study = toy("equal", criterion="0.8*a+0.2*b", controls=False)
    for _ in study.end_all(
        lambda trial, task: 0.9 if trial.balancer.option(f"weights.{task}") == 2.0 and task == "a" else 0.5
    ):
        pass
    runs = study.trials(method="static weights (criterion)", tuning=False)
    assert [run.trial.balancer.option("weights.a") for run in runs] == [2.0, 2.0]


def test_one_task_with_a_kpi_has_static_weights_for_one_measure(toy: Callable[..., Study]) -> None:
    study = toy("equal", "aB")  # capitals are auxiliary
    for _ in study.end_all():
        pass
    assert {run.method for run in study.trials(role="static", tuning=False)} == {"static weights"}


def test_each_method_chooses_in_the_ranges_of_the_recipe(toy: Callable[..., Study]) -> None:
    study = toy("dtp", tune=3, clip="0.1..10", optimizer="sgd:momentum=0.5..0.9", loaders=1)

    def kpi(trial: Trial, task: str) -> float:  # equal weights do best with the least clip, the others with the greatest
        sign = -1 if trial.balancer.name == "equal" and trial.only is None else 1
        return float(0.5 + sign * dict(trial.recipe)["clip"] / 100)

    for _ in study.end_all(kpi):
        pass
    tried: dict[str, list[object]] = {}
    for run in study.trials(tuning=True, role="method"):
        tried.setdefault(run.method, []).append(run.trial.recipe)
    assert tried["dtp"] == tried["equal"]
    assert len(set(tried["dtp"])) == 3
    assert {dict(run.trial.recipe)["loaders"] for run in study.trials()} == {1}
    chosen = {run.method: dict(run.trial.recipe)["clip"] for run in study.trials(tuning=False)}
    clips = sorted({dict(run.trial.recipe)["clip"] for run in study.trials(method="dtp", tuning=True)})
    static = {"static weights (mean)", "static weights (worst task)"}
    assert chosen == {method: clips[0] if method in {"equal", *static} else clips[-1] for method in chosen}
    assert {"equal", "dtp", *static, "single-task", "easy first"} <= chosen.keys()


def test_every_method_is_tuned_with_as_many_trials_on_a_seed_of_their_own(toy: Callable[..., Study]) -> None:
    study = toy("dtp,dwa", tune=5)
    first = study.trials()
    assert {(run.trial.seed, run.trial.test) for run in first if run.tuning} == {(SEED, False)}
    assert Counter(run.method for run in first) == {"equal": 5, "dtp": 5, "dwa": 5, "single-task": 15}
    assert not study.trials(tuning=False), "no seed is reported on before the settings are chosen"
    # the highest learning rate is the best for dwa, the lowest for all else
    sign = {"dwa": 1}
    for _ in study.end_all(lambda trial, task: 0.5 + sign.get(trial.balancer.name, -1) * trial.learning_rate):
        pass
    rates = {run.method: run.trial.learning_rate for run in study.trials(tuning=False)}
    assert rates == dict.fromkeys(rates, 0.001) | {"dwa": 0.1}
    options = {str(run.trial.balancer) for run in study.trials(method="dwa", tuning=False)}
    assert options == {str(study.trials(method="dwa", tuning=True)[-1].trial.balancer)}
    assert not {run.trial for run in study.trials(tuning=True)} & {run.trial for run in study.trials(tuning=False)}


def test_a_method_starts_when_its_own_tuning_has_ended(toy: Callable[..., Study]) -> None:
    study = toy("equal,dwa", tune=3, baselines=False)
    tuning = study.trials(method="dwa", tuning=True)
    study.end(tuning[:2])
    assert not study.trials(tuning=False)
    study.end(tuning[2:], outcome="failed")
    assert {run.method for run in study.trials(tuning=False)} == {"dwa"}


def test_potentials_are_validation_kpis_of_single_task_networks_with_the_same_seed(toy: Callable[..., Study]) -> None:
    study = toy("dtp:potential=stl", controls=False)
    assert not study.trials(method="dtp:potential=stl")

    def kpi(trial: Trial, task: str) -> float:
        return {"a": 0.9, "b": 0.001, "c": math.nan}[task] - 0.1 * trial.seed * (task == "a")

    study.end(study.trials(role="single"), kpi)
    reported = study.trials(method="dtp:potential=stl")
    assert [str(run.trial.balancer) for run in reported] == [
        "dtp:potential.a=0.9,potential.b=0.01",
        "dtp:potential.a=0.8,potential.b=0.01",
    ]


def test_potentials_while_tuning_come_from_the_tuning_seed(toy: Callable[..., Study]) -> None:
    study = toy("dtp:potential=stl", tune=3, controls=False)
    study.end(study.trials(role="single", tuning=True), lambda trial, task: 10 * trial.learning_rate)
    tuning = study.trials(method="dtp:potential=stl")
    assert len(tuning) == 3
    assert {(run.tuning, run.trial.balancer.option("potential.a")) for run in tuning} == {(True, 1.0)}
    study.end(tuning)
    study.end(study.trials(role="single", tuning=False), lambda trial, task: 0.25)
    reported = study.trials(method="dtp:potential=stl", tuning=False)
    assert {run.trial.balancer.option("potential.a") for run in reported} == {0.25}


def test_single_task_networks_run_for_potentials_even_without_baselines(toy: Callable[..., Study]) -> None:
    assert len(toy("dtp:potential=stl", baselines=False).trials(role="single")) == 6


def test_controls_differ_from_their_dtp_in_one_thing(toy: Callable[..., Study]) -> None:
    study = toy("dwa,dtp:uniform=0.5,dtp", baselines=False)
    assert {run.method for run in study.trials(role="control")} == {"easy first", "raw weights"}
    study.end(study.trials(role="method"))
    controls = {run.method: str(run.trial.balancer) for run in study.trials(role="control")}
    assert controls == {
        "easy first": "dtp:priority=easy,uniform=0.5",
        "raw weights": "dtp:normalize=false",
        "frozen average": "fixed:normalize=true,weights.a=1.5,weights.b=0.5,weights.c=1.0",
    }
    assert not toy("dwa", baselines=False).trials(role="control")
    assert not toy("dtp", controls=False).trials(role="control")
    own = toy("dtp:normalize=false,priority=easy", baselines=False)
    assert {run.method for run in own.trials(role="control")} == set()
    own.end(own.trials())
    assert {run.method for run in own.trials(role="control")} == {"frozen average"}


def test_what_diverged_is_not_frozen(toy: Callable[..., Study]) -> None:
    study = toy("dtp", baselines=False)
    study.end(study.trials(role="method"), outcome="diverged")
    assert "frozen average" not in {run.method for run in study.trials()}


def test_of_two_tasks_the_whole_grid_is_shown(toy: Callable[..., Study]) -> None:
    study = toy("equal", "ab")
    for _ in study.end_all():
        pass
    grid = study.trials(role="grid")
    assert len(grid) == 4 * 2, "equal weights run as such"
    assert {run.trial.seed for run in grid} == {0, 1}


def test_one_task_has_no_baselines_but_equal_weights(toy: Callable[..., Study]) -> None:
    assert {run.method for run in toy("dtp", "a").trials()} == {"equal", "dtp"}


@pytest.mark.parametrize("tasks", ["a", "ab", "abc"])
@pytest.mark.parametrize("settings", [{}, {"tune": 3}, {"baselines": False}, {"controls": False}])
def test_the_count_is_what_will_be_run(toy: Callable[..., Study], tasks: str, settings: dict) -> None:
    study = toy("equal,dwa,dtp,dtp:potential=stl" if len(tasks) > 1 else "equal,dwa,dtp", tasks, **settings)
    for _ in study.end_all(lambda trial, task: 0.5 + (0.1 if trial.balancer.name == "fixed" else 0)):
        pass
    planned = counts(study.plan)
    trials = Counter((GRID if run.role == "grid" else run.method, run.tuning) for run in study.trials())
    assert {method: (trials[method, True], trials[method, False]) for method in planned} == planned


def test_study_json_says_what_each_trial_is(toy: Callable[..., Study]) -> None:
    study = toy("dtp", tune=2)
    for _ in study.end_all():
        pass
    case = study.case.entries()
    assert (case.problem, case.network) == ("toy", "own")
    assert Counter((entry.role, entry.tuning) for entry in case.trials) == Counter(
        (j.role, j.tuning) for j in study.trials()
    )
    assert {entry.key for entry in case.trials} == set(study.records)
