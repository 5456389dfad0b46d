"""Studies as Slurm jobs: run by submitit's executor for this machine, and what is sent to a cluster."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hardfirst.errors import InputError
from hardfirst.studies import Event, Plan, Runner, Store
from toy_study import measured, plan, problem

LOCAL = "slurm:cluster=local"


def few(path: str, **settings: Any) -> dict[str, Any]:
    return plan(path, **{"balancers": "dtp", "seeds": 1, "engine": LOCAL, **settings})


def states(events: list[Event]) -> list[str]:
    return sorted(event.what for event in events if event.what != "running")


def run(folder: Path, settings: dict[str, Any]) -> tuple[Runner, list[Event]]:
    """A study without the page and the cost of a step, which no engine has a part in."""
    events: list[Event] = []
    runner = Runner(Plan(**settings), folder)
    runner.run(events.append)
    return runner, events


@pytest.mark.slow
def test_records_are_those_of_local_processes_and_what_is_there_is_not_run_again(tmp_path: Path) -> None:
    path = problem(tmp_path)
    run(tmp_path / "local", few(path, engine="local", workers=1))
    run(tmp_path / "slurm", few(path))
    assert measured(Store(tmp_path / "slurm")) == measured(Store(tmp_path / "local"))
    _, events = run(tmp_path / "slurm", few(path, seeds=2))
    assert states(events) == ["finished", "started"]


@pytest.mark.slow
def test_a_killed_job_costs_its_trial_a_retry(tmp_path: Path) -> None:
    runner, events = run(tmp_path / "out", few(problem(tmp_path, dies=True), workers=1))
    assert states(events) == ["finished", "retried", "started", "started"]
    (reason,) = (event.reason for event in events if event.what == "retried")
    assert reason is not None
    assert "ended without a result" in reason
    assert all(map(runner.store.ended, runner.trials()))


@pytest.mark.slow
def test_ctrl_c_cancels_the_jobs_and_the_same_study_resumes(tmp_path: Path) -> None:
    settings = few(problem(tmp_path, seconds=60.0))
    runner = Runner(Plan(**settings), tmp_path / "out")

    def stop(event: Event) -> None:
        if event.what == "running" and list((tmp_path / "out/trials").glob(".*.lock")):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        runner.run(stop)
    assert not list((tmp_path / "out/trials").glob("*.jsonl"))
    time.sleep(1.0)
    for key in runner.trials():
        with runner.store.claim(key) as free:
            assert free, "no job has a trial any more"
    (tmp_path / "mark").touch()
    again, _ = run(tmp_path / "out", settings)
    assert all(map(again.store.ended, again.trials()))


@pytest.mark.slow
def test_jobs_outlive_a_killed_study_and_their_trials_are_not_run_twice(
    hardfirst: Callable[..., str], tmp_path: Path
) -> None:
    path = problem(tmp_path, seconds=4.0)
    command = ["compare", path, "--out", str(tmp_path / "out"), "--engine", LOCAL]
    command += ["--balancers", "equal", "--seeds", "1", "--no-baselines", "--no-controls", "--no-cost"]
    first = subprocess.Popen([sys.executable, "-m", "hardfirst", *command], stdout=subprocess.DEVNULL)
    deadline, locks = time.monotonic() + 120, tmp_path / "out/trials"
    while not (submitted := list((tmp_path / "out/slurm").glob("*_submitted.pkl"))) or not list(locks.glob(".*.lock")):
        assert time.monotonic() < deadline, f"no job has claimed its trial; submitted: {submitted}"
        time.sleep(0.05)
    first.kill()
    first.wait()
    assert not list(locks.glob("*.jsonl")), "the job still runs"
    hardfirst(*command)
    jobs = list((tmp_path / "out/slurm").glob("*_submitted.pkl"))
    (record,) = (tmp_path / "out/trials").iterdir()
    assert len(jobs) == 1, "the second command waits for the first one's job"
    assert Store(tmp_path / "out").ended(record.stem)


def cluster(folder: Path, monkeypatch: pytest.MonkeyPatch, sbatch: str) -> None:
    """A machine with these commands of Slurm."""
    (folder / "bin").mkdir()
    for name, script in {"sbatch": sbatch, "srun": "exit 1", "sacct": "exit 1", "scancel": 'echo "$1" >> cancelled'}.items():
        file = folder / "bin" / name
        file.write_text(f"#!/bin/sh\ncd {folder}\n{script}\n")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_options_reach_sbatch_and_ctrl_c_cancels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster(tmp_path, monkeypatch, 'cat "$1" > submitted; echo "Submitted batch job 7"')
    engine = "slurm:partition=gpu+long,account=1234,cpus=4,gpus=1,memory_gb=1.5,minutes=30,setup=module load cuda+set -e"
    runner = Runner(Plan(**few(problem(tmp_path), engine=engine, workers=1)), tmp_path / "out")

    def stop(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner.run(stop)
    lines = (tmp_path / "submitted").read_text().splitlines()
    for option in (
        "partition=gpu,long",
        "account=1234",
        "cpus-per-task=4",
        "gpus-per-node=1",
        "mem=1536MB",
        "time=30",
        "job-name=hardfirst",
    ):
        assert f"#SBATCH --{option}" in lines
    assert lines.index("module load cuda") < lines.index("set -e") < len(lines) - 1
    assert (tmp_path / "cancelled").read_text() == "7\n"


def test_what_slurm_refuses_gets_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster(tmp_path, monkeypatch, 'echo "sbatch: error: invalid partition specified: gpu" >&2; exit 1')
    settings = few(problem(tmp_path), engine="slurm:partition=gpu")
    with pytest.raises(InputError, match="Slurm does not take the job of a trial: sbatch: error: invalid partition"):
        run(tmp_path / "out", settings)


def test_wrong_settings_get_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = problem(tmp_path)
    with pytest.raises(InputError, match="engine: Unknown option of engine 'slurm': 'cpu'; did you mean 'cpus'"):
        Plan(**few(path, engine="slurm:cpu=2"))
    with pytest.raises(InputError, match="engine: Expected `minutes` to be a whole number, at least 1; got 0"):
        Plan(**few(path, engine="slurm:minutes=0"))
    with pytest.raises(InputError, match="engine: Unknown cluster 'locl'; did you mean 'local'"):
        Plan(**few(path, engine="slurm:cluster=locl"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="`sbatch` and `srun` are not here"):
        Runner(Plan(**few(path, engine="slurm")), tmp_path / "out")
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(InputError, match=r'needs submitit: pip install "hardfirst\[slurm\]"'):
        Runner(Plan(**few(path)), tmp_path / "out")
