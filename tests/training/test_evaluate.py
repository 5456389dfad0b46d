"""Evaluation batch by batch gives the figures of all outputs at once, in memory that does not grow with the split."""

import math
import multiprocessing
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchmetrics
from torch import Tensor, nn
from torch.utils.data import Dataset

from hardfirst import kpi
from hardfirst.errors import InputError
from hardfirst.problems import Batch, Metric, Problem, Splits, Task, TensorTable
from hardfirst.training import MeasureWarning, _doubts
from hardfirst.training import _evaluate as evaluate
from hardfirst.training._batch import compute_kpi, measure
from hardfirst.training._evaluate import Evaluation, TaskResult, evaluation_batch

CPU = torch.device("cpu")
C = torchmetrics.classification
NAN = math.nan


class Echo(nn.Module):
    """A network that returns its inputs."""

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return inputs


def problem(*tasks: Task) -> Problem:
    return Problem("echo", tasks, Echo, lambda: Splits([], [], []))  # type: ignore[arg-type]


def results(
    tasks: list[Task], output: Tensor, target: Tensor, *sizes: int, name: str | None = None, test: bool = False
) -> dict[str, TaskResult]:
    """The figures of all tasks on the same outputs and targets, in batches of these sizes."""
    own = problem(*tasks)
    batches = [
        ({task.name: out for task in tasks}, {task.name: answer for task in tasks})
        for out, answer in zip(output.split(list(sizes)), target.split(list(sizes)), strict=True)
    ]
    evaluation = Evaluation(own, CPU, test=test, name=name)
    for share in evaluation.shares(own, Echo(), iter(batches)):
        evaluation.add(share)
    return evaluation.results()


def result(task: Task, output: Tensor, target: Tensor, *sizes: int, **options: Any) -> TaskResult:
    return results([task], output, target, *sizes, **options)[task.name]


# Losses


def masked_error(output: Tensor, target: Tensor) -> Tensor:
    return (output - target)[~target.isnan()].abs().mean()


@kpi.streams(lambda sums: sums[0] / sums[1])
def per_object(output: Tensor, target: Tensor) -> Tensor:
    """A mean over targets above 0.5, which a mean over labels would miss."""
    objects = target > 0.5
    return torch.stack([(output - target)[objects].abs().sum(), objects.sum().to(output)])


def values(count: int = 60) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    output, target = torch.rand(count, 5, generator=generator), torch.rand(count, 5, generator=generator)
    target[torch.rand(count, 5, generator=generator) < 0.4] = NAN
    target[:4] = NAN
    return output, target


@pytest.mark.parametrize("loss", [masked_error, per_object])
def test_a_splits_loss_is_that_of_all_labels(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    output, target = values()
    whole = float(loss(output, target))
    task = Task("a", loss, kpi.r2)
    assert result(task, output, target, 60)["loss"] == whole, "bit for bit"
    assert result(task, output, target, 3, 20, 37)["loss"] == pytest.approx(whole, rel=1e-6)
    assert result(task, output, target, 3, 20, 37)["examples"] == 56


def test_a_loss_by_states_has_its_gradient() -> None:
    output, target = values()
    output.requires_grad_()
    per_object(output, target).backward()
    assert output.grad is not None
    assert output.grad.count_nonzero() == (target > 0.5).sum()


@pytest.mark.parametrize("value", [NAN, math.inf])
def test_a_loss_that_is_not_finite_in_a_batch_is_not_finite(value: float) -> None:
    output = torch.ones(6)
    output[1] = value
    assert not math.isfinite(
        result(Task("a", F.l1_loss, partial(kpi.within, threshold=1.0)), output, torch.zeros(6), 3, 3)["loss"]
    )


# Measures


class Largest:
    """An accumulator that is not callable; its value is a number."""

    def reset(self) -> None:
        self.errors: list[float] = []

    def update(self, output: Tensor, target: Tensor) -> None:
        self.errors.append((output - target).abs().max().item())

    def compute(self) -> float:
        return max(self.errors)


def largest(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).abs().max()


CLASSES = torch.randint(3, (50,), generator=torch.Generator().manual_seed(1))
LOGITS = torch.randn(50, 3, generator=torch.Generator().manual_seed(2))
micro = partial(C.MulticlassAccuracy, num_classes=3, average="micro")
MEASURES: dict[str, tuple[Any, Callable[[Tensor, Tensor], Tensor]]] = {
    "of states": (kpi.balanced_accuracy, kpi.balanced_accuracy),
    "torchmetrics": (micro(), kpi.accuracy),
    "torchmetrics that keeps all": (C.MulticlassAUROC(3), C.MulticlassAUROC(3)),
    "a function": (lambda output, target: (output.argmax(1) == target).float().mean(), kpi.accuracy),
}


@pytest.mark.parametrize("name", MEASURES)
def test_every_kind_of_measure_is_that_of_the_whole_split(name: str) -> None:
    own, expected = MEASURES[name]
    target = CLASSES.clone()
    target[10:20] = -100
    task = Task("a", F.cross_entropy, own, metrics={"again": Metric(own), "late": Metric(own, test_only=True)})
    labelled = target >= 0
    whole = float(expected(LOGITS[labelled], target[labelled]))
    for sizes in ((50,), (12, 8, 30)):
        figures = result(task, LOGITS, target, *sizes)
        assert figures["kpi"] == pytest.approx(whole, rel=1e-6)
        assert figures["metrics"] == {"again": figures["kpi"]}
    assert result(task, LOGITS, target, 20, 30, test=True)["metrics"]["late"] == pytest.approx(whole, rel=1e-6)


def test_an_accumulator_without_torchmetrics() -> None:
    output, target = torch.rand(30), torch.rand(30)
    task = Task("a", F.l1_loss, Largest(), metrics={"function": Metric(largest)})
    figures = result(task, output, target, 10, 20)
    assert figures["kpi"] == pytest.approx(figures["metrics"]["function"])
    assert float(compute_kpi(task, output[:3], target[:3])) == pytest.approx(float(largest(output[:3], target[:3])))


def test_an_evaluation_leaves_the_users_object_alone() -> None:
    metric = micro()
    task = Task("a", F.cross_entropy, metric)
    evaluation = Evaluation(problem(task), CPU, test=False)
    measurements = [measure(problem(task), {"a": (LOGITS[start::2], CLASSES[start::2])}) for start in (0, 1)]
    assert [batch.kpis["a"] for batch in measurements] == [kpi.accuracy(LOGITS[i::2], CLASSES[i::2]) for i in (0, 1)]
    for share in evaluation.shares(problem(task), Echo(), [({"a": LOGITS}, {"a": CLASSES})]):
        evaluation.add(share)
    assert evaluation.results()["a"]["kpi"] == pytest.approx(float(kpi.accuracy(LOGITS, CLASSES)))
    assert not metric.update_called
    assert result(task, LOGITS[:7], CLASSES[:7], 7)["kpi"] == pytest.approx(float(kpi.accuracy(LOGITS[:7], CLASSES[:7])))


def test_a_task_without_labels_has_no_figures() -> None:
    missing = torch.full((50,), -100)
    for own in (micro(), kpi.accuracy, lambda output, target: output.mean()):
        figures = result(Task("a", F.cross_entropy, own, metrics={"m": Metric(own)}), LOGITS, missing, 25, 25)
        assert (figures["examples"], figures["metrics"]) == (0, {})
        assert math.isnan(figures["kpi"])
        assert math.isnan(figures["loss"])


def test_a_kpi_that_is_undefined_on_a_batch_counts_its_labels() -> None:
    logits, target = torch.tensor([1.0, -1.0, 1.0]), torch.tensor([1, 0, 0])
    assert kpi.balanced_accuracy(logits[:1], target[:1]).isnan()
    assert result(Task("a", F.mse_loss, kpi.balanced_accuracy), logits, target, 1, 2)["kpi"] == pytest.approx(0.75)


# Measures that mean little


def closest(output: Tensor, target: Tensor) -> Tensor:
    """A function that is not known to accumulate."""
    return (output.argmax(1) == target).float().mean()


@pytest.mark.parametrize(
    "own", [kpi.accuracy, micro(), closest, kpi.from_metric(micro())], ids=["states", "object", "function", "metric"]
)
def test_a_kpi_that_one_answer_reaches_is_noticed_batch_by_batch(own: Any) -> None:
    target = torch.full((50,), 2)
    target[7:9] = 0
    with pytest.warns(MeasureWarning) as caught:
        results([Task("a", F.cross_entropy, own)], LOGITS, target, 10, 40, name="validation")
    absent, constant = (str(warning.message) for warning in caught)
    assert "has no label of class 1 in the validation split" in absent
    assert "always answers class 2 reaches a KPI of 0.960 in task 'a' on the validation split, where 96.0% of" in constant


@pytest.mark.parametrize(("shape", "answers"), [((0, 3, 8, 8), (100, 3, 1, 1)), ((0, 3), (100, 3))])
def test_examples_stand_for_many_labels(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], answers: tuple[int, ...]
) -> None:
    monkeypatch.setattr(_doubts, "_MOST_NUMBERS", 300)
    target = torch.zeros(shape[:1] + shape[2:], dtype=torch.int8)
    output, labels = _doubts.examples_of(torch.tensor([10, 0, 990]), torch.zeros(shape), target)
    assert (output.shape, labels.shape, labels.dtype) == (answers, answers[:1] + answers[2:], torch.int8)
    assert labels.flatten().bincount().tolist() == [1, 0, 99]


def test_what_is_no_classification_in_one_batch_is_none() -> None:
    counts = _doubts.ClassCounts()
    for batch in (torch.tensor([3, 1]), torch.tensor([2, 0])):
        counts.add(batch)
    assert counts.counts is not None
    assert counts.counts.tolist() == [5, 1]
    for batch in (None, torch.tensor([3, 1])):
        counts.add(batch)
        assert counts.counts is None


# Wrong ones


class Percent(Largest):
    def compute(self) -> float:
        return 93.0


class Several(Largest):
    def compute(self) -> Any:
        return {"a": 1.0}


class Locked(Largest):
    def __deepcopy__(self, memo: object) -> Any:
        raise TypeError("cannot pickle a lock")


@kpi.streams(lambda sums: sums.sum(), torch.add)
def ragged(output: Tensor, target: Tensor) -> Tensor:
    return output


@pytest.mark.parametrize(
    ("own", "sentence"),
    [
        (Percent(), r"Expected the KPI of task 'a' to be in \[0, 1\]; got 93"),
        (Several(), r"Expected the KPI of task 'a' to be a 0-d tensor; got {'a': 1.0}"),
        (Locked(), r"a measure that can be copied, .*; copying Locked failed: TypeError: cannot pickle a lock"),
        (C.MulticlassAUROC(3), r"The KPI of task 'a' failed on output \[10\] .* and target \[10\]"),
        (ragged, r"The KPI of task 'a' failed on state \[10\] .* and other \[20\]"),
    ],
    ids=["percent", "several numbers", "a lock", "of classes", "ragged state"],
)
def test_a_measure_that_does_not_fit_gets_a_sentence(own: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        result(Task("a", F.l1_loss, own), torch.rand(30), torch.rand(30), 10, 20)


def test_a_class_is_no_object() -> None:
    with pytest.raises(InputError, match="Expected the kpi of task 'a' to be a function"):
        Task("a", F.l1_loss, SimpleNamespace(update=len, compute=len, reset=None))  # type: ignore[arg-type]


# Memory


def kept(tasks: list[Task], count: int = 50) -> int:
    evaluation = Evaluation(problem(*tasks), CPU, test=False)
    evaluation.add(
        next(
            evaluation.shares(problem(*tasks), Echo(), [({t.name: LOGITS for t in tasks}, {t.name: CLASSES for t in tasks})])
        )
    )
    return sum(task.gathered_bytes for task in evaluation.tasks.values())


def test_outputs_are_kept_once_for_measures_that_need_them() -> None:
    both = LOGITS.nbytes + CLASSES.nbytes
    function = Metric(lambda output, target: output.mean())
    assert kept([Task("a", F.cross_entropy, kpi.accuracy, metrics={"m": Metric(micro())})]) == 0
    assert kept([Task("a", F.cross_entropy, kpi.accuracy, metrics={"m": function, "n": function})]) == both
    assert kept([Task("a", F.cross_entropy, function.measure), Task("b", F.cross_entropy, kpi.accuracy)]) == both
    assert kept([Task("a", F.cross_entropy, kpi.accuracy, metrics={"m": Metric(function.measure, test_only=True)})]) == 0


def test_a_slice_of_a_large_output_does_not_keep_all_of_it() -> None:
    every = torch.randn(50, 1000)
    task = Task("a", F.cross_entropy, lambda output, target: output.mean().sigmoid())
    evaluation = Evaluation(problem(task), CPU, test=False)
    (share,) = evaluation.shares(problem(task), Echo(), [({"a": every[:, :3]}, {"a": CLASSES})])
    pair = share["a"].pair
    assert pair is not None
    assert pair[0].untyped_storage().nbytes() == 50 * 3 * 4


def test_a_run_says_which_measures_keep_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "_MUCH", 100)
    task = Task("a", F.l1_loss, kpi.r2, metrics={"mean": Metric(lambda output, target: output.mean())})
    other = Task("b", F.l1_loss, kpi.r2)
    with pytest.warns(UserWarning, match=r"more than 1 GiB .*: a: mean\. hardfirst\.kpi\.streams creates") as caught:
        results([task, other], torch.rand(30), torch.rand(30), 10, 20, name="validation")
    assert len(caught) == 1
    results([task], torch.rand(30), torch.rand(30), 30)  # later epochs say nothing


class Pictures(Dataset[Batch]):
    """Pictures that are made when they are read: classes, depths and normals of each pixel."""

    def __init__(self, count: int, height: int = 288, width: int = 384) -> None:
        self.count, self.size = count, (height, width)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Batch:
        picture = torch.linspace(0, 0.99, 3 * math.prod(self.size)).view(*self.size, 3).movedim(2, 0).contiguous()
        return picture, {
            "segment": (picture[0] * 3).long(),
            "depth": 1 + picture[1],
            "normals": picture - index / self.count,
        }


class Dense(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.Conv2d(3, 3 + 1 + 3, 1)

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        segment, depth, normals = self.heads(inputs).split([3, 1, 3], 1)
        return {"segment": segment, "depth": depth.squeeze(1).exp(), "normals": normals}


@kpi.streams(lambda sums: sums[0] / sums[1])
def error(output: Tensor, target: Tensor) -> Tensor:
    return torch.stack([(output - target).abs().sum(), torch.tensor(float(target.numel()))]).double()


def dense() -> Problem:
    return Problem(
        "dense",
        (
            Task("segment", F.cross_entropy, kpi.mean_iou, metrics={"accuracy": Metric(kpi.accuracy)}),
            Task("depth", F.l1_loss, kpi.delta, metrics={"error": Metric(error)}),
            Task(
                "normals",
                F.mse_loss,
                partial(kpi.within, threshold=0.2),
                metrics={"mean": Metric(torchmetrics.MeanSquaredError())},
            ),
        ),
        Dense,
        lambda: Splits(Pictures(2), Pictures(2), Pictures(2)),
        batch_size=2,
    )


def peak_of_evaluating(count: int) -> int:
    """Bytes that this process has had at most, after evaluating as many pictures."""
    own, split = dense(), Pictures(count)
    step = evaluation_batch(own, split)
    batches = (own_batch(split, range(start, min(start + step, count))) for start in range(0, count, step))
    evaluation = Evaluation(own, CPU, test=True, name="test")
    for share in evaluation.shares(own, Dense(), batches):
        evaluation.add(share)
    evaluation.results()
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024


def own_batch(split: Pictures, indices: range) -> tuple[Tensor, dict[str, Tensor]]:
    items = [split[index] for index in indices]
    return torch.stack([inputs for inputs, _ in items]), {
        task: torch.stack([targets[task] for _, targets in items]) for task in items[0][1]
    }


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_memory_does_not_grow_with_the_split() -> None:
    """96 more pictures have 85 MB of depths, and more of the other two tasks."""
    with multiprocessing.get_context("spawn").Pool(1, torch.set_num_threads, (1,)) as pool:
        peaks = pool.map(peak_of_evaluating, (32, 128), chunksize=1)
    assert peaks[1] <= 1.1 * peaks[0]


@pytest.mark.parametrize(
    ("shape", "batch_size", "expected"),
    [
        ((8,), 64, 1024),
        ((1, 28, 56), 64, 1024),
        ((3, 288, 384), 2, 12),
        ((3, 288, 384), 32, 32),
        ((3, 288, 384), 2000, 1024),
    ],
)
def test_batches_of_an_evaluation_are_bounded_by_their_numbers(
    shape: tuple[int, ...], batch_size: int, expected: int
) -> None:
    class Zeros(Dataset[Batch]):
        def __len__(self) -> int:
            return 5000

        def __getitem__(self, index: int) -> Batch:
            torch.rand(3)  # an evaluation leaves the random state alone
            return torch.zeros(shape), {"a": torch.tensor(0.0)}

    own = Problem("p", (Task("a", F.l1_loss, kpi.r2),), Echo, lambda: None, batch_size=batch_size)  # type: ignore[arg-type,return-value]
    before = torch.get_rng_state()
    small = TensorTable(torch.zeros(10, 2), {"a": torch.zeros(10)})
    assert evaluation_batch(own, {"small": small, "large": Zeros()}) == expected
    assert torch.get_rng_state().equal(before)
