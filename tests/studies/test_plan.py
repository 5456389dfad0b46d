"""What a study may be asked for: all errors at once, as sentences, from Python, flags and YAML alike."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import toy_study
from hardfirst.errors import InputError, number
from hardfirst.problems import PROBLEMS, Problem
from hardfirst.recipes import Recipe
from hardfirst.studies import KINDS, Plan, Runner, StudyKind, StudyTrial, counts
from hardfirst.studies.candidates import CANDIDATES
from hardfirst.study import Search
from hardfirst.training import Trial


def plan(**settings: object) -> Plan:
    return Plan(**{"problems": "digits", **settings})


def refused(**settings: object) -> str:
    with pytest.raises(InputError) as error:
        plan(**settings)
    return str(error.value)


def test_equal_weights_are_added_unless_baselines_are_not_wanted() -> None:
    assert [str(spec) for spec in plan(balancers="dtp,dwa").specs] == ["equal", "dtp", "dwa"]
    assert [str(spec) for spec in plan(balancers="dtp,equal").specs] == ["dtp", "equal"]
    assert [str(spec) for spec in plan(balancers="dtp", baselines=False).specs] == ["dtp"]


def test_a_case_for_each_problem_and_network() -> None:
    cases = plan(networks=["own", "wide"], epochs=3, learning_rate=0.5).cases
    assert [(trial.network, trial.epochs, trial.learning_rate) for trial, _ in cases] == [("own", 3, 0.5), ("wide", 3, 0.5)]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"problems": "digits,digits"}, "problems: The problem 'digits' is given twice."),
        ({"problems": []}, "problems: Expected at least one problem; got none."),
        (
            {"networks": "wid"},
            "networks: Unknown network of problem 'digits': 'wid'; did you mean 'wide'? Known: own, wide, hard_sharing",
        ),
        ({"balancers": "fixed:left=1"}, "balancers: Expected a weight for every task; 'right' has none."),
        ({"epochs": 0}, "epochs: Expected `epochs` to be a whole number, at least 1; got 0."),
        ({"learning_rate": 0}, "learning_rate: Expected `learning_rate` to be above 0; got 0.0."),
        (
            {"engine": "ray:cpu=2"},
            "engine: Unknown option of engine 'ray': 'cpu'; did you mean 'cpus'? Known: address, cpus",
        ),
        ({"engine": "ray:gpus=-1"}, "engine: Expected `gpus` to be at least 0; got -1."),
        ({"engine": "ray:cpus=2", "trial_cpus": 3}, "trial_cpus: there is no such setting;"),
        ({"kind": "order"}, "kind: Unknown kind of study 'order'; did you mean 'orders'? Known: balancers, losses, "),
        ({"orders": 3}, "orders: Expected `orders` to be true or false; got 3."),
        ({"compared": 3}, "compared: A study of balancers compares its `balancers`: leave out `compared`, 3."),
        ({"baselines": "maybe"}, "baselines: Input should be a valid boolean, unable to interpret input; got 'maybe'."),
        ({"search": "worst", "keep": ["worst:1"]}, "keep: worst is what the search maximises: a winner gains it."),
        ({"maximise": "worst"}, "maximise: there is no such setting; the objective of a search is `search: worst`."),
    ],
)
def test_an_error_says_where_and_what_is_right(settings: dict, sentence: str) -> None:
    assert refused(**settings).startswith(sentence)


def test_all_errors_at_once() -> None:
    lines = refused(problems="digit,digits", balancers="dpt,dtp:gama=1", seeds=-1, tun=3).splitlines()
    assert lines[0] == "The study has 5 errors:"
    assert [line.strip().partition(":")[0] for line in lines[1:]] == ["problems", "balancers", "balancers", "seeds", "tun"]


def test_potentials_from_single_task_runs_are_for_studies_alone() -> None:
    (spec,) = plan(balancers="achievement:potential=stl", baselines=False).specs
    with pytest.raises(InputError, match="takes the potential from single-task runs, which only a study has"):
        spec.build(["a", "b"])


def test_a_plan_as_a_file(tmp_path: Path) -> None:
    asked = plan(balancers="dtp:gamma=2,equal", tune=5, learning_rates=(1e-4, 1e-2), controls=False)
    file = tmp_path / "study.yaml"
    file.write_text(asked.yaml())
    assert Plan.read(file) == asked
    assert Plan.read(file, seeds=3) == asked.model_copy(update={"seeds": 3})
    assert "seeds" not in asked.yaml()


def test_a_kind_of_study_is_asked_for_by_its_own_setting(tmp_path: Path) -> None:
    asked = Plan(problems="digits", orders=True, seeds=2)
    assert asked == Plan(problems="digits", kind="orders", seeds=2)
    assert (asked.kind, asked.settings()) == ("orders", {"problems": ["digits"], "orders": True, "seeds": 2})
    (tmp_path / "study.yaml").write_text(asked.yaml())
    assert Plan.read(tmp_path / "study.yaml") == asked
    assert Plan(problems="digits", orders=False, losses=[]).kind == "balancers"


def test_the_file_of_a_search_holds_what_is_tried_and_kept(tmp_path: Path) -> None:
    asked = Plan(problems="digits", search=" worst ", keep="0.5*left + 0.5*right:1")
    settings = asked.settings()
    assert (settings["search"], settings["keep"]) == ("worst", ["0.5*left+0.5*right:1"])
    assert settings["candidates"] == list(CANDIDATES)
    (tmp_path / "study.yaml").write_text(asked.yaml())
    assert Plan.read(tmp_path / "study.yaml") == asked
    assert Search(problems="digits", maximise="worst", keep=asked.keep).settings() == settings
    assert Search.read(tmp_path / "study.yaml").settings() == settings
    assert Plan(problems="digits", search="worst").keep == ("mean:0.5",)
    assert Plan(problems="digits", search="mean").keep == ()  # a winner gains it
    assert Plan(problems="digits", search="worst", keep=[]).keep == ()
    assert Plan(problems="digits", search="worst", candidates="equal,famo").candidates == ("famo",)


class RateStudy(StudyKind):
    """A kind of study that a package might add: which learning rate is best with equal weights."""

    title, suffix, baseline = "Learning rates", "rates", "0.01"
    summary, choices = "Compare learning rates.", "The learning rates, joined by commas, the baseline first."

    @classmethod
    def check(cls, compared: Any, problems: Sequence[Problem]) -> tuple[float, ...]:
        rates = [float(rate) for rate in compared.split(",")] if isinstance(compared, str) else compared
        return tuple(number("rates", rate, above=0) for rate in rates)

    def trials(self) -> Iterator[StudyTrial]:
        for seed in range(self.plan.seeds):
            for rate in self.plan.compared:
                yield self.study_trial(str(rate), replace(self.base, learning_rate=rate, seed=seed))

    def count(self) -> dict[str, tuple[int, int]]:
        return {str(rate): (0, self.plan.seeds) for rate in self.plan.compared}

    def first_trials(self) -> dict[str, Trial]:
        return {trial.method: trial.trial for trial in self.trials() if trial.trial.seed == 0}


@pytest.fixture
def _rates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS.plugins, "rates", None)
    monkeypatch.setitem(KINDS.loaded, "rates", RateStudy)


@pytest.mark.usefixtures("_rates")
def test_a_kind_of_study_has_a_command(hardfirst: Callable[..., str]) -> None:
    assert "Compare learning rates." in hardfirst("study", "--help")
    assert "--tune" not in hardfirst("study", "rates", "--help")
    printed = hardfirst("study", "rates", "digits", "--rates", "0.01,0.1", "--seeds", "3", "--dry-run")
    assert re.search(r"│ 0\.1 +│ +0 │ +3 │", printed)
    assert "No such command 'balancers'" in hardfirst("study", "balancers", "digits", code=2)


@pytest.mark.usefixtures("_rates")
def test_a_package_adds_a_kind_of_study(tmp_path: Path) -> None:
    asked = Plan(problems="digits", rates=[0.01, 0.1], seeds=3)
    assert Plan(**asked.settings()) == asked
    assert counts(asked) == {"0.01": (0, 3), "0.1": (0, 3)}
    about = Runner(asked, tmp_path).store.about()
    assert (about.title, about.kind) == ("Learning rates on digits", "rates")
    assert [(entry.method, entry.tuning) for entry in about.cases[0].trials] == [("0.01", False), ("0.1", False)] * 3
    with pytest.raises(InputError, match="rates: Expected `rates` to be above 0; got -1"):
        Plan(problems="digits", rates=[-1])


@pytest.mark.parametrize(
    ("settings", "engine"),
    [
        ({"engine": "ray"}, "ray"),
        ({"engine": "ray", "address": "auto", "trial_cpus": 2, "trial_gpus": 0.5}, "ray:address=auto,cpus=2,gpus=0.5"),
        ({"engine": "ray", "address": None}, "ray"),
        ({"trial_cpus": 2}, "local"),
        ({"engine": "ray:gpus=0.50,cpus=2"}, "ray:cpus=2,gpus=0.5"),
    ],
)
def test_the_settings_that_became_options_of_the_engine_are_still_read(settings: dict, engine: str) -> None:
    asked = plan(**settings)
    assert asked.engine == engine
    assert Plan(**asked.settings()) == asked


def test_a_name_of_a_setting_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("1: 2\nproblems: digits\n")
    with pytest.raises(InputError, match=r"^1: there is no such setting"):
        Plan.read(tmp_path / "study.yaml")


def test_a_recipe_is_part_of_the_trials_and_of_the_file(tmp_path: Path) -> None:
    settings = {
        "optimizer": "sgd:nesterov=true,momentum=0.9",
        "schedule": "cosine",
        "clip": 1,
        "loaders": 2,
        "drop_last": False,
    }
    plan = Plan(problems="digits", **settings)
    assert plan.recipe == {**settings, "optimizer": "sgd:momentum=0.9,nesterov=true"}
    (tmp_path / "study.yaml").write_text(plan.yaml())
    assert Plan.read(tmp_path / "study.yaml") == plan
    ((trial, problem),) = plan.cases
    assert trial.describe(trial.of(problem))["recipe"] == {
        "optimizer": "sgd:momentum=0.9,nesterov=true",
        "schedule": "cosine",
        "clip": 1,
        "loaders": 2,
    }
    assert Plan(problems="digits", optimizer="adam").cases[0].trial.key(problem) == Plan(problems="digits").cases[
        0
    ].trial.key(problem)


def test_a_range_is_part_of_the_file_and_its_middle_of_the_base_trial(tmp_path: Path) -> None:
    plan = Plan(problems="digits", tune=2, optimizer="sgd:momentum=.9..0.999", clip="0.1..10", schedule="cosine")
    assert plan.settings()["optimizer"] == "sgd:momentum=0.9..0.999"
    (tmp_path / "study.yaml").write_text(plan.yaml())
    assert Plan.read(tmp_path / "study.yaml") == plan
    assert dict(plan.cases[0].trial.recipe) == {"optimizer": "sgd:momentum=0.99", "clip": 1.0, "schedule": "cosine"}


def test_a_plan_switches_off_what_the_problem_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = replace(PROBLEMS["digits"](), recipe=Recipe(schedule="cosine", clip=1.0, average=0.9))
    monkeypatch.setitem(PROBLEMS.loaded, "digits", lambda: own)
    (tmp_path / "study.yaml").write_text("problems: [digits]\nclip: null\naverage: none\nschedule: constant\n")
    for plan in (
        Plan.read(tmp_path / "study.yaml"),
        Plan(problems="digits", clip="none", average="none", schedule="constant"),
    ):
        ((trial, problem),) = plan.cases
        assert trial.recipe_of(problem) == Recipe()
        assert "recipe" not in trial.describe(trial.of(problem))
        (tmp_path / "again.yaml").write_text(plan.yaml())
        assert Plan.read(tmp_path / "again.yaml") == plan
    assert Plan(problems="digits", clip=None).cases[0].trial.recipe_of(own) == own.recipe


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"optimizer": "adamw:eps=1e-9..1e-7", "tune": 0}, "optimizer: The range in adamw:eps=1e-9..1e-7 needs `tune`"),
        ({"clip": "0.1..10", "orders": True}, "clip: The range in 0.1..10 needs `tune`"),
        ({"clip": "1.."}, "clip: Expected a range as its lower and its upper end"),
        ({"clip": "0..1"}, "clip: Expected `clip` to be above 0; got 0"),
        ({"clip": "much"}, "clip: Expected `clip` to be a number; got 'much'."),
        ({"schedule": "cosine:warmup=0..1"}, "schedule: The schedule 'cosine:warmup=1': Expected `warmup` to be below 1"),
        ({"optimizer": "sgd:momentun=0..1"}, "optimizer: Unknown option of optimizer 'sgd': 'momentun'; did you mean"),
        ({"optimizer": "sgd:nesterov=0..1"}, "optimizer: "),
        ({"optimizer": "sgd..adam"}, "optimizer: Unknown optimizer 'sgd..adam'"),
        ({"optimizer": "sgd:momentum=0.9+1..2"}, "optimizer: The optimizer 'sgd:momentum=0.9+1..2' has dots that"),
        ({"accumulate": "1..4"}, "accumulate: Expected `accumulate` to be"),
        ({"precision": "1..4"}, "precision: "),
        ({"learning_rates": "1e-4..1e-2"}, "learning_rates: Expected two learning rates, the least and the greatest, both"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_range(settings: dict[str, Any], sentence: str) -> None:
    assert refused(**{"tune": 3, **settings}).startswith(sentence)


def test_what_is_wrong_with_its_recipe() -> None:
    settings: dict[str, Any] = {"optimizer": 3, "schedule": "cosin", "precision": "16-mixed", "clip": 0, "average": 2}
    with pytest.raises(InputError) as error:
        Plan(problems="digits", **settings, loaders=-1, drop_last="no")
    assert str(error.value).splitlines() == [
        "The study has 7 errors:",
        "  optimizer: Expected `optimizer` as text, such as sgd:momentum=0.9; got 3. A function belongs into the problem's "
        "file, in Problem(recipe=Recipe(...)).",
        "  schedule: Unknown schedule 'cosin'; did you mean 'cosine'? Known: constant, cosine, onecycle, plateau, step.",
        "  precision: Precision 16-mixed needs a CUDA GPU, but the device is cpu. Use bf16-mixed.",
        "  clip: Expected `clip` to be above 0; got 0.",
        "  average: Expected `average` to be below 1; got 2.",
        "  loaders: Expected `loaders` to be a whole number, at least 0; got -1.",
        "  drop_last: Expected `drop_last` to be true or false; got 'no'.",
    ]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a.py", "b.py"], ["toy (a.py)", "toy (b.py)"]),
        (["one/a.py", "two/a.py"], ["toy (one/a.py)", "toy (two/a.py)"]),
        (["a.py"], ["toy"]),
    ],
    ids=len,
)
def test_problems_of_one_name_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: list[str], names: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in paths:
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text(Path(toy_study.problem(tmp_path)).read_text())
    study = Plan(problems=paths, baselines=False)
    cases = [KINDS[study.kind](study, case, lambda key: None) for case in study.cases]
    assert [case.entries().problem for case in cases] == names
    assert [case.name for case in cases] == [f"{name}/own" for name in names]
