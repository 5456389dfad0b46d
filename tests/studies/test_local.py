"""The devices that the local engine gives its workers, on made-up GPUs."""

import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from hardfirst import Spec
from hardfirst.errors import InputError
from hardfirst.studies import Assignment, Drive, EngineSpec, Event, Plan, Runner
from hardfirst.studies.executors import local
from hardfirst.studies.executors.local import VISIBLE, visible_gpus
from hardfirst.training import Trial
from toy_study import plan, problem


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pretends that CUDA finds so many GPUs, and that the user has set CUDA_VISIBLE_DEVICES."""

    def pretend(count: int, visible: str | None = None) -> None:
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.delenv(VISIBLE, raising=False)
        if visible is not None:
            monkeypatch.setenv(VISIBLE, visible)

    return pretend


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Starts no process, and ends those whose number is in the list, as if they were killed."""
    ending, count = list[int](), iter(range(99))

    def started(*_: object, **__: object) -> SimpleNamespace:
        return SimpleNamespace(sentinel=next(count), exitcode=-signal.SIGKILL, join=lambda: None)

    monkeypatch.setattr(local, "started", started)
    monkeypatch.setattr(local, "wait", lambda sentinels, timeout: ending)
    return ending


def engine(spec: str = "local", accelerator: str = "auto") -> local.Local:
    made = EngineSpec.parse(spec).build()
    assert isinstance(made, local.Local)
    made.check(accelerator)
    return made


def start(made: local.Local, trials: int) -> None:
    trial = Trial.plan("digits", Spec("equal"))
    for _ in range(trials):
        made.start(Assignment("key", trial, Path(), None, "auto"))


def held(made: local.Local) -> list[str | None]:
    return [worker.gpu for worker in made._running.values()]


@pytest.mark.parametrize(
    ("count", "visible", "expected"),
    [
        (3, None, "0 1 2"),
        (2, "3, 1", "3 1"),
        (2, "GPU-8932f937,GPU-1a2b3c4d", "GPU-8932f937 GPU-1a2b3c4d"),
        (1, "MIG-GPU-1a/1/0", "MIG-GPU-1a/1/0"),
        (1, "0,9,1", "0"),
        (0, "", ""),
    ],
)
def test_gpus_have_the_names_that_the_user_gave_them(
    gpus: Callable[..., None], count: int, visible: str | None, expected: str
) -> None:
    gpus(count, visible)
    assert visible_gpus("auto") == tuple(expected.split())
    assert visible_gpus("cpu") == ()


@pytest.mark.parametrize(
    ("spec", "accelerator", "count", "room"),
    [
        ("local", "auto", 2, 2),
        ("local:workers_per_gpu=3", "cuda", 2, 6),
        ("local", "cpu", 2, local.cores()),
        ("local", "auto", 0, local.cores()),
    ],
)
def test_as_many_workers_as_the_devices_take(
    gpus: Callable[..., None], spec: str, accelerator: str, count: int, room: int
) -> None:
    gpus(count)
    assert engine(spec, accelerator).room == room


def test_one_worker_on_mps(gpus: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert (engine().room, engine().devices) == (1, "the GPU of MPS")


def test_workers_take_turns_on_the_gpus_and_free_theirs_when_they_die(gpus: Callable[..., None], ends: list[int]) -> None:
    gpus(3, "4,5,6")
    made = engine("local:workers_per_gpu=2")
    start(made, made.room)
    assert held(made) == ["4", "5", "6", "4", "5", "6"]
    ends[:] = [1, 4]
    assert [ended.status for ended in made.ended(0.0)] == ["died", "died"]
    start(made, 2)
    assert held(made) == ["4", "6", "4", "6", "5", "5"]


def test_without_a_gpu_workers_get_none(gpus: Callable[..., None], ends: list[int]) -> None:
    gpus(0)
    made = engine()
    start(made, 2)
    assert held(made) == [None, None]


def test_workers_per_gpu_need_a_gpu(gpus: Callable[..., None]) -> None:
    gpus(0)
    with pytest.raises(InputError, match=r"the accelerator auto is cpu here\. Leave it out; `workers` says"):
        engine("local:workers_per_gpu=2")


def test_an_automatic_accelerator_has_the_precision_of_this_machine_and_a_cluster_its_own(gpus: Callable[..., None]) -> None:
    settings = {"problems": "digits", "precision": "16-mixed"}
    gpus(0)
    with pytest.raises(InputError, match="Precision 16-mixed needs a CUDA GPU, but the device is cpu"):
        Plan(**settings)
    Plan(**settings, engine="slurm:gpus=1")
    gpus(1)
    Plan(**settings)


@pytest.mark.slow
def test_a_worker_sees_its_gpu_alone(gpus: Callable[..., None], tmp_path: Path) -> None:
    path = Path(problem(tmp_path))
    seen = 'open(f"{__file__}.{os.getpid()}", "w").write(os.environ.get("CUDA_VISIBLE_DEVICES", "all"))'
    path.write_text(path.read_text().replace("def data():", f"def data():\n    import os\n    {seen}", 1))
    runner = Runner(Plan(**plan(str(path), seeds=2), accelerator="cpu"), tmp_path / "out")
    trials = {key: several[0] for key, several in runner.trials().items()}
    for file in tmp_path.glob("*.py.*"):
        file.unlink()  # what this process saw
    gpus(2, "GPU-a,GPU-b")
    events = list[Event]()
    Drive(engine(), runner.store, workers=2, tell=events.append).run(lambda: trials)
    assert [event.what for event in events if event.what not in ("started", "running")] == ["finished"] * len(trials)
    assert {file.read_text() for file in tmp_path.glob("*.py.*")} == {"GPU-a", "GPU-b"}
