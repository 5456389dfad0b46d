"""What a run depends on: the user's files, the modules that these import, data, and random numbers."""

import errno
import multiprocessing
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hardfirst import records
from hardfirst._user_file import load_module
from hardfirst.balancers import Spec
from hardfirst.errors import InputError
from hardfirst.problems import Problem, Splits, load_problem
from hardfirst.studies import Assignment, Drive, Ended, Event, Plan, Runner, Store
from hardfirst.studies.executors.files import pack, unpack
from hardfirst.studies.executors.worker import record_failure, run_assignment
from hardfirst.study import Study
from hardfirst.training import Interrupted, Trial, check_can_start, fingerprint, fit, load_splits, same_data, started
from resumed_runs import Stop
from toy_study import Scripted, plan

HEAD = """
import random
from pathlib import Path
import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset, random_split
from hardfirst.kpi import accuracy
from hardfirst.networks import HardSharing, number_head
from hardfirst.problems import Problem, Splits, Task, TensorTable

HERE = Path(__file__).parent

def table(scale=1.0):
    inputs = scale * torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    return TensorTable(inputs, {"a": (inputs[:, 0] > 0).float(), "b": (inputs[:, 1] > 0).float()})

def network():
    return HardSharing(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), {task: number_head(8) for task in "ab"})

def problem():
    loss = nn.functional.binary_cross_entropy_with_logits
    return Problem("toy", tuple(Task(task, loss, accuracy) for task in "ab"), network, data, batch_size=16, epochs=3)
"""
PLAIN = """
def data():
    return Splits(table(), table(), table())
"""
IMPORTS = """
from helpers import SCALE

def data():
    from package import deep
    return Splits(*[table(SCALE * deep.FACTOR)] * 3)
"""
READS = """
def data():
    inputs, target = torch.load(HERE / "data.pt")
    return Splits(*[TensorTable(inputs, {"a": target, "b": target})] * 3)
"""
DRAWS_SPLITS = """
def data():
    return Splits(*random_split(table(), [32, 16, 16]))
"""
DRAWS_ITEMS = """
class Noisy(Dataset):
    def __init__(self, draw):
        self.table, self.draw = table(), draw

    def __len__(self):
        return len(self.table)

    def __getitem__(self, index):
        inputs, targets = self.table[index]
        return inputs + 0.5 * self.draw(), targets

DRAW = lambda: torch.randn(()) + float(np.random.randn()) + random.gauss(0, 1)

def data():
    return Splits(*[Noisy(DRAW)] * 3)
"""


@pytest.fixture(autouse=True)
def _path_and_modules() -> Iterator[None]:
    """Folders of one test are not on the path of the next."""
    path = list(sys.path)
    yield
    sys.path[:] = path
    forget()


def forget(names: Iterable[str] = ("toy", "other", "own_name", "helpers", "package", "package.deep")) -> None:
    """Be as a process that has not imported a user's modules."""
    for name in list(names):
        sys.modules.pop(name, None)


def written(folder: Path, data: str, name: str = "toy.py", **modules: str) -> str:
    (folder / "package").mkdir(parents=True, exist_ok=True)
    (folder / "package/__init__.py").touch()
    for path, text in {"helpers": "SCALE = 1.0", "package/deep": "FACTOR = 2", **modules}.items():
        (folder / f"{path}.py").write_text(text)
    (folder / name).write_text(HEAD + data)
    return str(folder / name)


def key(path: str) -> str:
    return Trial.plan(path, Spec.parse("equal")).key(load_problem(path))


# Files and the modules that they import


@pytest.mark.parametrize("module", ["helpers", "package/deep", "package/__init__"])
def test_a_module_that_the_problems_file_imports_is_part_of_the_key(tmp_path: Path, module: str) -> None:
    path = written(tmp_path, IMPORTS)
    before = key(path)
    assert key(path) == before
    written(tmp_path, IMPORTS, **{module: "SCALE = 0.25\nFACTOR = 3"})
    assert key(path) != before
    expected = 0.25 if module == "helpers" else 1.0
    assert vars(load_module(Path(path), contract=""))["SCALE"] == expected, "it is imported anew"


def test_a_module_that_is_not_imported_is_no_part_of_the_key_and_neither_is_the_folder(tmp_path: Path) -> None:
    path = written(tmp_path / "a", IMPORTS)
    before = key(path)
    written(tmp_path / "a", IMPORTS, plots="x = 1")
    assert key(path) == before
    forget()
    sys.path.remove(str(tmp_path / "a"))
    assert key(written(tmp_path / "b", IMPORTS)) == before


def test_a_file_without_local_modules_has_the_key_that_it_had(tmp_path: Path) -> None:
    path = written(tmp_path, PLAIN)
    settings = Trial.plan(path, Spec.parse("equal")).describe(load_problem(path))
    assert not {name for name in settings if "modules" in name}


def test_modules_that_a_balancers_file_imports_count_too(tmp_path: Path) -> None:
    written(tmp_path, PLAIN)
    code = "from helpers import SCALE\nfrom hardfirst.balancers import Equal\n\nclass Mine(Equal):\n    scale = SCALE\n"
    (tmp_path / "mine.py").write_text(code)
    trial = Trial.plan("digits", Spec.parse(f"{tmp_path / 'mine.py'}:Mine"))
    before = trial.key(load_problem("digits"))
    (tmp_path / "helpers.py").write_text("SCALE = 0.25")
    assert trial.balancer.method.scale == 0.25  # type: ignore[attr-defined]
    assert trial.key(load_problem("digits")) != before


def test_what_a_file_defines_can_be_pickled_under_the_files_own_name(tmp_path: Path) -> None:
    module = load_module(Path(written(tmp_path, IMPORTS, "own_name.py")), contract="")
    assert module.__name__ == "own_name"
    pickled = pickle.dumps(module.table)
    forget()
    assert pickle.loads(pickled)().count == 64, "another process has the folder on its path"


def test_a_file_with_the_name_of_an_installed_module_does_not_take_its_place(tmp_path: Path) -> None:
    first = load_module(Path(written(tmp_path, PLAIN, "colorsys.py")), contract="")
    import colorsys

    assert first.__name__ != "colorsys"
    assert colorsys.hsv_to_rgb(0, 0, 1) == (1, 1, 1)


def test_a_neighbour_that_python_would_not_find_is_said(tmp_path: Path) -> None:
    load_problem(written(tmp_path / "a", IMPORTS))
    path = written(tmp_path / "b", IMPORTS, "other.py")
    with pytest.raises(InputError, match=rf"other.py imports `helpers`, .*/a/helpers.py. Rename {tmp_path}/b/helpers.py"):
        load_problem(path)


def test_an_installed_module_goes_before_a_neighbour(tmp_path: Path) -> None:
    path = written(tmp_path, "import yaml\n" + PLAIN, yaml="raise ImportError('in place of the installed one')")
    assert "modules" not in " ".join(Trial.plan(path, Spec.parse("equal")).describe(load_problem(path)))


def test_modules_are_sent_along(tmp_path: Path) -> None:
    path = Path(written(tmp_path, IMPORTS))
    trial = Trial.plan(str(path), Spec.parse("equal"))
    files, before = pack(trial), trial.key(load_problem(str(path)))
    assert list(files[path]) == [Path(name) for name in ("toy.py", "helpers.py", "package/__init__.py", "package/deep.py")]
    assert unpack(trial, files, tmp_path / "node") == trial
    (tmp_path / "helpers.py").unlink()
    forget()
    sys.path.remove(str(tmp_path))
    moved = unpack(trial, files, tmp_path / "node")
    assert moved.key(moved.load()) == before


# Changes while a study runs


def assignment(path: str, folder: Path) -> Assignment:
    Store(folder).begin()
    return Assignment(key(path), Trial.plan(path, Spec.parse("equal")), folder, None, "cpu")


@pytest.mark.parametrize("changed", ["helpers.py", "toy.py"])
@pytest.mark.parametrize("text", ["SCALE = 0.5", "SCALE ="])
def test_a_worker_whose_files_are_others_ends_without_a_record(
    tmp_path: Path, changed: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    work = assignment(written(tmp_path, IMPORTS), tmp_path / "study")
    (tmp_path / changed).write_text((tmp_path / changed).read_text() + f"\n{text}\n")
    assert run_assignment(work, torch.get_num_threads()) == "changed"
    assert not list((tmp_path / "study/trials").iterdir())
    assert ("SyntaxError" in capsys.readouterr().err) == text.endswith("=")


def test_a_file_that_changes_as_it_is_loaded_leaves_no_record(tmp_path: Path) -> None:
    """The record says what was executed, and is refused under a key of anything else."""
    path = written(tmp_path, PLAIN)
    work = assignment(path, tmp_path / "study")
    own = Path(path).read_text()

    class Changing(Trial):
        def key(self, problem: Problem) -> str:
            Path(path).write_text(own + "\n")
            return super().key(problem)

    changing = Changing(**vars(work.trial))
    assert run_assignment(replace(work, trial=changing), torch.get_num_threads()) == "changed"
    assert not list((tmp_path / "study/trials").iterdir())


def test_a_record_under_a_key_of_another_run_is_refused(tmp_path: Path) -> None:
    work = assignment(written(tmp_path, PLAIN), tmp_path / "study")
    assert run_assignment(work, torch.get_num_threads()) == "recorded"
    store = Store(tmp_path / "study")
    assert store.ended(work.key)
    store.record_file(work.key).rename(store.record_file("0" * 16))
    with pytest.raises(InputError, match="is the record of another run than its name says"):
        Store(tmp_path / "study").find("0" * 16)


@pytest.mark.parametrize(
    ("status", "message"),
    [("changed", "its files have changed while it ran: .*toy.py, or a module"), ("unguarded", "imports? this script again")],
)
def test_a_study_stops_with_a_sentence(tmp_path: Path, status: Any, message: str) -> None:
    runner = Runner(Plan(**plan(written(tmp_path, PLAIN), seeds=1)), tmp_path / "out")
    trials = {each: several[0] for each, several in runner.trials().items()}
    with pytest.raises(InputError, match=message):
        Drive(Scripted(lambda each, _: Ended(each.key, status)), runner.store).run(lambda: trials)


# Data


def saved(folder: Path, target: torch.Tensor) -> None:
    torch.save((torch.linspace(-1, 1, 128).reshape(32, 4), target), folder / "data.pt")


def test_records_of_other_data_are_not_done(tmp_path: Path) -> None:
    path = written(tmp_path, READS)
    saved(tmp_path, torch.arange(32) % 2.0)
    runner = Runner(Plan(**plan(path, seeds=1)), tmp_path / "out")
    for each, trials in runner.trials().items():
        run_assignment(Assignment(each, trials[0].trial, tmp_path / "out", None, "cpu"), torch.get_num_threads())

    def again() -> tuple[int, int]:
        runner = Runner(Plan(**plan(path, seeds=1)), tmp_path / "out")
        return runner.stale, sum(map(runner.store.ended, runner.trials()))

    assert again() == (0, 2)
    saved(tmp_path, torch.arange(32) % 2.0 * (torch.arange(32) != 5))
    assert again() == (2, 0)
    assert len(list((tmp_path / "out/trials").glob("*.other-data"))) == 2
    assert again() == (0, 0)


def test_runs_on_different_data_stop_the_study(tmp_path: Path) -> None:
    def outcome(work: Assignment, _: int) -> Ended:
        saved(tmp_path, (torch.arange(32) + len(executor.started)) % 2.0)
        run_assignment(work, torch.get_num_threads())
        return Ended(work.key, "recorded")

    executor = Scripted(outcome)
    executor.shares_folder = True
    path, events = written(tmp_path, READS), list[Event]()
    saved(tmp_path, torch.arange(32) % 2.0)
    runner = Runner(Plan(**plan(path, seeds=1)), tmp_path / "out")
    trials = {each: several[0] for each, several in runner.trials().items()}
    with pytest.raises(InputError, match=r"`data\(\)` in .*toy.py has returned other data in one run than in another"):
        Drive(executor, runner.store, tell=events.append).run(lambda: trials)


class Holder(torch.utils.data.Dataset):
    def __init__(self, **held: Any) -> None:
        vars(self).update(held)


VALUES = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(50) % 3


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (LABELS, LABELS.clone(), True),
        (LABELS, LABELS.flip(0), False),
        (LABELS, torch.where(torch.arange(50) == 7, 2, LABELS), False),
        (LABELS, LABELS[:-1], False),
        (VALUES, VALUES * (1 + 1e-7), True),
        (VALUES, VALUES * 1.001, False),
        (VALUES, torch.where(torch.arange(150).reshape(50, 3) == 7, torch.nan, VALUES), False),
        (VALUES.numpy(), VALUES.numpy().copy(), True),
        (VALUES.numpy(), -VALUES.numpy(), False),
        ({"a": [VALUES, LABELS.tolist()]}, {"a": [VALUES, LABELS.flip(0).tolist()]}, False),
        (Holder(inner=Holder(x=VALUES)), Holder(inner=Holder(x=VALUES + 1)), False),
        (torch.utils.data.Subset(Holder(x=VALUES), [1, 2]), torch.utils.data.Subset(Holder(x=VALUES), [2, 1]), False),
        (Holder(files=["a.png"], model=object()), Holder(files=["/b/a.png"], model=object()), True),
    ],
)
def test_data_is_told_from_other_data_but_not_from_its_rounding(one: Any, other: Any, same: bool) -> None:
    first, second = (fingerprint(Splits(Holder(held=held), Holder(), Holder())) for held in (one, other))
    assert same_data(first, second) == same
    assert same_data(second, first) == same


def test_a_large_tensor_is_looked_at_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hardfirst.training._fingerprint._MOST", 10)
    one, other = (Holder(x=torch.arange(100) * factor) for factor in (1, 2))
    splits = [Splits(each, each, each) for each in (one, other)]
    assert fingerprint(splits[0])["train"][4:] == [0, 0]
    assert not same_data(*map(fingerprint, splits))


def test_a_built_in_problems_record_says_nothing_of_its_data(tmp_path: Path) -> None:
    record = fit(Trial.plan("digits", Spec.parse("equal"), epochs=1), record_file=tmp_path / "r", accelerator="cpu")
    assert set(record.made_with) == {"command", "device", "devices", "versions"}


# Random numbers


def test_random_splits_are_the_same_in_every_run(tmp_path: Path) -> None:
    problem = load_problem(written(tmp_path, DRAWS_SPLITS))
    random_numbers = torch.get_rng_state()
    indices = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        indices.append([list(getattr(load_splits(problem), name).indices) for name in ("train", "test")])
    assert indices[0] == indices[1]
    torch.set_rng_state(random_numbers)
    load_splits(problem)
    assert torch.equal(torch.get_rng_state(), random_numbers), "a run's own state is unaffected"


def lines(record: records.Record) -> Any:
    return [line["tasks"] for line in record.epochs], record.test


def test_runs_that_draw_from_any_generator_are_the_same_again_and_leave_the_callers_alone(tmp_path: Path) -> None:
    trial = Trial.plan(written(tmp_path, DRAWS_ITEMS), Spec.parse("equal"), seed=1)
    before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    first = fit(trial, record_file=tmp_path / "1", accelerator="cpu")
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # type: ignore[index]
    random.random()
    np.random.randn()
    assert lines(fit(trial, record_file=tmp_path / "2", accelerator="cpu")) == lines(first)


@pytest.mark.parametrize("draw", ["torch.randn(())", "np.random.randn()", "random.gauss(0, 1)"])
def test_seeds_draw_independently(tmp_path: Path, draw: str) -> None:
    code = f"DRAWN = []\n\ndef note():\n    DRAWN.append(float({draw}))\n    return DRAWN[-1]\n"
    path = written(tmp_path, code + DRAWS_ITEMS.replace("Noisy(DRAW)", "Noisy(note)"))
    drawn = []
    for seed in (0, 1):
        fit(Trial.plan(path, Spec.parse("equal"), seed=seed, epochs=1), record_file=tmp_path / "r", accelerator="cpu")
        log = load_module(Path(path), contract="").DRAWN
        drawn.append(list(log))
        log.clear()
    assert len(drawn[0]) == len(drawn[1]) > 100
    assert not set(drawn[0]) & set(drawn[1])


@pytest.mark.parametrize("old", [False, True])
def test_a_run_that_was_stopped_draws_on_from_where_it_was(tmp_path: Path, old: bool) -> None:
    trial = Trial.plan(written(tmp_path, DRAWS_ITEMS), Spec.parse("equal"))
    whole = fit(trial, record_file=tmp_path / "whole", accelerator="cpu")
    checkpoint = tmp_path / "checkpoint.pt"
    part = partial(fit, trial, record_file=tmp_path / "part", checkpoint=checkpoint, accelerator="cpu")
    with pytest.raises(Interrupted):
        part(watcher=Stop(2, 2))
    if old:  # held torch's state alone
        state = torch.load(checkpoint, weights_only=True)
        torch.save({**state, "rng": state["rng"]["torch"]}, checkpoint)
    resumed = part(resume=True)
    assert (lines(resumed) == lines(whole)) != old
    assert resumed.outcome == "finished"


def test_a_stopped_run_does_not_go_on_with_other_data(tmp_path: Path) -> None:
    path = written(tmp_path, READS)
    saved(tmp_path, torch.arange(32) % 2.0)
    trial = Trial.plan(path, Spec.parse("equal"))
    part = partial(fit, trial, record_file=tmp_path / "r", checkpoint=tmp_path / "checkpoint.pt", accelerator="cpu")
    with pytest.raises(Interrupted):
        part(watcher=Stop(2, 1))
    saved(tmp_path, 1 - torch.arange(32) % 2.0)
    with pytest.raises(InputError, match="The data has changed since the run was stopped"):
        part(resume=True)


# Machines


@pytest.mark.skipif(sys.platform == "win32", reason="has no flock")
@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_disk_without_locks_is_said_once_and_a_study_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def flock(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", flock)
    work = assignment_without_locks(tmp_path)
    assert run_assignment(work, torch.get_num_threads()) == "recorded"
    assert [path.suffix for path in (tmp_path / "study/trials").iterdir()] == [".jsonl"]


def assignment_without_locks(folder: Path) -> Assignment:
    with pytest.warns(UserWarning, match="has no locks: do not run this study in two processes") as warned:
        work = assignment(written(folder, PLAIN), folder / "study")
    assert len(warned) == 1
    return work


def test_another_error_of_a_lock_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(InputError, match="cannot be written: Input/output error"):
        Store(tmp_path).begin()


class _Context:
    """One whose fork server is killed as often as said."""

    def __init__(self, deaths: int) -> None:
        self.deaths = deaths

    def get_start_method(self) -> str:
        return "spawn"

    def Process(self, **_: object) -> "_Context":  # noqa: N802  # multiprocessing's
        return self

    def start(self) -> None:
        self.deaths -= 1
        if self.deaths >= 0:
            raise EOFError


def test_a_fork_server_that_is_killed_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hardfirst.training._processes._PAUSE", 0.0)
    started(_Context(2), "trial")
    with pytest.raises(InputError, match="was killed 3 times while it loaded"):
        started(_Context(3), "trial")


def test_a_daemonic_process_and_a_script_without_guard_get_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    process = multiprocessing.current_process()
    monkeypatch.setitem(process._config, "daemon", True)  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="This is a daemonic process"):
        check_can_start()
    monkeypatch.setattr(process, "_inheriting", True, raising=False)
    with pytest.raises(InputError, match="below `if __name__"):
        check_can_start()


def test_a_problem_object_is_no_name(tmp_path: Path) -> None:
    problem = load_problem("digits")
    for problems in (problem, [problem], ["digits", problem]):
        with pytest.raises(InputError, match=r"got a Problem. Each run has its own process, .* give the file's path"):
            Study(problems=problems)


def test_a_study_without_a_finished_run_has_its_own_status(
    hardfirst: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_all(runner: Runner, tell: object) -> None:
        for each, trials in runner.trials().items():
            trial, problem = trials[0].trial, trials[0].problem
            record_failure(trial, trial.of(problem), runner.store.record_file(each), "no such table")

    monkeypatch.setattr(Runner, "run", fail_all)
    monkeypatch.setattr(Runner, "measure_cost", lambda runner, tell: None)
    options = ("--balancers", "equal", "--seeds", "1", "--no-baselines", "--no-controls", "--out", "out")
    said = hardfirst("compare", written(tmp_path, PLAIN), *options, code=1)
    assert "No run has finished, so there is nothing to compare" in said
    assert "level with" not in said


@pytest.mark.slow
def test_a_script_without_a_main_guard_is_told_so_once(tmp_path: Path) -> None:
    path = written(tmp_path, PLAIN)
    script = tmp_path / "script.py"
    script.write_text(f"from hardfirst.study import Study\nStudy(**{plan(path)!r}).run({str(tmp_path / 'out')!r})\n")
    ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.count("Traceback") == 1, ended.stderr
    assert "hardfirst.errors.InputError: hardfirst starts processes that import this script again" in ended.stderr
