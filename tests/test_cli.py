"""The command line as a user meets it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console

from hardfirst import __version__, cli
from hardfirst.balancers import BALANCERS
from hardfirst.studies import Store

EXAMPLE = Path(__file__).parent.parent / "examples/own_problem.py"


@pytest.fixture
def hardfirst(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command in this process, in a folder of its own, and return what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "console", Console(width=200))

    def run(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["hardfirst", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        printed = "".join(capsys.readouterr())
        assert (stop.value.code or 0) == code, printed
        return printed

    return run


ENVIRONMENT = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}


def test_help_loads_neither_torch_nor_lightning() -> None:
    code = """
import sys
from hardfirst import cli
for arguments in (["--help"], ["compare", "--help"], ["train", "--help"], ["--version"]):
    try:
        cli.app(arguments)
    except SystemExit as stop:
        assert not stop.code
heavy = [name for name in ("torch", "lightning", "scipy", "numpy", "plotly", "sklearn") if name in sys.modules]
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert "compare" in done.stdout
    assert __version__ in done.stdout


def test_the_core_loads_torch_and_nothing_else() -> None:
    code = """
import sys
import hardfirst
for name in hardfirst.__all__:
    getattr(hardfirst, name)
for name in ("balancers", "losses", "kpi", "networks", "functional"):
    module = getattr(hardfirst, name)
    for public in dir(module):
        getattr(module, public)
for name in sorted(hardfirst.balancers.BALANCERS):
    pass
heavy = [name for name in ("lightning", "torchmetrics", "scipy", "pandas", "plotly", "sklearn", "typer", "rich", "torchjd")
         if name in sys.modules]
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "digit"], "Unknown problem 'digit'; did you mean 'digits'?"),
        (["compare", "digits", "--balancers", "equal,dpt"], "Unknown balancer 'dpt'; did you mean 'dtp'?"),
        (
            ["compare", "digits", "--balancers", "dtp:gama=2"],
            "of balancer 'dtp': 'gama'; did you mean 'gamma'?",
        ),
        (["compare", "digits", "--balancers", "dtp:gamma=-1"], "Expected `gamma` to be at least 0; got -1."),
        (["compare", "digits", "--balancers", "fixed:left=1"], "Expected a weight for every task; 'right' has none."),
        (["compare", "digits", "--seeds", "0"], "Expected `seeds` to be at least 1; got 0."),
        (["compare", "digits", "--seed", "3"], "No such option: --seed"),
        (["compare", "nothing.py"], "There is no file nothing.py."),
        (["train", "digits", "--epochs", "0"], "Expected `epochs` to be at least 1; got 0."),
        (["train", "digits", "--learning-rate", "0"], "Expected `learning_rate` to be above 0; got 0.0."),
        (["train", "digits", "--resume"], "There is no checkpoint"),
        (["report", "nowhere"], "There is no study in nowhere: it has no study.json."),
        (["list", "networ"], "'networ' is not one of"),
        (["comprae"], "No such command 'comprae'"),
    ],
)
def test_bad_input_gets_one_sentence_and_code_2(hardfirst: Callable[..., str], arguments: list[str], message: str) -> None:
    assert message in hardfirst(*arguments, code=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def problem(:\n", "own.py, line 1: SyntaxError"),
        ("import torch\nimport no_such_module\n", "own.py, line 2: ModuleNotFoundError: No module named 'no_such_module'"),
        ("x = 1\n", "own.py has no function `problem()`"),
        ("def problem():\n    return 3\n", "should return a Problem; it returned int"),
        ("def problem():\n    table = {}\n    return table['x']\n", "own.py, line 3: KeyError: 'x'"),
        (
            "from hardfirst.problems import Problem\ndef problem():\n    return Problem('p', (), None, None)\n",
            "own.py, line 3: Expected `tasks` of problem 'p' to be one or more Task objects.",
        ),
    ],
)
def test_errors_in_a_users_file_are_shown_with_its_line(
    hardfirst: Callable[..., str], tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "own.py").write_text(text)
    assert message in hardfirst("compare", "own.py", code=2)


@pytest.mark.slow
def test_a_users_own_problem_compares_and_reports(hardfirst: Callable[..., str], tmp_path: Path) -> None:
    """A table, two classification tasks and a regression, some labels missing."""
    arguments = ["compare", str(EXAMPLE), "--balancers", "equal,dtp", "--seeds", "3", "--epochs", "2", "--out", "study"]
    printed = hardfirst(*arguments)
    assert "6 trials in study, 6 to run." in printed
    assert "progression" in printed
    assert "on the worst task" in printed
    assert "6 trials in study, 0 to run." in hardfirst(*arguments)
    page = tmp_path / "study/report.html"
    first = page.read_text()
    page.unlink()
    assert "The page: study/report.html" in hardfirst("report", "study")
    assert page.read_text() == first
    records = Store(tmp_path / "study").records()
    assert {r.outcome for r in records} == {"finished"}
    assert records[0].made_with["command"].startswith("hardfirst compare")


def test_train_prints_figures_and_leaves_weights(hardfirst: Callable[..., str], tmp_path: Path) -> None:
    printed = hardfirst("train", str(EXAMPLE), "--balancer", "dtp:gamma=1", "--epochs", "2", "--out", "run")
    assert "progression" in printed
    assert "best" in torch.load(tmp_path / "run/checkpoint.pt", weights_only=True)
    assert "has ended already" in hardfirst(
        "train", str(EXAMPLE), "--balancer", "dtp:gamma=1", "--epochs", "2", "--out", "run", "--resume"
    )
    assert "The page: run/report.html" in hardfirst("report", "run")


@pytest.mark.slow
def test_ctrl_c_saves_and_says_how_to_go_on(hardfirst: Callable[..., str], tmp_path: Path) -> None:
    command = ["train", str(EXAMPLE), "--epochs", "2000", "--out", "run"]
    process = subprocess.Popen(
        [sys.executable, "-m", "hardfirst", *command], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=tmp_path
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "run/checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "To go on: hardfirst train" in printed
    assert printed.rstrip().endswith("--resume")
    assert "holds a run that was stopped: add --resume" in hardfirst(*command, code=2)


def test_list(hardfirst: Callable[..., str]) -> None:
    printed = hardfirst("list")
    assert all(name in printed for name in BALANCERS)
    assert "kpis" in printed
    assert "Needs: kpis" in hardfirst("list", "balancers", "dtp")
    assert "Unknown balancer 'dpt'; did you mean 'dtp'?" in hardfirst("list", "balancers", "dpt", code=2)
    assert "digits" in hardfirst("list", "problems")
    assert "HardSharing" in hardfirst("list", "networks")


def test_without_the_extra_the_command_says_what_to_install() -> None:
    code = "import sys; sys.modules['typer'] = None; from hardfirst.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.strip() == (
        'hardfirst: the command line needs typer, which is not installed: pip install "hardfirst[cli]"'
    )


def test_a_bad_spec_from_the_shell_has_no_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hardfirst", "train", "digits", "--balancer", "dpt"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("hardfirst: Unknown balancer 'dpt'; did you mean 'dtp'?")
    assert done.stderr.count("\n") == 1


def test_every_balancer_has_a_card() -> None:
    from hardfirst.balancers import card

    for name in BALANCERS:
        found = card(name)
        assert found.title, name
        assert found.when, f"{name} does not say when to use it"
        assert found.cost, f"{name} does not say what it costs"
