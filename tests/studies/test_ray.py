"""Studies on a Ray cluster of two nodes, on this machine."""

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
from toy_study import measured, plan, problem

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    before = dict(os.environ)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=head)
    yield made
    made.shutdown()
    for name in set(os.environ) - set(before):
        del os.environ[name]


def small(path: str, **settings: Any) -> dict[str, Any]:
    return plan(path, **{"balancers": "dtp", "seeds": 1, **settings})


def node(cluster: Any) -> Any:
    return cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)


def test_records_are_those_of_local_processes(cluster: Any, tmp_path: Path) -> None:
    path = problem(tmp_path)
    local, there = tmp_path / "local", tmp_path / "ray"
    Study(**small(path), workers=1).run(local)
    comparison = Study(**small(path), engine=f"ray:address={cluster.address}").run(there)
    assert measured(Store(there)) == measured(Store(local))
    assert len(comparison.runs) == 2, "one of each task"
    events: list[str] = []
    Study(**small(path, seeds=2), engine=f"ray:address={cluster.address}").run(there, tell=lambda e: events.append(e.what))
    assert sorted(what for what in events if what != "running") == ["finished", "started"], "what is there is not run again"


def test_a_killed_worker_loses_no_trial(cluster: Any, tmp_path: Path) -> None:
    comparison = Study(**small(problem(tmp_path, dies=True)), engine=f"ray:address={cluster.address}").run(tmp_path / "out")
    assert (tmp_path / "mark").exists()
    assert set(comparison.runs.outcome) == {"finished"}
    assert len(comparison.runs) == 2


def test_a_killed_node_loses_no_trial(cluster: Any, tmp_path: Path) -> None:
    second = node(cluster)
    cluster.wait_for_nodes()
    runner = Runner(
        Plan(**plan(problem(tmp_path, seconds=2.0), seeds=1), engine=f"ray:address={cluster.address}"), tmp_path / "out"
    )
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
    runner = Runner(Plan(**small(str(path)), engine=f"ray:address={cluster.address}"), tmp_path / "out")
    runner.run(events.append)
    assert [event.what for event in events if event.what not in ("started", "running")] == ["failed"]
    assert "gone" in str(events[-1].reason)


def test_wrong_settings_get_a_sentence(cluster: Any, tmp_path: Path) -> None:
    path = problem(tmp_path)
    with pytest.raises(InputError, match="A trial asks for 64 CPUs and 0 GPUs, and the whole Ray cluster has"):
        Study(**plan(path), engine=f"ray:address={cluster.address},cpus=64").run(tmp_path / "out")
    with pytest.raises(InputError, match="engine: Expected `cpus` to be above 0; got 0"):
        Plan(**plan(path), engine="ray:cpus=0")
    with pytest.raises(InputError, match=r"The Ray cluster at '127\.0\.0\.1:1' cannot be reached"):
        Study(**plan(path), engine="ray:address=127.0.0.1:1").run(tmp_path / "out")
