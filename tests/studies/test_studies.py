"""Studies: what is planned, kept and skipped, and what survives a killed process."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hardfirst import records
from hardfirst.errors import InputError
from hardfirst.problems import load_problem
from hardfirst.records.description import Description
from hardfirst.studies import Drive, EngineSpec, Event, Plan, Runner, Store, StudyTrial

PROBLEM = """
import multiprocessing, os, signal, time
import torch
import torch.nn.functional as F
from pathlib import Path
from torch import nn
from hardfirst.kpi import accuracy
from hardfirst.networks import HardSharing
from hardfirst.problems import Problem, Splits, Task, TensorTable

HERE = Path(__file__).parent

def data():
    {data}
    inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    table = TensorTable(inputs, {{"a": (inputs[:, 0] > 0).long(), "b": (inputs[:, 1] > 0).long()}})
    return Splits(table, table, table)

def network():
    return HardSharing(nn.Linear(4, 8), {{"a": nn.Linear(8, 2), "b": nn.Linear(8, 2)}})

def problem():
    tasks = (Task("a", F.cross_entropy, accuracy), Task("b", F.cross_entropy, accuracy))
    return Problem("tiny", tasks, network, data, batch_size=16, epochs=2)
"""
RUN_AND_SAY_SO = """
    # neither the process that looks at a batch before the study nor the one that measures what a step costs
    if multiprocessing.current_process().name not in ("MainProcess", "hardfirst alone"):
        (HERE / f"{os.getpid()}.ran").touch()
    time.sleep(0.5)
"""
WAIT_IN_THE_THIRD_WORKER = """
    if len(list((HERE / "study/trials").glob("*.jsonl"))) == 2 and not (HERE / "go").exists():
        (HERE / f"{os.getpid()}.pid").touch()
        time.sleep(60)
"""
KILLED_ONCE = """
    try:
        (HERE / "killed").mkdir()
        os.kill(os.getpid(), signal.SIGKILL)
    except FileExistsError:
        pass
"""

BARE = ["--no-baselines", "--no-controls", "--no-vectorize", "--no-cost"]


def study(folder: Path, data: str = "", balancers: str = "equal,dtp", seeds: int = 2) -> tuple[dict, Store]:
    file = folder / "tiny.py"
    file.write_text(PROBLEM.format(data=data))
    runner = Runner(plan(file, balancers=balancers, seeds=seeds), folder / "study")
    return {key: trials[0] for key, trials in runner.trials().items()}, runner.store


def plan(file: Path, **settings: object) -> Plan:
    """Nothing but what is asked for."""
    bare = dict.fromkeys(("baselines", "controls", "vectorize"), False)
    return Plan(**{"problems": [str(file)], "balancers": "equal,dtp", **bare, **settings})


def drive(trials: dict[str, StudyTrial], store: Store, tell: Callable[[Event], None], workers: int = 2) -> None:
    Drive(EngineSpec("local").build(), store, workers=workers, tell=tell).run(lambda: trials)


def run(trials: dict[str, StudyTrial], store: Store) -> list[Event]:
    events: list[Event] = []
    store.begin()
    drive(trials, store, events.append)
    return [event for event in events if event.what != "running"]


def all_records(store: Store) -> list[records.Record]:
    return [run.record for case in Store(store.folder).about().cases for run in Store(store.folder).runs(case)]


def outcomes(store: Store) -> list[str | None]:
    return [record.outcome for record in all_records(store)]


def counts(events: list[Event]) -> dict[str, int]:
    return {what: sum(event.what == what for event in events) for what in {event.what for event in events}}


def test_every_trial_once_and_none_again(tmp_path: Path) -> None:
    trials, store = study(tmp_path)
    assert counts(run(trials, store)) == {"started": 4, "finished": 4}
    (case,) = store.about().cases
    assert [(run.entry.method, run.record.trial["seed"]) for run in store.runs(case)] == [
        ("equal", 0),
        ("dtp", 0),
        ("equal", 1),
        ("dtp", 1),
    ]
    assert run(trials, store) == []
    more, store = study(tmp_path, seeds=3)
    assert counts(run(more, store)) == {"started": 2, "finished": 2}
    assert sorted(path.name for path in (store.folder / "trials").iterdir()) == sorted(f"{key}.jsonl" for key in more)


def test_a_killed_worker_costs_its_trial_one_retry(tmp_path: Path) -> None:
    trials, store = study(tmp_path, KILLED_ONCE)
    events = run(trials, store)
    assert counts(events) == {"started": 5, "retried": 1, "finished": 4}
    assert next(event.reason for event in events if event.what == "retried") == "its process was killed by SIGKILL"
    assert outcomes(store) == ["finished"] * 4


def test_a_trial_whose_worker_dies_twice_has_failed_and_the_next_start_tries_again(tmp_path: Path) -> None:
    trials, store = study(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)", seeds=1)
    events = run(trials, store)
    assert counts(events) == {"started": 4, "retried": 2, "failed": 2}
    assert {record.reason for record in all_records(store)} == {"its process was killed by SIGKILL, 2 times"}
    assert counts(run(trials, store))["failed"] == 2


def test_an_error_in_the_users_code_fails_the_trial_at_once(tmp_path: Path) -> None:
    trials, store = study(tmp_path, "raise RuntimeError('no such table')", balancers="equal", seeds=1)
    events = run(trials, store)
    assert counts(events) == {"started": 1, "failed": 1}
    reason = all_records(store)[0].reason or ""
    assert "tiny.py, line 14: RuntimeError: no such table" in reason


def test_the_same_trial_has_the_same_record_in_any_company(tmp_path: Path) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    for folder in (alone, together):
        folder.mkdir()
    single, single_store = study(alone, balancers="dtp", seeds=1)
    many, many_store = study(together, balancers="equal,dtp,uncertainty")
    run(single, single_store)
    run(many, many_store)
    (key,) = single
    assert records.read(single_store.record_file(key)).test == records.read(many_store.record_file(key)).test


def test_the_problem_file_counts_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    here, _ = study(tmp_path)
    elsewhere, _ = study(tmp_path / "elsewhere")
    changed, _ = study(tmp_path, "pass")
    assert list(here) == list(elsewhere)
    assert not set(here) & set(changed)


def command(folder: Path, seeds: int) -> list[str]:
    out = ["--out", str(folder / "study"), "--seeds", str(seeds), "--workers", "1"]
    return ["compare", str(folder / "tiny.py"), *out, "--balancers", "equal,dtp", *BARE]


def start(arguments: list[str], **options: Any) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-m", "hardfirst", *arguments], stdout=subprocess.PIPE, text=True, **options)


def wait_for(found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 120
    while not (result := found()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return result


@pytest.mark.slow
def test_a_killed_study_takes_its_workers_with_it_and_goes_on_with_what_is_missing(
    hardfirst: Callable[..., str], tmp_path: Path
) -> None:
    study(tmp_path, WAIT_IN_THE_THIRD_WORKER)
    first = start(command(tmp_path, seeds=2))
    (pid,) = wait_for(lambda: list(tmp_path.glob("*.pid")))
    first.kill()
    first.communicate()
    wait_for(lambda: not Path(f"/proc/{pid.stem}").exists())
    trials = tmp_path / "study/trials"
    done = {path: path.stat().st_mtime_ns for path in trials.glob("*.jsonl")}
    assert len(done) == 2
    (tmp_path / "go").touch()
    assert f"4 runs in {tmp_path / 'study'}, 2 already done." in hardfirst(*command(tmp_path, seeds=2))
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert len(list(trials.glob("*.jsonl"))) == 4
    assert (tmp_path / "study/report.html").stat().st_size > 1e6


@pytest.mark.slow
def test_two_processes_share_a_folder_and_no_trial_runs_twice(hardfirst: Callable[..., str], tmp_path: Path) -> None:
    study(tmp_path, RUN_AND_SAY_SO)
    other = start(command(tmp_path, seeds=3))
    wait_for(lambda: list(tmp_path.glob("*.ran")))
    printed = [hardfirst(*command(tmp_path, seeds=3)), other.communicate(timeout=200)[0]]
    assert other.returncode == 0, printed
    assert len(list(tmp_path.glob("*.ran"))) == 6
    assert len(list((tmp_path / "study/trials").iterdir())) == 6
    assert set(outcomes(Store(tmp_path / "study"))) == {"finished"}
    assert all("mean over 3 seeds" in text for text in printed)


@pytest.mark.slow
@pytest.mark.parametrize(("options", "processes"), [(["--dry-run"], 1), ([], 1 + 2 + 1)])
def test_a_problem_file_is_executed_once_in_each_process(
    hardfirst: Callable[..., str], tmp_path: Path, options: list[str], processes: int
) -> None:
    """In the one that plans the study, in that of each trial, and in the one that measures what a step costs."""
    count = 'with (HERE / "executed").open("a") as file:\n    file.write(f"{os.getpid()} ")\n'
    (tmp_path / "tiny.py").write_text(PROBLEM.format(data="pass") + count)
    few = ["--balancers", "equal,dtp", "--seeds", "1", *BARE, "--cost"]
    hardfirst("compare", "tiny.py", *few, *options)
    times = Counter((tmp_path / "executed").read_text().split())
    assert times[str(os.getpid())] == 1
    assert len(times) == processes
    assert set(times.values()) == {1}


def test_a_problem_file_that_has_changed_is_executed_anew(tmp_path: Path) -> None:
    file = tmp_path / "tiny.py"
    file.write_text(PROBLEM.format(data="pass"))
    first = load_problem(str(file))
    assert load_problem(str(file)) is first
    file.write_text(PROBLEM.format(data="pass").replace("epochs=2", "epochs=3"))
    assert (first.epochs, load_problem(str(file)).epochs) == (2, 3)


def test_a_claim_is_one_processs_alone_and_ends_with_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.begin()
    with store.claim("k") as mine, store.claim("k") as also:
        assert mine
        assert not also
    with store.claim("k") as again:
        assert again
    assert not list((tmp_path / "trials").iterdir())


def test_ctrl_c_stops_the_workers_and_keeps_what_has_ended(tmp_path: Path) -> None:
    trials, store = study(tmp_path, "time.sleep(0.3)", seeds=3)

    def stop(event: Event) -> None:
        if event.what == "finished":
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        drive(trials, store, stop, workers=1)
    assert 1 <= sum(store.ended(key) for key in trials) < 6
    assert not multiprocessing.active_children()
    assert not list((store.folder / "trials").glob(".*"))
    assert counts(run(trials, store))["finished"] == 6 - 1


def test_a_description_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "study.json").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        Store(tmp_path).describe(Description(title="t", command=None, cases=[]))


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.begin()
    store.record_file("abc").write_text('{"kind": "trial"}\n')
    with pytest.raises(InputError, match=r"abc\.jsonl is not a run record: `schema` in line 1 is missing"):
        store.find("abc")
