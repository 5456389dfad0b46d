"""Studies of tables: a table is read and fitted once, by the process that starts the study."""

import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import torch

from hardfirst.errors import InputError
from hardfirst.problems import Problem, digest, load_problem, table_name
from hardfirst.problems.tables import _checksum, _problem, _reading, _sharing, prepared_in, read_from
from hardfirst.studies import Assignment, Ended, Plan, Runner
from hardfirst.studies.executors.worker import run_assignment
from toy_study import Scripted

TARGETS = (
    "price:regression:log:kpi=within:tolerance=40,sold:classification:weights=balanced,size:ordinal:order=small<medium<large"
)


@pytest.fixture
def table(tmp_path: Path) -> str:
    random = np.random.default_rng(0)
    area = random.uniform(20, 200, 200)
    frame = pd.DataFrame({"area": area, "note": [f"{row % 60} on the left side" for row in range(200)], "price": 10 * area})
    frame["sold"] = random.choice(["yes", "no"], 200)
    frame["size"] = np.array(["small", "medium", "large"])[np.digitize(area, (80, 140))]
    frame.to_csv(tmp_path / "homes.csv", index=False)
    return table_name(str(tmp_path / "homes.csv"), TARGETS)


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The tables that have been read, one for each time."""
    found = []
    read = _reading._from_text

    def counted(path: Path, data: bytes) -> _reading.Sheet:
        found.append(path)
        return read(path, data)

    monkeypatch.setattr(_reading, "_from_text", counted)
    return found


def forget() -> None:
    """Let the next call be the first in this process."""
    for cached in (_reading._read, _problem._prepare, _sharing._read):
        cached.cache_clear()


def figures(problem: Problem) -> dict[str, list[float]]:
    """All tensors of a problem, and what its losses, KPIs and metrics say of random outputs."""
    found: dict[str, list[float]] = {}
    for split, data in vars(problem.data()).items():
        found |= {f"{split} {name}": values.nan_to_num(-1).flatten().tolist() for name, values in data.targets.items()}
        found[split] = data.inputs.flatten().tolist()
    table = problem.data().validation
    for task in problem.tasks:
        width = problem.transform.targets[problem.task_names.index(task.name)].outputs  # type: ignore[union-attr]
        output = torch.randn(len(table), *[width] * bool(width), generator=torch.Generator().manual_seed(0))  # type: ignore[arg-type]
        measures = [task.loss, task.kpi_of_batch, *(metric.measure for metric in task.metrics.values())]
        found[task.name] = [float(measure(output, table.targets[task.name])) for measure in measures]  # type: ignore[union-attr, misc]
    return found


def test_a_study_reads_its_table_once_and_its_workers_need_no_pandas(
    table: str, readings: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fresh(assignment: Assignment, number: int) -> Ended:
        forget()
        with monkeypatch.context() as patch:
            for module in ("pandas", "sklearn"):
                patch.setitem(sys.modules, module, None)
            return Ended(assignment.key, run_assignment(assignment, torch.get_num_threads()))

    forget()
    settings = {"baselines": False, "controls": False, "cost": False, "vectorize": False}
    runner = Runner(Plan(problems=table, balancers="equal,dtp", seeds=2, epochs=1, **settings), tmp_path / "out")
    runner.executor = Scripted(fresh)
    runner.run()
    assert [record.outcome for _, record in runner.store.records()] == ["finished"] * 4
    assert len(readings) == 1
    assert not list(runner.store.tables.glob("*.table")), "a copy of the data outlives the study"


def intact(folder: Path, file: Path) -> None: ...


def damaged(folder: Path, file: Path) -> None:
    (kept,) = folder.glob("*.table")
    kept.write_bytes(kept.read_bytes()[:-100])


def of_another_kind(folder: Path, file: Path) -> None:
    (kept,) = folder.glob("*.table")
    torch.save({"about": "{}"}, kept)


def removed(folder: Path, file: Path) -> None:
    (kept,) = folder.glob("*.table")
    kept.unlink()


def changed(folder: Path, file: Path) -> None:
    text = file.read_text()
    file.write_text(text.replace("yes", "may"))


@pytest.mark.parametrize(
    ("happens", "times"),
    [(intact, 0), (damaged, 1), (of_another_kind, 1), (removed, 1), (changed, 1)],
    ids=lambda case: getattr(case, "__name__", None),
)
def test_workers_have_the_table_as_it_is_now(
    table: str, readings: list[Path], tmp_path: Path, happens: Callable[[Path, Path], None], times: int
) -> None:
    file, folder = tmp_path / "homes.csv", tmp_path
    with prepared_in(folder, ["digits", table]), read_from(folder):
        happens(folder, file)
        forget()
        readings.clear()
        found = load_problem(table)
        assert len(readings) == times
    forget()
    own = load_problem(table)
    assert (found.transform, found.epochs, found.description) == (own.transform, own.epochs, own.description)
    assert figures(found) == figures(own)


@pytest.mark.parametrize(("settled", "times"), [(-1.0, 2), (60.0, 4)], ids=["long ago", "just now"])
def test_a_table_is_hashed_again_when_it_may_have_changed(
    table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settled: float, times: int
) -> None:
    hashed = Mock(wraps=_checksum._sha256_of)
    monkeypatch.setattr(_checksum, "_sha256_of", hashed)
    monkeypatch.setattr(_checksum, "_SETTLED", settled)  # seconds since the file's last change
    before = {digest(table) for _ in range(2)}
    changed(tmp_path, file := tmp_path / "homes.csv")
    after = {digest(table) for _ in range(2)}
    assert (len(before), len(after), len(before | after), hashed.call_count) == (1, 1, 2, times)
    with pytest.raises(InputError, match=r"homes.csv has changed while it was read. Run the same command again"):
        _reading.read(file, "0" * 64)


def test_where_tables_cannot_be_kept_each_process_reads_them(table: str, readings: list[Path], tmp_path: Path) -> None:
    with prepared_in(tmp_path / "homes.csv", [table]), read_from(tmp_path / "homes.csv"):  # a file, not a folder
        forget()
        assert load_problem(table).name == "homes"
    assert len(readings) == 2
