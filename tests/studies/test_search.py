"""Searches: which runs there are, what they decide, and that a stopped one ends like one that was not stopped."""

import io
import math
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest
import torch
from rich.console import Console

from hardfirst.balancers import Spec
from hardfirst.cli._progress import StudyProgress
from hardfirst.errors import InputError
from hardfirst.records import Record
from hardfirst.studies import Assignment, Ended, Plan, Runner, StudyTrial, counts
from hardfirst.studies.candidates import Facts, mean_weights, settled
from hardfirst.studies.kinds.search import SearchStudy
from hardfirst.studies.tuning import SEED
from hardfirst.training import Trial
from toy_study import Outcome, finished, measured, problem, run

CANDIDATES = "dtp:uniform=0.8,gradnorm,uncertainty,fixed:easy=1,hard=4,fixed:weights=dtp"
GAINS = {"dtp": 0.1, "gradnorm": 0.2, "uncertainty": -0.1, "fixed": 0.05}
"""What task b, the worst one, gains by method over equal weights."""


def kpi(trial: Trial, task: str) -> float:
    """A KPI that differs by seed, so that gains have a spread of a tenth of a point; the learning rate 1e-3 is best."""
    level = 0.8 if task == "a" else 0.4 + GAINS.get(trial.balancer.name, 0.0)
    return level + 0.001 * (trial.seed % 3) - 0.01 * abs(math.log10(trial.learning_rate / 1e-3))


def plan(path: str, **settings: object) -> Plan:
    return Plan(**{"problems": path, "search": "worst", "candidates": CANDIDATES, **settings})


def ending(kpi: Callable[[Trial, str], float] = kpi) -> Outcome:
    return lambda assignment, attempt: finished(assignment, kpi)


def search(
    folder: Path, outcome: Outcome | None = None, path: str | None = None, **settings: object
) -> tuple[Runner, list[Assignment]]:
    """A search that has run to its end, without training, and what was started in it."""
    runner = Runner(plan(path or problem(folder), **settings), folder / "out")
    executor, _ = run(runner, outcome or ending())
    runner.run()  # which finds nothing to train, and describes the study
    return runner, executor.started


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Runner, list[Assignment]]:
    """One in which nothing unusual happens."""
    return search(tmp_path_factory.mktemp("search"))


def trials_of(runner: Runner) -> list[StudyTrial]:
    return [trial for trials in runner.trials().values() for trial in trials]


def searched(folder: Path, outcome: Outcome | None = None, **settings: object) -> list[StudyTrial]:
    return trials_of(search(folder, outcome, **settings)[0])


def by_stage(trials: Iterable[StudyTrial]) -> dict[str | int, Counter[str]]:
    """The number of runs by stage and method; stages are rungs, "first" and "fresh"."""
    stages: dict[str | int, Counter[str]] = {}
    for trial in trials:
        stage = trial.rung or ("fresh" if trial.role == "method" else "first")
        stages.setdefault(stage, Counter())[trial.method] += 1
    return stages


# Which runs there are


def test_a_search_has_first_runs_rungs_and_fresh_seeds(whole: tuple[Runner, list[Assignment]]) -> None:
    assert by_stage(trials_of(whole[0])) == {
        "first": {"hard tasks": 3, "average of dtp": 1, "learning rate": 3},
        1: {"equal": 6, **dict.fromkeys(whole[0].plan.candidates or (), 1)},
        2: {"gradnorm": 2, "dtp:uniform=0.8": 2},
        3: {"gradnorm": 3, "dtp:uniform=0.8": 3},
        "fresh": {"equal": 7, "dtp": 7, "gradnorm": 7},
    }


def test_search_runs_never_read_the_test_split_and_fresh_seeds_are_new(whole: tuple[Runner, list[Assignment]]) -> None:
    for trial in trials_of(whole[0]):
        fresh = trial.entry.role == "method"
        assert (trial.trial.seed < SEED, trial.trial.test, trial.tuning) == (fresh, fresh, not fresh)
        assert fresh or trial.entry.role == "candidate"


def test_static_weights_come_from_the_first_runs(whole: tuple[Runner, list[Assignment]]) -> None:
    trials = trials_of(whole[0])
    assert {trial.method: str(trial.trial.balancer) for trial in trials if trial.method.startswith("fixed")} == {
        "fixed:easy=1,hard=4": "fixed:normalize=true,weights.a=0.4,weights.b=1.6",
        "fixed:weights=dtp": "fixed:normalize=true,weights.a=1.13,weights.b=0.8697",  # 1.3 and 1 in the record
    }


def test_auxiliary_tasks_have_their_part_of_static_weights() -> None:
    weights = {"a": {"weight": 0.5}, "side": {"weight": 1.5}, "unlabelled": {}}
    record = Record({}, ("a",), auxiliary=("side", "unlabelled"), epochs=[{"epoch": 1, "tasks": weights}])
    facts = Facts(tuple(weights), hard=("a",), average=mean_weights(record))
    assert {name: str(settled(Spec.parse(name), facts)) for name in ("fixed:weights=dtp", "fixed:easy=1,hard=4")} == {
        "fixed:weights=dtp": "fixed:normalize=true,weights.a=0.75,weights.side=2.25,weights.unlabelled=0.0",
        "fixed:easy=1,hard=4": "fixed:normalize=true,weights.a=2.0,weights.side=0.5,weights.unlabelled=0.5",
    }


def test_the_candidates_of_a_stage_are_trained_together(whole: tuple[Runner, list[Assignment]]) -> None:
    assert [Counter(trial.balancer.name for trial in each.trials.values()) for each in whole[1]] == [
        {"equal": 3, "dtp": 1},
        {"equal": 3},
        {"gradnorm": 1},
        {"equal": 5, "dtp": 1, "uncertainty": 1, "fixed": 2},  # and a run of equal weights that chose the learning rate
        {"equal": 7, "dtp": 7},
        {"gradnorm": 2},
        {"dtp": 2},
        {"gradnorm": 3},
        {"dtp": 3},
        {"gradnorm": 7},
    ]


def test_the_most_runs_are_known_before(whole: tuple[Runner, list[Assignment]]) -> None:
    runner, _ = whole
    (case,) = runner.plan.cases
    study, trials = SearchStudy(runner.plan, case, lambda key: None), trials_of(runner)
    needed = Counter(trial.row for trial in trials)
    assert {row: sum(runs) for row, runs in counts(runner.plan).items()} == {**needed, "learning rate": 3 + 2}
    assert f"at most {len({trial.key for trial in trials if trial.tuning}) + 2} single runs" in study.notes()[1]
    assert not any(study.alone().values())
    study = SearchStudy(Plan(**{**runner.plan.settings(), "candidates": "pcgrad,famo,dwa"}), case, lambda key: None)
    assert study.alone() == {
        "rung 1 of 3: 3 candidates × 1 seed": 1,
        "rung 2 of 3: 2 candidates × 2 seeds": 2,
        "rung 3 of 3: 2 candidates × 3 seeds": 3,
        "winner": 7,
    }


@pytest.mark.parametrize(
    ("best", "tried"),
    [
        (1e-3, [0.000316, 0.001, 0.00316]),
        (3.16e-3, [0.000316, 0.001, 0.00316, 0.01]),
        (1e-4, [0.000316, 0.001, 0.00316, 0.0001, 3.16e-05]),
        (3.16e-2, [0.000316, 0.001, 0.00316, 0.01, 0.0316]),
    ],
)
def test_all_runs_after_the_first_share_the_objective_and_a_learning_rate(
    tmp_path: Path, best: float, tried: list[float]
) -> None:
    """Two more rates are tried at most, while the best one is the lowest or highest."""

    def by_rate(trial: Trial, task: str) -> float:
        return 0.5 - 0.01 * abs(math.log10(trial.learning_rate / best))

    trials = searched(tmp_path, ending(by_rate), search="b", candidates="uncertainty")
    assert [trial.trial.learning_rate for trial in trials if trial.method == "learning rate"] == tried
    assert {trial.trial.learning_rate for trial in trials if trial.rung or trial.role == "method"} == {best}
    assert {trial.trial.criterion for trial in trials if trial.rung or trial.role == "method"} == {"b"}


@pytest.mark.parametrize(
    ("settings", "rates"), [({"learning_rate": 0.5}, {0.5}), ({"learning_rates": "0.1,0.4"}, {0.1, 0.2, 0.4})]
)
def test_the_user_may_give_the_learning_rate_or_the_range(tmp_path: Path, settings: dict, rates: set[float]) -> None:
    trials = searched(tmp_path, candidates="uncertainty", **settings)
    assert {trial.trial.learning_rate for trial in trials} == rates


def test_hard_tasks_are_measured_and_named_by_the_criterion(tmp_path: Path) -> None:
    trials = searched(tmp_path, search="hard", keep=["mean:0.5", "0.5*mean+0.5*hard:0"])
    assert [(trial.trial.seed - SEED, trial.trial.criterion) for trial in trials if trial.method == "hard tasks"] == [
        (0, "mean"),
        (1, "mean"),
        (2, "mean"),
    ]
    assert {trial.trial.criterion for trial in trials if trial.rung or trial.role == "method"} == {"b"}
    assert by_stage(trials)["fresh"]["gradnorm"] == 7


@pytest.mark.parametrize(("objective", "candidate"), [("hard", "dtp"), ("worst", "fixed:easy=1,hard=4")])
def test_hard_tasks_that_no_run_measures(tmp_path: Path, objective: str, candidate: str) -> None:
    def nan_for_first(trial: Trial, task: str) -> float:
        return float("nan") if trial.seed >= SEED and str(trial.balancer) == "equal" else kpi(trial, task)

    settings = {"search": objective, "candidates": f"{candidate},uncertainty", "learning_rate": 0.1}
    with pytest.raises(InputError, match="hard tasks are unknown") if objective == "hard" else nullcontext():
        assert candidate not in by_stage(searched(tmp_path, ending(nan_for_first), **settings))[1]


# What is decided


def test_without_a_gain_or_with_a_loss_equal_weights_are_kept(tmp_path: Path) -> None:
    def losing(trial: Trial, task: str) -> float:
        lost = 0.3 if task == "a" and trial.balancer.name in ("dtp", "gradnorm", "fixed") else 0.0
        return kpi(trial, task) - lost

    runner, _ = search(tmp_path, ending(losing))
    stages = by_stage(trials_of(runner))
    assert stages["fresh"] == {"equal": 7, "dtp": 7}
    assert 2 not in stages, "all credibly lose more than half a point of the mean"
    with StudyProgress(Console(file=io.StringIO()), runner) as progress:
        (bar,) = progress.bar.tasks
        assert bar.completed < bar.total, "further rungs are possible"
        runner.run(progress)
    assert bar.completed == bar.total == 7 + 11 + 14


def test_a_candidate_that_diverges_drops_out(tmp_path: Path) -> None:
    def nan_for_gradnorm(trial: Trial, task: str) -> float:
        return float("nan") if trial.balancer.name == "gradnorm" else kpi(trial, task)

    stages = by_stage(searched(tmp_path, ending(nan_for_gradnorm)))
    assert set(stages[2]) == {"dtp:uniform=0.8", "fixed:easy=1,hard=4"}
    assert stages["fresh"] == {"equal": 7, "dtp": 7, "dtp:uniform=0.8": 7}


def test_the_winner_may_be_dtp_itself(tmp_path: Path) -> None:
    assert by_stage(searched(tmp_path, candidates="dtp"))["fresh"] == {"equal": 7, "dtp": 7}


# Stopped searches


def test_a_search_that_is_stopped_again_and_again_ends_like_one_that_was_not_stopped(
    whole: tuple[Runner, list[Assignment]], tmp_path: Path
) -> None:
    (path,) = whole[0].plan.problems
    for _ in whole[1][::2]:
        with suppress(KeyboardInterrupt):
            search(tmp_path, stops_after(2), path)
    stopped, started = search(tmp_path, path=path)
    assert started == []
    assert measured(stopped.store) == measured(whole[0].store)
    assert together(stopped) == together(whole[0])


def stops_after(attempts: int) -> Outcome:
    """Ctrl-C in the attempt after so many."""
    started = iter(range(attempts))

    def ended(assignment: Assignment, attempt: int) -> Ended:
        if next(started, None) is None:
            raise KeyboardInterrupt
        return finished(assignment, kpi)

    return ended


def together(runner: Runner) -> dict[str, int]:
    """By trial, the number of trials that it was trained together with."""
    return {key: record.made_with.get("vectorized", 1) for key, record in runner.store.records()}


def test_the_report_of_a_search_that_has_ended_or_not(
    whole: tuple[Runner, list[Assignment]], tmp_path: Path, hardfirst: Callable[..., str]
) -> None:
    printed = hardfirst("report", str(whole[0].store.folder))
    assert "Use gradnorm: +20" in printed
    with suppress(KeyboardInterrupt):
        search(tmp_path, stops_after(3))
    Runner(plan(problem(tmp_path)), tmp_path / "out")  # which describes the study
    assert "Still searching: rung 1 of 3" in hardfirst("report", str(tmp_path / "out"))
    for form in ("csv", "json", "md", "tex"):
        assert hardfirst("report", str(tmp_path / "out"), "--format", form)


def test_without_shared_parameters_gradnorm_is_no_default_candidate(tmp_path: Path) -> None:
    path = problem(tmp_path)
    assert "gradnorm" in (Plan(problems=path, search="mean").candidates or ())
    code = Path(path).read_text().replace("return HardSharing(", "return Plain(")
    plain = "class Plain(HardSharing):\n    shared_parameters = property()\n\ndef network():"
    (other := tmp_path / "plain.py").write_text(code.replace("def network():", plain))
    state = torch.get_rng_state()
    candidates = Plan(problems=str(other), search="mean").candidates or ()
    assert not any("gradnorm" in text for text in candidates)
    assert len(candidates) == 10
    assert torch.equal(torch.get_rng_state(), state)


def test_an_order_of_tasks_is_measured_before_the_search() -> None:
    asked = Plan(problems="digits", search="worst", networks="task_hierarchy:order=hard_first")
    (trial,) = SearchStudy(asked, asked.cases[0], lambda key: None).trials()
    assert counts(asked)[trial.row] == (1, 0)
    assert asked.candidates == Plan(problems="digits", search="worst", networks="task_hierarchy").candidates


def test_a_dry_run_lists_candidates_rungs_and_cost(hardfirst: Callable[..., str]) -> None:
    printed = hardfirst("search", "digits", "--maximise", "hard", "--keep", "mean:0.3", "--keep", "sum:1", "--dry-run")
    assert re.search(r"rung 1 of 3: 12 candidates × 1 seed\W+18\W+0", printed)
    assert "Candidates: dtp, dtp:uniform=0.8," in printed
    assert (
        "at most 42 single runs (one of them chooses the learning rate and is in rung 1), and the fresh seeds 21" in printed
    )
    assert "keep:\n- mean:0.3\n- sum:1" in printed


@pytest.mark.slow
def test_a_killed_search_goes_on(tmp_path: Path) -> None:
    """SIGKILL to the parent while it trains: the same command trains what is left, and ends with an answer."""
    command = [sys.executable, "-m", "hardfirst", "search", problem(tmp_path), "--out", str(tmp_path / "out"), "--no-cost"]
    command += ["--maximise", "worst", "--candidates", "uncertainty", "--seeds", "1", "--learning-rate", "0.01"]
    first, trials = subprocess.Popen(command, stdout=subprocess.DEVNULL), tmp_path / "out/trials"
    deadline = time.monotonic() + 120
    while not list(trials.glob("*.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.05)
    first.kill()
    first.wait()
    done = {path: path.stat().st_mtime_ns for path in trials.glob("*.jsonl")}
    assert 0 < len(done) < 14
    second = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"{len(done)} already done." in second.stdout
    assert "equal weights" in second.stdout
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert 14 <= len(list(trials.glob("*.jsonl"))) <= 15
