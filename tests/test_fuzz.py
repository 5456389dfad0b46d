"""Any text, plan, problem or damaged file is accepted or raises an `InputError`, never another exception.

Every run draws the same examples.
"""

import math
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hardfirst import Spec, kpi, records
from hardfirst.balancers import BALANCERS
from hardfirst.errors import InputError
from hardfirst.networks import NETWORKS, NetworkSpec
from hardfirst.problems import Problem, Splits, TensorTable
from hardfirst.records.objective import Objective
from hardfirst.report import Comparison
from hardfirst.studies import Plan
from hardfirst.training import MeasureWarning, check_problem
from wrong_inputs.commands import write
from wrong_inputs.measures import parts
from wrong_inputs.problems import INPUTS, Net, problem, table, task


def fuzz(examples: int) -> settings:
    shared = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]  # files that each example writes anew
    examples = min(examples, settings.default.max_examples) if settings.get_current_profile_name() == "quick" else examples
    return settings(derandomize=True, deadline=None, max_examples=examples, suppress_health_check=shared, database=None)


# Lines

WORDS = st.sampled_from(
    ["nan", "inf", "-inf", "1e400", "1e20", "-1", "0", "0.5", "2", "true", "None", "a", "a+b", "1e20+b", "+", ""]
)
VALUES = WORDS | st.floats().map(str) | st.integers(-3, 20).map(str) | st.text(max_size=5)


def options(names: list[str]) -> st.SearchStrategy[str]:
    keys = st.sampled_from(names) | st.sampled_from(names).map("{}.a".format) | st.text(max_size=5)
    return st.lists(st.tuples(keys, VALUES).map("=".join), max_size=3).map(",".join)


BALANCER_OPTIONS = [
    "alpha",
    "gamma",
    "potential",
    "normalize",
    "weights",
    "kind",
    "seed",
    "order",
    "epochs",
    "record",
    "a",
    "lr",
]
BALANCER_LINES = st.tuples(st.sampled_from(sorted(BALANCERS)), options(BALANCER_OPTIONS)).map(":".join)
NETWORK_LINES = st.tuples(st.sampled_from(sorted(NETWORKS)), options(["order", "width", "experts", "same", "levels"])).map(
    ":".join
)


def parsed(kind: type[Spec] | type[NetworkSpec], text: str) -> Spec | NetworkSpec | None:
    """Return the spec, checked to survive a round trip through its text; None if the text is refused."""
    try:
        spec = kind.parse(text)
    except InputError:
        return None
    assert kind.parse(str(spec)) == spec
    assert str(kind.parse(str(spec))) == str(spec)
    return spec


@fuzz(300)
@given(BALANCER_LINES | st.text(max_size=30))
@example("dtp:priority=1e20+b")
@example("dtp:gamma=nan")
def test_any_line_makes_a_balancer_or_gets_a_sentence(text: str) -> None:
    spec = parsed(Spec, text)
    try:
        if spec is not None:
            spec.build(["a", "b"])  # type: ignore[arg-type]
    except InputError:
        return


@fuzz(200)
@given(NETWORK_LINES | st.text(max_size=30))
def test_any_line_makes_a_network_or_gets_a_sentence(text: str) -> None:
    spec = parsed(NetworkSpec, text)
    numbers = [value for _, value in spec.options if isinstance(value, int | float)] if spec else []
    try:
        if isinstance(spec, NetworkSpec) and all(value <= 20 for value in numbers):  # no time for wide ones
            spec.build(parts())
    except InputError:
        return


@fuzz(100)
@given(st.text(alphabet="dtpequal,:=.0 ", max_size=30))
def test_any_list_of_lines(text: str) -> None:
    try:
        specs = Spec.parse_list(text)
    except InputError:
        return
    assert Spec.parse_list(",".join(map(str, specs))) == specs


PIECES = st.sampled_from([*"ab+-*/(),.:", "mean", "worst", "hard", "min(", "0.7", "1e9", "0", '"a"', "'", "x", "lambda"])
OBJECTIVES = st.lists(PIECES | st.text(max_size=2), max_size=12).map("".join)


@fuzz(300)
@given(OBJECTIVES)
@example("-" * 9000 + "a")
@example("(" * 5000)
@example("a" + "+a" * 1000)
@example("9" * 5000 + "*a")
@example("\0")
@example('"\ud800"')
def test_any_objective_is_parsed_or_refused(text: str) -> None:
    tasks = ("a", "b", "mean", 'c "d"')
    try:
        objective = Objective.parse(text, tasks)
    except InputError:
        return
    assert Objective.parse(objective.text, tasks) == objective
    if not objective.needs_hard:
        assert 0 <= objective.value(dict.fromkeys(tasks, 0.5)) == pytest.approx(0.5)


# Plans

SETTINGS = st.sampled_from([*Plan.model_fields, "self", "seed", ""])
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.dates()
    | st.sampled_from(["digits", "dtp", "equal,dtp", "own", "mmoe", "worst", "cpu", "1e-4,1e-2"])
)
PLAN_VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2), max_leaves=5
)
MAPPINGS = st.dictionaries(SETTINGS, PLAN_VALUES, max_size=4).map(lambda some: {"problems": ["digits"], **some})


def read_plan(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        plan = Plan.read(path)
    except InputError:
        return
    path.write_text(plan.yaml())
    assert Plan.read(path) == plan


@fuzz(150)
@given(MAPPINGS)
def test_any_settings_make_a_plan_or_get_a_sentence(tmp_path: Path, values: dict) -> None:
    read_plan(tmp_path / "study.yaml", yaml.safe_dump(values).encode())


@fuzz(200)
@given(st.binary(max_size=40) | st.text(alphabet="problems: [digits]\n!&*{}-?|>'\"#%@`,", max_size=40).map(str.encode))
def test_any_text_is_a_plan_or_gets_a_sentence(tmp_path: Path, content: bytes) -> None:
    read_plan(tmp_path / "study.yaml", content)


# Records

CUTS = st.tuples(st.integers(0, 2000), st.just(None), st.just(b""))
FLIPS = st.tuples(st.integers(0, 2000), st.integers(1, 3), st.binary(min_size=1, max_size=3))
JUNK = st.binary(max_size=20) | st.sampled_from(
    [b"{}\n", b"[]\n", b"null\n", b'{"kind": []}\n', b"[" * 3000 + b"\n", b"1" * 5000 + b"\n"]
)


def changed(content: bytes, change: tuple[int, int | None, bytes]) -> bytes:
    """Replace some bytes of the content, or everything from there on if the length is None."""
    at, length, bytes_ = change
    at %= len(content)
    return content[:at] + bytes_ + (b"" if length is None else content[at + length :])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study with two seeds of two methods, and a fifth record to damage."""
    monkeypatch.chdir(tmp_path)
    for balancer in ("equal", "dtp"):
        for seed in (0, 1):
            write(f"{balancer}{seed}", balancer, seed)
    write("last", "dtp", 2)
    return tmp_path / "study"


def sound(record: records.Record) -> None:
    """Read every figure of a record."""
    for name in record.tasks:
        record.test_kpi(name)
        record.validation_kpi(name)
        record.curve(name, "weight")
    record.selected()


@fuzz(300)
@given(st.data())
def test_a_record_of_which_something_has_happened(folder: Path, data: st.DataObject) -> None:
    path = folder / "trials/last.jsonl"
    whole = (folder / "trials/equal0.jsonl").read_bytes()
    junk = JUNK.map(lambda end: whole + end)
    path.write_bytes(data.draw(junk | (CUTS | FLIPS).map(lambda change: changed(whole, change))))
    try:
        sound(records.read(path))
    except InputError as error:
        if "last.jsonl" not in str(error):
            raise


@fuzz(100)
@given(st.integers(0, 2000))
def test_what_is_there_of_a_record_that_was_cut_short(folder: Path, end: int) -> None:
    path = folder / "trials/last.jsonl"
    whole, content = records.read(folder / "trials/dtp0.jsonl"), (folder / "trials/dtp0.jsonl").read_bytes()
    path.write_bytes(content[: end % len(content)])
    lines = content[: end % len(content)].count(b"\n")
    if lines == 0:
        with pytest.raises(InputError, match="the first line should describe the trial"):
            records.read(path)
        return
    record = records.read(path)
    assert record.trial == whole.trial
    assert record.epochs == whole.epochs[: lines - 1]
    assert (record.test is not None, record.outcome) == (lines > 4, None)


@fuzz(40)
@given(st.data())
def test_the_others_are_reported_and_what_is_left_out_is_said(folder: Path, data: st.DataObject) -> None:
    path = folder / "trials/last.jsonl"
    write("last", "dtp", 2)
    path.write_bytes(changed(path.read_bytes(), data.draw(CUTS | FLIPS)))
    try:
        records.read(path)
        damaged = False
    except InputError:
        damaged = True
    try:
        comparison = Comparison.read(folder)
    except InputError:  # its settings are those of another study now
        if damaged:
            raise
        return
    runs = {(name, seed) for case in comparison.cases for name, seed in case.runs}
    assert runs >= {(balancer, seed) for balancer in ("equal", "dtp") for seed in (0, 1)}
    assert comparison.damaged or not damaged
    if not damaged:  # a readable record is left out only if a name in its first line has changed
        assert all("lacks the problem, balancer or seed" in reason for reason in comparison.damaged)
    assert comparison.verdict
    assert not comparison.summary.empty
    if not damaged:
        assert "</html>" in comparison.html()


@pytest.mark.parametrize(
    "name", ["schema", "trial", "tasks", "epoch", "seconds", "learning_rate", "outcome", "reason", "kind"]
)
def test_a_record_without_what_a_line_has(folder: Path, name: str) -> None:
    path = folder / "trials/last.jsonl"
    path.write_text(path.read_text().replace(f'"{name}":', f'"no {name}":'))
    with pytest.raises(InputError, match=r"last\.jsonl is not a run record: "):
        records.read(path)


def test_a_record_of_another_library_s_loop(hardfirst: Callable[..., str], folder: Path) -> None:
    """It has no learning rate."""
    for path in (folder / "trials").glob("*.jsonl"):
        path.write_text(path.read_text().replace(', "learning_rate": 0.01}', "}", 1))
    assert ",equal," in hardfirst("report", str(folder), "--format", "csv")


def test_the_report_says_what_it_leaves_out(hardfirst: Callable[..., str], folder: Path) -> None:
    path = folder / "trials/last.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"kpi"', b'"kpi', 1))
    for arguments in (["report", str(folder)], ["report", str(folder), "--format", "md"]):
        printed = hardfirst(*arguments)
        assert f"Left out: {path} is not a run record: line 5 is not JSON" in printed
        assert re.search("^dtp ", printed, re.MULTILINE)
    assert path.exists()


# Problems

JUNK_VALUES = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        2.5,
        math.nan,
        math.inf,
        "",
        "x",
        "own",
        (),
        [],
        {},
        {"kind": 1},
        object(),
        len,
        dict,
        Net,
        table,
        Tensor,
    ]
)
TENSORS = st.sampled_from(
    [
        torch.tensor(1.0),
        torch.tensor(3),
        torch.tensor(True),
        torch.zeros(0),
        torch.zeros(12),
        torch.zeros(12, 3),
        torch.full((12,), math.nan),
        torch.zeros(12, dtype=torch.long),
        torch.full((12,), 7),
        torch.ones(12, dtype=torch.bool),
        torch.zeros(2, 2, 2, dtype=torch.float64),
        torch.zeros(12, dtype=torch.complex64),
    ]
)
ANYTHING = JUNK_VALUES | TENSORS


def checked(make: Callable[[], Problem]) -> None:
    """Check one batch, as is done before training."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MeasureWarning)
            check_problem(make(), "own")
    except InputError as error:
        if not str(error).strip():
            raise


@fuzz(250)
@given(
    st.dictionaries(st.sampled_from(["name", "loss", "kpi", "metrics", "losses", "scale", "kpi_from"]), ANYTHING, max_size=2)
)
def test_any_task(fields: dict) -> None:
    checked(lambda: problem(tasks=(task(**{"name": "kind"} | fields),)))


PROBLEM_FIELDS = [
    "name",
    "tasks",
    "network",
    "batch_size",
    "epochs",
    "learning_rate",
    "networks",
    "sampling",
    "temperature",
    "parts",
]


@fuzz(250)
@given(st.dictionaries(st.sampled_from(PROBLEM_FIELDS), JUNK_VALUES, max_size=2))
def test_any_problem(fields: dict) -> None:
    checked(lambda: problem(**fields))


@fuzz(300)
@given(st.lists(ANYTHING | st.tuples(ANYTHING, ANYTHING | st.fixed_dictionaries({"kind": ANYTHING})), max_size=3))
def test_any_items(items: list) -> None:
    checked(lambda: problem(data=lambda: table(items)))


@fuzz(200)
@given(ANYTHING, ANYTHING)
def test_any_table_and_splits(inputs: object, target: object) -> None:
    checked(lambda: problem(data=lambda: inputs))
    checked(lambda: problem(data=lambda: Splits(inputs, target, inputs)))  # type: ignore[arg-type]

    def splits() -> Splits:
        return table(TensorTable(inputs, {"kind": target}))  # type: ignore[arg-type, dict-item]

    checked(lambda: problem(data=splits, network=lambda: Fixed(INPUTS)))


class Fixed(nn.Module):
    """A network with constant outputs."""

    def __init__(self, outputs: object) -> None:
        super().__init__()
        self.layer, self.outputs = nn.Linear(1, 1), outputs

    def forward(self, _: object) -> object:
        return self.outputs


@fuzz(300)
@given(ANYTHING | st.fixed_dictionaries({"kind": ANYTHING}), TENSORS, st.sampled_from(["loss", "kpi"]), ANYTHING)
def test_any_outputs_losses_and_kpis(outputs: object, target: Tensor, what: str, value: object) -> None:
    measured = {"loss": F.cross_entropy, "kpi": kpi.accuracy} | {what: lambda output, target: value}
    for measures in ({}, measured):
        checked(
            lambda measures=measures: problem(  # type: ignore[misc]
                tasks=(task(**measures),),
                network=lambda: Fixed(outputs),
                data=lambda: table(TensorTable(torch.zeros(len(target)), {"kind": target})) if target.dim() else table(),
            )
        )
