"""Studies that train trials together: which ones, in what blocks, and what happens when that fails."""

import multiprocessing
import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from hardfirst.studies import Assignment, Drive, Ended, Event, Plan, Runner
from hardfirst.studies.executors import _together
from hardfirst.studies.executors._together import MOST
from hardfirst.studies.tuning import EQUAL
from hardfirst.training import Preview, Trial, preview
from toy_study import Scripted, finished, measured, plan, problem, run


def runner(folder: Path, **settings: object) -> Runner:
    return Runner(Plan(**plan(problem(folder), vectorize=True, **settings)), folder / "out")


def seeds(assignments: Iterable[Assignment]) -> list[list[tuple[str, int]]]:
    return [[(str(trial.balancer), trial.seed) for trial in each.trials.values()] for each in assignments]


def test_the_methods_of_ten_seeds_are_trained_together(tmp_path: Path) -> None:
    executor, events = run(runner(tmp_path, seeds=12), lambda assignment, attempt: finished(assignment))
    assert [[seed for _, seed in block] for block in seeds(executor.started)] == [2 * [*range(10)], [10, 11, 10, 11]]
    assert {method for block in seeds(executor.started) for method, _ in block} == {"dtp", "equal"}
    assert [event.what for event in events].count("finished") == 24


def test_methods_of_gradients_run_one_by_one(tmp_path: Path) -> None:
    executor, _ = run(runner(tmp_path, balancers="pcgrad"), lambda assignment, attempt: finished(assignment))
    assert [len(each.trials) for each in executor.started] == [1, 1]


def test_all_parts_of_a_study_are_trained_together(tmp_path: Path) -> None:
    """With tuning, the grid of static weights, single-task runs and controls, each trial is in the block of its kind."""
    settings = {"seeds": 3, "tune": 3, "baselines": True, "controls": True, "balancers": "equal,dtp,dtp:potential=stl"}
    whole = runner(tmp_path, **settings)
    executor, _ = run(whole, lambda assignment, attempt: finished(assignment))
    sizes = [len(each.trials) for each in executor.started]
    assert set(sizes) == {3, 4, 6, 9, 12}, "two tasks alone, three methods, four points of the grid"
    assert all(whole.store.ended(key) for key in whole.trials())


@pytest.mark.parametrize(("least", "sizes"), [(0.9, [2]), (0.4, [4]), (0.0, [])], ids=["one", "two", "equal"])
def test_the_static_weights_of_both_measures_are_a_block(tmp_path: Path, least: float, sizes: list[int]) -> None:
    """A point of the grid is the best one by both measures, or by the mean alone, or equal weights are the best ones."""
    path = Path(problem(tmp_path))
    path.write_text(path.read_text().replace('"ab"', '"abc"').replace('{"a":', '{"c": (inputs[:, 3] > 0).float(), "a":'))

    def kpi(trial: Trial, task: str) -> float:
        weights = dict(trial.balancer.options)
        if weights.get("weights.a", 1) > 1 and least:
            return 0.9 if task == "a" else least
        return 0.55 if weights.get("weights.b", 1) > 1 and least else 0.5

    whole = Runner(Plan(**plan(str(path), balancers="equal", baselines=True, vectorize=True)), tmp_path / "out")
    executor, _ = run(whole, lambda assignment, attempt: finished(assignment, kpi))
    static = [each for each in executor.started if each.trial.balancer.name == "fixed" and each.trial.seed < 2]
    assert [len(each.trials) for each in static] == sizes


def test_a_block_whose_trials_cannot_be_trained_together_runs_them_one_by_one(tmp_path: Path) -> None:
    def outcome(assignment: Assignment, attempt: int) -> Ended:
        together = len(assignment.trials) > 1
        return Ended(assignment.key, "singly", "its loss reads values") if together else finished(assignment)

    executor, events = run(runner(tmp_path, balancers="equal"), outcome)
    assert [len(each.trials) for each in executor.started] == [2, 1, 1]
    assert {event.reason for event in events if event.what == "singly"} == {"its loss reads values"}
    assert [event.what for event in events].count("finished") == 2


def test_single_task_runs_that_cannot_be_trained_together_run_by_task_first(tmp_path: Path) -> None:
    def outcome(assignment: Assignment, attempt: int) -> Ended:
        tasks = {trial.only for trial in assignment.trials.values()}
        refused = len(tasks) > 1 or (tasks == {"a"} and len(assignment.trials) > 1)
        return Ended(assignment.key, "singly", f"no labels of {tasks}") if refused else finished(assignment)

    executor, events = run(runner(tmp_path, balancers="equal", baselines=True), outcome)
    single = [len(each.trials) for each in executor.started if each.trial.only]
    assert single == [4, 2, 1, 1, 2]
    assert {event.reason for event in events if event.what == "singly"} == {"no labels of {'a'}"}


def test_a_block_whose_worker_keeps_dying_runs_its_trials_one_by_one(tmp_path: Path) -> None:
    def outcome(assignment: Assignment, attempt: int) -> Ended:
        return finished(assignment) if len(assignment.trials) == 1 else Ended(assignment.key, "died", "it fell over")

    executor, events = run(runner(tmp_path, balancers="equal"), outcome)
    assert [len(each.trials) for each in executor.started] == [2, 2, 2, 1, 1]
    assert [event.reason for event in events if event.what == "singly"] == ["it fell over, 3 times"] * 2


@pytest.mark.parametrize("lost", [0, 1])
def test_a_stopped_block_starts_again_as_a_whole_and_keeps_its_records(tmp_path: Path, lost: int) -> None:
    whole = runner(tmp_path, balancers="equal")
    run(whole, lambda assignment, attempt: finished(assignment))
    paths = sorted((whole.store.folder / "trials").glob("*.jsonl"))
    kept = paths[1 - lost].read_bytes()
    paths[lost].unlink()
    executor, _ = run(runner(tmp_path, balancers="equal"), lambda assignment, attempt: finished(assignment))
    assert seeds(executor.started) == [[("equal", 0), ("equal", 1)]]
    assert paths[1 - lost].read_bytes() == kept
    assert paths[lost].exists()


def test_more_seeds_train_the_new_runs_alone(tmp_path: Path) -> None:
    run(runner(tmp_path, balancers="equal", seeds=3), lambda assignment, attempt: finished(assignment))
    executor, _ = run(runner(tmp_path, balancers="equal", seeds=5), lambda assignment, attempt: finished(assignment))
    assert seeds(executor.started) == [[("equal", 3), ("equal", 4)]]


def test_a_block_is_divided_where_memory_is_short(tmp_path: Path) -> None:
    whole, executor = (
        runner(tmp_path, balancers="equal", seeds=5),
        Scripted(lambda assignment, attempt: finished(assignment)),
    )
    Drive(executor, whole.store, together=lambda trial: 2).run(
        lambda: {key: several[0] for key, several in whole.trials().items()}
    )
    assert seeds(executor.started) == [[("equal", 0)], [("equal", 1), ("equal", 2)], [("equal", 3), ("equal", 4)]]


@pytest.mark.parametrize(
    ("size", "reason", "together"), [(2**20, "", MOST), (2**40, "", 1), (0, "its loss reads values", 1)]
)
def test_how_many_trials_are_trained_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, reason: str, together: int
) -> None:
    previews, said = list[Trial](), list[str]()
    monkeypatch.setattr(_together, "preview", lambda trial, device: previews.append(trial) or Preview(reason, size))
    find = _together.Together(2, "cpu", lambda trial, reason: said.append(reason))
    trials = [several[0] for several in runner(tmp_path).trials().values()]
    assert [find(trial) for trial in trials] == [together] * 4
    assert len(previews) == 1, "trials that differ in seed, rate and balancer are alike"
    assert len(said) == (together == 1)


def test_a_problem_that_cannot_be_tried_is_trained_singly(tmp_path: Path) -> None:
    path = Path(problem(tmp_path))
    path.write_text(path.read_text().replace("time.sleep(SECONDS)", "raise LookupError('no data')"))
    assert "no data" in preview(Trial.plan(str(path), EQUAL)).reason


@pytest.mark.slow
def test_a_killed_block_loses_its_attempt_and_nothing_else(tmp_path: Path) -> None:
    whole, disturbed = (Runner(Plan(**settings), tmp_path / name) for name, settings in _twice(tmp_path))
    whole.run()
    killed: list[str] = []

    def kill_the_first(event: Event) -> None:
        if event.what == "running" and event.epoch and not killed:
            killed.append(event.key)
            for child in multiprocessing.active_children():
                os.kill(child.pid or 0, signal.SIGKILL)

    disturbed.run(kill_the_first)
    assert killed
    assert {record.made_with["vectorized"] for _, record in disturbed.store.records()} == {6}
    assert measured(disturbed.store) == measured(whole.store)


def _twice(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    settings = plan(problem(folder), vectorize=True, seeds=3, workers=1, epochs=200)
    return [("whole", settings), ("disturbed", settings)]
