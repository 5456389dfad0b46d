"""The loop that runs a study's trials, on an engine that says what a test tells it."""

from dataclasses import replace
from pathlib import Path

import pytest

from hardfirst import Spec, records
from hardfirst.errors import InputError
from hardfirst.problems import load_problem
from hardfirst.studies import Assignment, Drive, Ended, Event, Plan, Runner, Store
from hardfirst.studies.executors._queue import EpochCounter
from hardfirst.studies.executors.files import pack, unpack
from toy_study import Outcome, Scripted, plan, problem


def record(assignment: Assignment) -> Ended:
    """A finished trial."""
    path = assignment.folder / "record"
    trial = assignment.trial
    writer = records.Writer(path)
    writer.trial(trial.describe(trial.load()), ["a", "b"])
    writer.end("finished", seconds=1.0)
    return Ended(assignment.key, "recorded", records={assignment.key: path.read_text()})


def drive(folder: Path, outcome: Outcome) -> tuple[Scripted, list[str], Store]:
    runner = Runner(Plan(**plan(problem(folder), seeds=1)), folder / "out")
    executor, events = Scripted(outcome), list[Event]()
    trials = {key: several[0] for key, several in runner.trials().items()}
    try:
        Drive(executor, runner.store, tell=events.append).run(lambda: trials)
    finally:
        assert executor.stopped
        assert not list((folder / "out/trials").glob(".*"))
    return executor, [event.what for event in events], runner.store


def test_a_record_that_comes_back_is_written(tmp_path: Path) -> None:
    executor, events, store = drive(tmp_path, lambda assignment, attempt: record(assignment))
    assert events == ["started", "finished"] * 2
    assert all(store.ended(assignment.key) for assignment in executor.started)


def test_a_worker_that_dies_is_replaced_and_goes_first(tmp_path: Path) -> None:
    def outcome(assignment: Assignment, attempt: int) -> Ended:
        return record(assignment) if attempt == 3 else Ended(assignment.key, "died", "it fell over")

    executor, events, _ = drive(tmp_path, outcome)
    assert events == ["started", "retried", "started", "retried", "started", "finished"] * 2
    first, second = dict.fromkeys(assignment.key for assignment in executor.started)
    assert [assignment.key for assignment in executor.started] == [first] * 3 + [second] * 3


@pytest.mark.parametrize(("again", "attempts"), [(True, 3), (False, 1)])
def test_a_worker_that_dies_for_good_fails_its_trial(tmp_path: Path, again: bool, attempts: int) -> None:
    executor, events, store = drive(tmp_path, lambda each, attempt: Ended(each.key, "died", "it fell over", again=again))
    assert events.count("failed") == 2
    assert len(executor.started) == 2 * attempts
    failed = store.find(executor.started[0].key)
    assert failed is not None
    assert failed.reason == ("it fell over, 3 times" if again else "it fell over")


def test_a_worker_that_ends_without_a_record_has_died(tmp_path: Path) -> None:
    executor, _, store = drive(tmp_path, lambda each, attempt: Ended(each.key, "recorded"))
    failed = store.find(executor.started[0].key)
    assert failed is not None
    assert failed.reason == "it ended without a record, 3 times"


def test_a_trial_that_another_process_has_waits(tmp_path: Path) -> None:
    def outcome(assignment: Assignment, attempt: int) -> Ended:
        return Ended(assignment.key, "busy") if attempt == 1 else record(assignment)

    executor, events, _ = drive(tmp_path, outcome)
    assert events == ["started", "busy", "started", "busy", "started", "finished", "started", "finished"]
    first, second, *_ = (assignment.key for assignment in executor.started)
    assert [assignment.key for assignment in executor.started] == [first, second, first, second]


def test_a_record_that_cannot_be_written_stops_the_study(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has stopped, since a record could not be written"):
        drive(tmp_path, lambda assignment, attempt: Ended(assignment.key, "unwritable"))


def test_epochs_are_counted_by_whole_lines_of_their_kind(tmp_path: Path) -> None:
    path = tmp_path / "part"
    count = EpochCounter(path)
    assert count.update() == 0
    writer = records.Writer(path)
    writer.trial({"problem": "p", "balancer": "equal", "seed": 0}, ['a "kind": "epoch" task'])
    writer.epoch(1, seconds=1.0, learning_rate=0.1, tasks={})
    assert count.update() == 1
    with path.open("a") as file:
        file.write('{"kind": "epoch", "epoch": 2')
    assert count.update() == 1
    with path.open("a") as file:
        file.write(', "tasks": {}}\n')
    assert count.update() == 2


def test_a_record_that_is_started_again_is_counted_from_its_beginning(tmp_path: Path) -> None:
    """A killed study leaves the record of a run, which the worker of the next one replaces."""
    path = tmp_path / "part"
    count = EpochCounter(path)
    for epochs in (2, 3):
        writer = records.Writer(path)
        writer.trial({"problem": "p", "balancer": "equal", "seed": epochs}, ["a"] * epochs)
        for epoch in range(epochs):
            writer.epoch(epoch + 1, seconds=1.0, learning_rate=0.1, tasks={})
        assert count.update() == epochs


class Full(Scripted):
    """A cluster that no trial fits into."""

    @property
    def room(self) -> int:  # type: ignore[override]  # a constant there
        raise InputError("no room")


def test_a_cluster_without_room_says_so_however_many_workers_are_asked_for(tmp_path: Path) -> None:
    runner = Runner(Plan(**plan(problem(tmp_path), seeds=1)), tmp_path / "out")
    trials = {key: several[0] for key, several in runner.trials().items()}
    executor = Full(lambda assignment, attempt: record(assignment))
    with pytest.raises(InputError, match="no room"):
        Drive(executor, runner.store, workers=2).run(lambda: trials)
    assert executor.stopped
    assert not executor.started


def test_a_problem_file_is_sent_along(tmp_path: Path) -> None:
    path = Path(problem(tmp_path))
    trial = Plan(**plan(str(path))).cases[0].trial
    files, key = pack(trial), trial.key(load_problem(str(path)))
    assert unpack(trial, files, tmp_path / "node") == trial, "the file is here, next to what it may read"
    path.unlink()
    moved = unpack(trial, files, tmp_path / "node")
    assert moved.problem != trial.problem
    assert moved.key(moved.load()) == key


def test_a_balancers_file_is_sent_along(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("from hardfirst.balancers import Equal\n\nclass Mine(Equal):\n    pass\n")
    trial = replace(Plan(problems="digits").cases[0].trial, balancer=Spec.parse(f"{path}:Mine"))
    digits = load_problem("digits")
    files, settings = pack(trial), trial.describe(digits)
    assert list(files) == [path]
    path.unlink()
    moved = unpack(trial, files, tmp_path / "node")
    assert moved.balancer.file != path
    assert moved.balancer.build(["a"]).tasks == ("a",)
    assert moved.describe(digits) == settings, "the record names the file without its folder"
