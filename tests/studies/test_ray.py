"""Studies on a Ray cluster of two nodes, on this machine."""

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hardfirst.errors import InputError
from hardfirst.studies import Plan, Runner, Store
from hardfirst.study import Study

pytestmark = pytest.mark.slow

PROBLEM = """
import os, signal, time
from pathlib import Path
import torch
from torch import nn
from hardfirst.kpi import accuracy
from hardfirst.networks import HardSharing, number_head
from hardfirst.problems import Problem, Splits, Task, TensorTable

MARK, SECONDS, DIES = Path({mark!r}), {seconds}, {dies}

def data():
    if DIES and not MARK.exists():
        MARK.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(SECONDS)
    inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    table = TensorTable(inputs, {{"a": (inputs[:, 0] > 0).float(), "b": (inputs[:, 1] * inputs[:, 2] > 0).float()}})
    return Splits(table, table, table)

def network():
    return HardSharing(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), {{task: number_head(8) for task in "ab"}})

def problem():
    loss = nn.functional.binary_cross_entropy_with_logits
    return Problem("toy", tuple(Task(task, loss, accuracy) for task in "ab"), network, data, batch_size=16, epochs=3)
"""


def problem(folder: Path, *, seconds: float = 0.0, dies: bool = False) -> str:
    path = folder / "toy.py"
    path.write_text(PROBLEM.format(mark=str(folder / "mark"), seconds=seconds, dies=dies))
    return str(path)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    before = dict(os.environ)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    small = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=small)
    yield made
    made.shutdown()
    for name in set(os.environ) - set(before):
        del os.environ[name]


def node(cluster: Any) -> Any:
    return cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)


def plan(path: str, **settings: Any) -> dict[str, Any]:
    return {"problems": path, "balancers": "equal,dtp", "baselines": False, "controls": False, "seeds": 2, **settings}


def measured(store: Store) -> dict[str, Any]:
    """What the records say, but for times and memory."""
    found = {}
    for path in sorted((store.folder / "trials").glob("*.jsonl")):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        drop = ("seconds", "memory", "made_with")
        found[path.stem] = [{name: value for name, value in line.items() if name not in drop} for line in lines]
    return found


def test_records_are_those_of_local_processes(cluster: Any, tmp_path: Path) -> None:
    path = problem(tmp_path)
    local, there = tmp_path / "local", tmp_path / "ray"
    Study(**plan(path), workers=1).run(local)
    found = Study(**plan(path), engine=f"ray:address={cluster.address}").run(there)
    assert measured(Store(there)) == measured(Store(local))
    assert len(found.runs) == 2 * 2 * 2
    events: list[str] = []
    Study(**plan(path, seeds=3), engine=f"ray:address={cluster.address}").run(there, tell=lambda e: events.append(e.what))
    assert sorted(what for what in events if what != "running") == ["finished"] * 2 + ["started"] * 2, (
        "what is there is not run again"
    )


def test_a_killed_worker_loses_no_trial(cluster: Any, tmp_path: Path) -> None:
    found = Study(**plan(problem(tmp_path, dies=True)), engine=f"ray:address={cluster.address}").run(tmp_path / "out")
    assert (tmp_path / "mark").exists()
    assert set(found.runs.outcome) == {"finished"}
    assert len(found.runs) == 8


def test_a_killed_node_loses_no_trial(cluster: Any, tmp_path: Path) -> None:
    second = node(cluster)
    cluster.wait_for_nodes()
    runner = Runner(Plan(**plan(problem(tmp_path, seconds=2.0)), engine=f"ray:address={cluster.address}"), tmp_path / "out")
    started: list[str] = []
    killed = threading.Event()

    def kill() -> None:
        while len(started) < 2:
            time.sleep(0.05)
        time.sleep(1.0)
        cluster.remove_node(second, allow_graceful=False)
        killed.set()

    thread = threading.Thread(target=kill)
    thread.start()
    runner.run(lambda event: started.append(event.what) if event.what == "started" else None)
    thread.join()
    assert killed.is_set()
    assert {runner.store.find(key).outcome for key in runner.trials()} == {"finished"}  # type: ignore[union-attr]


def test_a_problem_that_fails_is_an_outcome(cluster: Any, tmp_path: Path) -> None:
    path = tmp_path / "toy.py"
    path.write_text(Path(problem(tmp_path)).read_text().replace("time.sleep(SECONDS)", "raise KeyError('gone')"))
    events = []
    runner = Runner(Plan(**plan(str(path), seeds=1), engine=f"ray:address={cluster.address}"), tmp_path / "out")
    runner.run(events.append)
    assert [event.what for event in events if event.what not in ("started", "running")] == ["failed", "failed"]
    assert "gone" in str(events[-1].reason)


def test_wrong_settings_get_a_sentence(cluster: Any, tmp_path: Path) -> None:
    path = problem(tmp_path)
    with pytest.raises(InputError, match="A trial asks for 64 CPUs and 0 GPUs, and the whole Ray cluster has"):
        Study(**plan(path), engine=f"ray:address={cluster.address},cpus=64").run(tmp_path / "out")
    with pytest.raises(InputError, match="engine: Expected `cpus` to be above 0; got 0"):
        Plan(**plan(path), engine="ray:cpus=0")
    with pytest.raises(InputError, match=r"The Ray cluster at '127\.0\.0\.1:1' cannot be reached"):
        Study(**plan(path), engine="ray:address=127.0.0.1:1").run(tmp_path / "out")
