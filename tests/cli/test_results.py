"""What commands print of a study: the ranked table, the answer, the next command, and the exit code."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import toy_study
from hardfirst.cli import _ascii, _common, _results
from hardfirst.cli._leaderboard import fitting_table, leaderboard_table, task_table
from hardfirst.cli._progress import ShareProgress
from hardfirst.report import Comparison
from hardfirst.report.model.answer import answer
from hardfirst.report.text.search_tables import search_tables
from hardfirst.studies import Plan, Runner, Store, runner
from made_records import alone, case_of, control, diverged, search_case, static, study

SEEDS = [0.40, 0.42, 0.44, 0.42, 0.40, 0.42, 0.44]


def shown(table: Any, width: int) -> list[str]:
    """The table's lines, each with single spaces."""
    console = Console(width=width)
    with console.capture() as captured:
        console.print(table)
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= width
    return [" ".join(line.split()) for line in lines]


def compared(**others: list[float]) -> Any:
    """Equal weights, methods, single-task networks, and a control."""
    higher = [kpi + 0.1 + 0.001 * (seed % 2) for seed, kpi in enumerate(SEEDS)]
    lower = [kpi - 0.1 for kpi in higher]
    single = [run for seed in range(7) for run in alone(seed, (0.9, 0.7, 0.6))]
    frozen = control("frozen average", "dtp", SEEDS)
    return case_of(study(equal=SEEDS, stch=lower, dtp=higher, **others), *single, *frozen)


def test_methods_are_ranked_below_the_baseline_and_above_references() -> None:
    case = compared()
    lines = shown(leaderboard_table(answer(case), 100), 100)
    names = [line.split()[0] for line in lines[3:] if not line.startswith("─")]
    assert names == ["equal", "dtp", "stch", "single-task", "dtp,"]
    assert lines[3].startswith("equal 42.0 baseline 67.3 baseline – −10.0")
    assert lines[4].startswith("dtp 52.0 +10.0 [+10.0, +10.1]* 70.7 +3.3 [+3.3, +3.4]* 1 / 0")
    assert "dtp, frozen average 42.0 +0.0 [+0.0, +0.0]" in lines[-1]


def test_a_search_ranks_the_candidates_of_its_last_rung() -> None:
    spec = "dtp:anneal=0.6+0.8,uniform=0.2"
    case = search_case({"dtp": (0.15, -0.04), spec: (0.1, 0.0), "famo": (0.01, 0.0), "dwa": (-0.02, 0.0)})
    (table,) = search_tables(case.search, last=True)
    wide, narrow = (shown(fitting_table(table, width), width) for width in (120, 80))
    assert wide[3].startswith(f"{spec} +9.0 ± 0.0 +10.0 ± 0.6 +10.0 ± 0.4 +9.8 +0.0 ± 0.1 winner")
    assert wide[4].startswith("famo ")
    assert len(wide) == 5
    assert "dtp:anneal=0.6+0.8, +10.0 ± 0.4 +9.8 +0.0 ± 0.1 winner" in narrow
    assert "uniform=0.2" in narrow


def test_a_narrow_terminal_has_fewer_columns_and_broken_names() -> None:
    spec = "dtp:alpha=0.05,gamma=2,uniform=0.8"
    case = compared(**{spec: [kpi + 0.05 for kpi in SEEDS]})
    wide, narrow = (shown(leaderboard_table(answer(case), width), width) for width in (120, 80))
    assert "cost" in " ".join(wide[:2])
    assert "cost" not in " ".join(narrow[:2])
    assert "gamma=2," in narrow, "a name breaks behind a comma or a colon"


def test_runs_that_did_not_finish_stand_in_the_table() -> None:
    case = case_of(study(equal=SEEDS[:3], dtp=SEEDS[:2]), diverged("dtp", 2))
    lines = shown(leaderboard_table(answer(case), 80), 80)
    assert any(line.startswith("dtp (2 of 3 runs)") for line in lines)


def test_a_table_by_task_where_it_fits() -> None:
    case = compared()
    lines = shown(task_table(answer(case), 80), 80)
    assert lines[2] == "hard 42.0 +10.0 (+0.0) 60.0", "the task that gains most from a network of its own is first"
    assert lines[-1] == "middle 70.0 (+0.0) (+0.0) 70.0"
    assert task_table(answer(case), 30) is None


def test_identical_methods_are_one_row() -> None:
    case = case_of(study(equal=SEEDS[:3], dtp=SEEDS[:3]), *static("equal", SEEDS[:3]))
    lines = shown(leaderboard_table(answer(case), 80), 80)
    assert lines[3].startswith("equal = dtp = static")


@pytest.mark.parametrize("character", "−–…×Δα≥‖√ö")
def test_a_terminal_without_unicode_gets_ascii(character: str) -> None:
    _ascii.register()
    assert "?" not in character.encode("ascii", _ascii.HANDLER).decode()


def test_the_answer_follows_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = Comparison([compared()], command="hardfirst compare toy")
    monkeypatch.setattr(Comparison, "read", lambda folder: found)
    monkeypatch.setattr(_common.console, "_width", 200)
    _results.write_report(tmp_path, None)
    printed = capsys.readouterr().out
    places = [
        printed.index(text)
        for text in ("leaderboard, best first by the mean", "single-task", "dtp lifts the worst task", "Next: ", "Page: ")
    ]
    assert places == sorted(places)
    assert "\n  hardfirst compare toy --tune 10\n" in printed


def failing(folder: Path, seed: int) -> str:
    """A problem whose run with this seed fails."""
    path = Path(toy_study.problem(folder))
    text = path.read_text().replace(
        "def network():", f"def network():\n    assert torch.initial_seed() != {seed}, 'no such layer'"
    )
    path.write_text(text)
    return str(path)


OPTIONS = ("--balancers", "equal,dtp", "--no-baselines", "--no-controls", "--no-cost", "--no-vectorize", "--epochs", "1")


@pytest.mark.slow
def test_a_failed_run_gives_exit_code_1(hardfirst: Callable[..., str], tmp_path: Path) -> None:
    """Although others have finished; it stands in a line at the end, and the results are shown."""
    arguments = ("compare", failing(tmp_path, seed=1), "--seeds", "2", "--out", "study", *OPTIONS)
    printed = hardfirst(*arguments, code=1)
    assert "equal (1 of 2 runs)" in printed
    assert "2 runs failed: equal, seed 1; dtp, seed 1. The same command runs them again." in printed
    assert "The same command runs again what failed" in printed


@pytest.mark.slow
def test_a_closed_pipe_ends_the_printing_and_not_the_study(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hardfirst", "compare", toy_study.problem(tmp_path), "--seeds", "1", "--out", "study"]
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        done = subprocess.run(
            [*command, *OPTIONS], cwd=tmp_path, stdout=closed, stderr=subprocess.PIPE, text=True, check=False, timeout=200
        )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert (tmp_path / "study/report.html").exists()
    assert len(list(Store(tmp_path / "study").records())) == 2


def test_the_cost_of_a_step_is_not_measured_where_the_plan_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It has no part in the trials' keys."""
    path, told = toy_study.problem(tmp_path), []
    monkeypatch.setattr(runner, "run_alone", lambda work, what, tell, tables: told.append(tell))
    with_cost, without = (Runner(Plan(**toy_study.plan(path, cost=cost)), tmp_path / "study") for cost in (True, False))
    assert with_cost.trials().keys() == without.trials().keys()
    without.measure_cost(print)
    assert told == []
    with_cost.measure_cost(print)
    assert told == [print]


@pytest.mark.parametrize("terminal", [True, False])
def test_the_measurement_of_the_cost_says_what_it_does(terminal: bool) -> None:
    """A log file gets one line; nothing is shown if there is nothing to measure."""
    console = Console(force_terminal=terminal, width=120)
    with console.capture() as captured, ShareProgress(console, "Timing a training step of each method") as timing:
        pass
    assert captured.get() == ""
    with console.capture() as captured, ShareProgress(console, "Timing a training step of each method") as timing:
        for share in (0.0, 0.5, 1.0):
            timing(share)
    assert "Timing a training step of each method" in captured.get()
    assert ("100%" in captured.get()) == terminal
