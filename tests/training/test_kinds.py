"""Networks, data and KPIs of unusual kinds: each trains, or gets a sentence that says what to do."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardfirst import records
from hardfirst.balancers import BALANCERS, Spec
from hardfirst.errors import InputError
from hardfirst.kpi import accuracy, balanced_accuracy
from hardfirst.networks import HardSharing
from hardfirst.problems import PROBLEMS, LossOption, Metric, Problem, Splits, Task, TensorTable
from hardfirst.training import MeasureWarning, Trial, check_problem, epoch_order, fit
from hardfirst.training._batch import concatenate

HEADS = ("a", "b")


def table(count: int, seed: int = 0, **targets: Tensor) -> TensorTable:
    inputs = torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))
    return TensorTable(inputs, {"a": (inputs[:, 0] > 0).long(), "b": (inputs[:, 1] > 0).long(), **targets})


def sharing(*trunk: nn.Module, width: int = 8) -> nn.Module:
    return HardSharing(nn.Sequential(*trunk), {task: nn.Linear(width, 2) for task in HEADS})


def small(**changes: Any) -> Problem:
    options: dict[str, Any] = {
        "tasks": tuple(Task(task, F.cross_entropy, accuracy) for task in HEADS),
        "network": lambda: sharing(nn.Linear(4, 8), nn.ReLU()),
        "data": lambda: Splits(table(64, 1), table(32, 2), table(32, 3)),
        "batch_size": 16,
        "epochs": 3,
        "learning_rate": 0.05,
    }
    return Problem("small", **{**options, **changes})


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., records.Record]:
    def run(*, balancer: str = "equal", **changes: Any) -> records.Record:
        monkeypatch.setitem(PROBLEMS.loaded, "small", lambda: small(**changes))
        files = {"record_file": tmp_path / "r.jsonl", "checkpoint": tmp_path / "c.pt"}
        return fit(Trial.plan("small", Spec.parse(balancer)), **files, accelerator="cpu")  # type: ignore[arg-type]

    return run


Run = Callable[..., records.Record]


class Versioned(nn.Linear):
    """A layer with extra state that is no tensor."""

    version: Any = 3

    def get_extra_state(self) -> Any:
        return {"version": self.version}

    def set_extra_state(self, state: Any) -> None:
        assert state == {"version": self.version}


class Unpicklable(Versioned):
    version = Path("a path")


class Phase(nn.Module):
    """A layer with a complex parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = nn.Parameter(torch.ones(8, dtype=torch.complex64))

    def forward(self, features: Tensor) -> Tensor:
        return (features * self.turn).real


class Bank(nn.Module):
    """A buffer of all features so far."""

    def __init__(self, persistent: bool = True) -> None:
        super().__init__()
        self.register_buffer("bank", torch.zeros(0, 8), persistent=persistent)

    def forward(self, features: Tensor) -> Tensor:
        if self.training:
            self.bank = torch.cat([self.bank, features.detach()])
        return features


class Forgotten(nn.Module):
    """A lazy layer that nothing runs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LazyLinear(3)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs


@pytest.mark.parametrize(
    ("trunk", "balancer"),
    [
        # needs the shared parameters, whose shapes lazy layers lack at first
        (lambda: [nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.ReLU()], "pcgrad"),
        (lambda: [Versioned(4, 8)], "pcgrad"),
        (lambda: [nn.Linear(4, 8), Phase()], "dtp"),
        (lambda: [nn.Linear(4, 8), Bank(persistent=False)], "pcgrad"),
    ],
    ids=["lazy", "extra state", "complex", "a buffer that grows outside the state"],
)
def test_networks_that_train_and_resume(
    run: Run, tmp_path: Path, trunk: Callable[[], list[nn.Module]], balancer: str
) -> None:
    network = lambda: sharing(*trunk())  # noqa: E731
    check_problem(small(network=network), "small")
    whole = run(network=network, balancer=balancer)
    assert whole.outcome == "finished"
    assert max(whole.curve("a", "validation_kpi")) > 0.7
    trial = Trial.plan("small", Spec.parse(balancer))
    again = fit(trial, record_file=tmp_path / "r.jsonl", checkpoint=tmp_path / "c.pt", resume=True, accelerator="cpu")
    assert again.test == whole.test


@pytest.mark.parametrize(
    ("trunk", "sentence"),
    [
        ([nn.LazyLinear(8), Forgotten()], r"have no shape after a forward pass, .* trunk.1.layer.weight"),
        ([Unpicklable(4, 8)], "extra state .* cannot be saved in a checkpoint"),
        (
            [nn.Linear(4, 8), Bank()],
            r"'trunk.1.bank' was \[0, 8\] torch.float32 and is \[16, 8\] torch.float32. Give it a fixed",
        ),
    ],
    ids=["a lazy layer that nothing runs", "an object as extra state", "a buffer that grows"],
)
def test_networks_that_cannot_be_held(run: Run, trunk: list[nn.Module], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        run(network=lambda: sharing(*trunk))


def test_gradients_of_complex_parameters_are_not_balanced(run: Run) -> None:
    with pytest.raises(InputError, match=r"Balancer 'pcgrad' needs real gradients, but shared parameters .* are complex"):
        run(network=lambda: sharing(nn.Linear(4, 8), Phase()), balancer="pcgrad")


# A remainder of one example


def with_batch_norm() -> nn.Module:
    return sharing(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU())


@pytest.mark.parametrize(
    ("sizes", "batch_size", "sampling", "expected"),
    [
        ((65,), 16, "proportional", [16, 16, 16, 17]),
        ((64,), 16, "proportional", [16, 16, 16, 16]),
        ((66,), 16, "proportional", [16, 16, 16, 16, 2]),
        ((3,), 2, "proportional", [3]),
        ((1,), 16, "proportional", [1]),
        ((3,), 1, "proportional", [1, 1, 1]),
        ((17, 33), 16, "proportional", [17, 16, 17]),
        ((17, 33), 16, "round_robin", [17, 16, 17]),  # one and two turns
    ],
)
def test_a_single_example_joins_the_batch_before(
    sizes: tuple[int, ...], batch_size: int, sampling: str, expected: list[int]
) -> None:
    problem = small(batch_size=batch_size, sampling=sampling)
    split = {str(index): table(size) for index, size in enumerate(sizes)}
    order = epoch_order(problem, split, 0, 0, join_single=True)  # type: ignore[arg-type]
    assert sorted(map(len, order)) == sorted(expected)
    if sampling == "proportional":
        assert sorted(index for batch in order for index in batch) == list(range(sum(sizes)))


@pytest.mark.parametrize(("norm", "steps"), [(nn.BatchNorm1d(8), 4), (nn.LayerNorm(8), 5)])
def test_only_networks_that_need_it_get_a_larger_batch(run: Run, tmp_path: Path, norm: nn.Module, steps: int) -> None:
    """All others are trained on the same batches as ever."""
    data = lambda: Splits(table(65, 1), table(32, 2), table(32, 3))  # noqa: E731
    assert run(network=lambda: sharing(nn.Linear(4, 8), norm), data=data).outcome == "finished"
    averages = torch.load(tmp_path / "c.pt", weights_only=True)["optimizer"]["state"]
    assert averages[0]["step"] == 3 * steps


def test_batches_of_one_example_throughout(run: Run) -> None:
    for act in (run, lambda **changes: check_problem(small(**changes), "small")):
        with pytest.raises(InputError, match=r"trained on a batch of one example \(ValueError: Expected more than 1 .* Set"):
            act(network=with_batch_norm, batch_size=1)


# KPIs and labels that are not there


class Scripted:
    """A KPI with given values on the validation split; .5 elsewhere."""

    def __init__(self, *values: float) -> None:
        self.values: Iterator[float] = iter(values)

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        validates = len(target) == 30 and len(output.unique(dim=0)) > 1  # one answer for all is a look at the measure
        return torch.tensor(next(self.values, 0.5) if validates else 0.5)


def scripted(a: tuple[float, ...], b: tuple[float, ...]) -> dict[str, Any]:
    tasks = [Task(name, F.cross_entropy, Scripted(*values)) for name, values in (("a", a), ("b", b))]
    return {"tasks": tasks, "data": lambda: Splits(table(64, 1), table(30, 2), table(20, 3)), "epochs": 3}


@pytest.mark.parametrize("balancer", ["equal", "dtp"])
def test_an_epoch_with_an_undefined_kpi_is_not_the_best(run: Run, balancer: str) -> None:
    """Were the NaN left out, the second epoch would have 1.0, more than the .6 of the first."""
    record = run(**scripted(a=(0.6, 1.0, 0.5), b=(0.6, math.nan, 0.6)), balancer=balancer)
    assert record.selected() == (1, pytest.approx(0.6))
    assert record.test is not None
    assert record.test["epoch"] == 1
    assert record.epochs[1]["tasks"]["b"]["validation_examples"] == 30
    assert record.test["tasks"]["b"]["examples"] == 20


def test_a_run_without_any_score_has_no_result(run: Run) -> None:
    with pytest.raises(InputError, match="No KPI of problem 'small' on the validation split was defined in any epoch"):
        run(**scripted(a=(math.nan,) * 3, b=(math.nan,) * 3))


def test_a_training_split_without_any_label(run: Run) -> None:
    unlabelled = table(64, a=torch.full((64,), -100), b=torch.full((64,), -100))
    with pytest.raises(InputError, match="No task of problem 'small' has a label in the training split"):
        run(data=lambda: Splits(unlabelled, table(32, 2), table(32, 3)))


def test_a_divergence_names_what_is_wrong_with_the_target(run: Run) -> None:
    def masks(seed: int, value: float) -> TensorTable:
        pixels = torch.zeros(32, 3)
        pixels[::2, 1] = value
        return table(32, seed, a=pixels)

    class Net(nn.Linear):
        def forward(self, inputs: Tensor) -> dict[str, Tensor]:
            return {"a": super().forward(inputs)}

    for value, cause in ((math.nan, "NaN in parts of examples, such as pixels"), (math.inf, "has infinite values")):
        record = run(
            tasks=[Task("a", F.mse_loss, lambda output, target: torch.tensor(0.5))],
            network=lambda: Net(4, 3),
            data=lambda value=value: Splits(masks(1, value), masks(2, 0.0), masks(3, 0.0)),
        )
        assert record.outcome == "diverged"
        assert record.reason is not None
        assert "the loss of a was not finite in epoch 1, step 1; the target of a" in record.reason
        assert cause in record.reason


# Batches of different lengths


def test_batches_of_different_lengths_are_padded_for_their_evaluation() -> None:
    output, target = concatenate("a", [(torch.ones(2, length, 3), torch.ones(2, length).long()) for length in (2, 4)])
    assert output.shape == (4, 4, 3)
    assert target[:2].tolist() == [[1, 1, -100, -100]] * 2
    assert output[0, :, 0].tolist() == [1, 1, 0, 0]
    assert F.cross_entropy(output.mT, target) == pytest.approx(math.log(3)), "padding does not count"
    values = concatenate("b", [(torch.ones(2, length), torch.ones(2, length)) for length in (2, 4)])[1]
    assert values[:2].isnan().sum(1).tolist() == [2, 2]


@pytest.mark.parametrize(
    ("first", "second", "dtype"),
    [((2, 3), (2, 4), torch.uint8), ((2, 3), (2, 4), torch.bool), ((2, 3), (2, 4, 1), torch.float32)],
)
def test_batches_that_cannot_be_padded(first: tuple[int, ...], second: tuple[int, ...], dtype: torch.dtype) -> None:
    pairs = [(torch.zeros(shape), torch.zeros(shape, dtype=dtype)) for shape in (first, second)]
    with pytest.raises(InputError, match=r"The batches of task 'a' cannot be joined .* outputs \['…', 3\] and \['…', 4"):
        concatenate("a", pairs)


# Measures that mean little


def rare(count: int, positives: int) -> Tensor:
    return (torch.arange(count) < positives).long()


def one_task(kpi: Callable[[Tensor, Tensor], Tensor], *, floating: bool, validation: int, test: int) -> Problem:
    """A task with two classes, and the given number of positives in the splits of 100."""

    def split(seed: int, positives: int) -> TensorTable:
        target = rare(100, positives)
        return table(100, seed, a=target.float() if floating else target)

    class Net(nn.Linear):
        def forward(self, inputs: Tensor) -> dict[str, Tensor]:
            output = super().forward(inputs)
            return {"a": output[:, 0] if floating else output}

    loss = F.binary_cross_entropy_with_logits if floating else F.cross_entropy
    splits = Splits(split(1, 50), split(2, validation), split(3, test))
    return small(tasks=[Task("a", loss, kpi)], network=lambda: Net(4, 2), data=lambda: splits, epochs=1)


@pytest.mark.parametrize("floating", [False, True])
@pytest.mark.parametrize("stored", [True, False], ids=["in memory", "a data set of items"])
def test_a_kpi_that_one_answer_reaches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, floating: bool, stored: bool
) -> None:
    problem = one_task(accuracy, floating=floating, validation=3, test=50)
    sentence = r"always answers class 0 reaches a KPI of 0.970 in task 'a' on the validation split, where 97.0% of"
    if stored:
        with pytest.warns(MeasureWarning, match=sentence) as caught:
            check_problem(problem, "small")
    else:
        monkeypatch.setitem(PROBLEMS.loaded, "small", lambda: problem)
        with pytest.warns(MeasureWarning, match=sentence) as caught:
            fit(Trial.plan("small", Spec.parse("equal")), record_file=tmp_path / "r", accelerator="cpu")
    assert len(caught) == 1


@pytest.mark.parametrize("floating", [False, True])
def test_a_class_without_a_label(floating: bool) -> None:
    problem = one_task(accuracy, floating=floating, validation=50, test=0)
    with pytest.warns(MeasureWarning) as caught:
        check_problem(problem, "small")
    assert "Task 'a' has no label of class 1 in the test split" in str(caught[0].message)
    assert "always answers class 0 reaches a KPI of 1.000" in str(caught[1].message)


def test_a_doubt_about_both_splits_is_said_once() -> None:
    problem = one_task(accuracy, floating=False, validation=3, test=3)
    with pytest.warns(MeasureWarning, match="on the validation split") as caught:
        check_problem(problem, "small")
    assert len(caught) == 1


@pytest.mark.parametrize("floating", [False, True])
def test_a_kpi_that_a_rare_class_does_not_fool(floating: bool) -> None:
    check_problem(one_task(balanced_accuracy, floating=floating, validation=3, test=3), "small")  # warnings are errors here


# Auxiliary tasks


def with_auxiliary(**changes: Any) -> dict[str, Any]:
    """Task b has no KPI, and a third metric of its own."""
    tasks = (Task("a", F.cross_entropy, accuracy), Task("b", F.cross_entropy, None, metrics={"share": Metric(accuracy)}))
    return {"tasks": tasks, **changes}


@pytest.mark.parametrize("balancer", [name for name in BALANCERS if name not in ("fixed", "frozen", "curriculum")])
def test_an_auxiliary_task_is_trained_and_has_no_kpi(run: Run, tmp_path: Path, balancer: str) -> None:
    check_problem(small(**with_auxiliary()), "small")
    record = run(**with_auxiliary(), balancer=balancer)
    assert record == records.read(tmp_path / "r.jsonl")
    assert (record.outcome, record.tasks, record.auxiliary) == ("finished", ("a",), ("b",))
    assert record.selected()[1] == max(record.curve("a", "validation_kpi"))
    assert all(map(math.isfinite, record.curve("b", "validation_loss")))
    assert all(weight > 0 for weight in record.curve("b", "weight"))
    for line in (record.epochs[0], record.test or {}):
        assert "kpi" not in line["tasks"]["b"]
        assert "validation_kpi" not in line["tasks"]["b"]
    assert record.test_metrics("b")["share"] >= 0


def test_methods_that_follow_kpis_give_an_auxiliary_task_the_weight_1(run: Run) -> None:
    record = run(**with_auxiliary(), balancer="dtp:normalize=false")
    assert record.curve("b", "weight") == [1.0, 1.0, 1.0]
    assert record.curve("a", "weight")[-1] < 1


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: small(tasks=[Task("b", F.cross_entropy, None)]), "a task of problem 'small' to have a KPI; got b with"),
        (lambda: small(**with_auxiliary()).variant(only="b"), "a task of problem 'small' to have a KPI; got b with"),
        (lambda: Task("b", F.cross_entropy, None, losses={"x": LossOption(F.cross_entropy)}), "compared by its KPI; it has"),
    ],
)
def test_what_needs_a_kpi(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make()
