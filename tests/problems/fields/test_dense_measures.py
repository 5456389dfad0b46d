"""Measures of dense tasks, against their definitions in NumPy and scikit-learn, over a split and over its batches."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, jaccard_score
from torch import Tensor

import dense_folder
from hardfirst import kpi
from hardfirst.problems import IGNORE, Metric, Problem
from hardfirst.problems.fields import _dense_measures as measures
from hardfirst.problems.fields import nyuv2

FRAMES, SIZE, BATCH = 5, (32, 48), 2
Pair = tuple[Tensor, Tensor]


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    return nyuv2.problem(dense_folder.write(tmp_path_factory.mktemp("nyuv2"), counts={"train": 1, "val": 1}))


def pairs() -> dict[str, Pair]:
    """Outputs and targets of a split; each frame has labels in other pixels."""
    generator = torch.Generator().manual_seed(1)
    missing = torch.rand(FRAMES, *SIZE, generator=generator) < torch.linspace(0.1, 0.9, FRAMES).view(-1, 1, 1)
    classes = torch.randint(13, (FRAMES, *SIZE), generator=generator)
    logits = torch.randn(FRAMES, 13, *SIZE, generator=generator) + F.one_hot(classes, 13).movedim(-1, 1)
    depth = 0.5 + 9 * torch.rand(FRAMES, 1, *SIZE, generator=generator)
    normals = F.normalize(torch.randn(FRAMES, 3, *SIZE, generator=generator), dim=1)
    noise = torch.linspace(0.1, 1, FRAMES).view(-1, 1, 1, 1) * torch.randn(FRAMES, 3, *SIZE, generator=generator)
    return {
        "segment": (logits, classes.masked_fill(missing, IGNORE)),
        "depth": (depth * (1 + 0.3 * noise[:, :1]), depth.masked_fill(missing.unsqueeze(1), torch.nan)),
        "normals": (F.normalize(normals + noise, dim=1), normals.masked_fill(missing.unsqueeze(1), torch.nan)),
    }


def by_definition(output: Tensor, target: Tensor) -> dict[str, float]:
    """The field's metrics of depth or normals, in float64."""
    made, true = output.double().movedim(1, -1).numpy(), target.double().movedim(1, -1).numpy()
    labelled = ~np.isnan(true).any(-1)
    made, true = made[labelled], true[labelled]
    if output.shape[1] == 1:
        errors = np.abs(made - true)
        return {"absolute error": errors.mean(), "relative error": (errors / true).mean()}
    cosine = (made * true).sum(1) / np.linalg.norm(made, axis=1) / np.linalg.norm(true, axis=1)
    degrees = np.degrees(np.arccos(cosine.clip(-1, 1)))
    shares = {f"within {limit}°": 100 * (degrees < limit).mean() for limit in (11.25, 22.5, 30)}
    return {"mean angle": degrees.mean(), "median angle": np.median(degrees), **shares}


def over_split(metric: Metric, pair: Pair) -> float:
    """The metric, batch by batch."""
    form = kpi.streaming(metric.measure)  # type: ignore[arg-type]  # a function
    assert form is not None
    states = [form.state_of(*batch) for batch in zip(*(side.split(BATCH) for side in pair), strict=True)]
    state = states[0]
    for other in states[1:]:
        state = form.merge(state, other)
    return float(form.finish(state))


@pytest.mark.parametrize("task", ["depth", "normals"])
def test_metrics_are_over_the_pixels_of_the_split(problem: Problem, task: str) -> None:
    metrics = {each.name: each.metrics for each in problem.tasks}[task]
    expected = by_definition(*pairs()[task])
    assert list(metrics) == list(expected)
    for name, metric in metrics.items():
        tolerance = measures.BIN / 2 + 1e-6 if name == "median angle" else 1e-5 * expected[name]
        assert over_split(metric, pairs()[task]) == pytest.approx(expected[name], abs=tolerance), name


@pytest.mark.parametrize("task", ["depth", "normals"])
def test_the_published_ones_are_means_over_batches(problem: Problem, task: str) -> None:
    assert problem.published is not None
    assert problem.published.evaluation_batch == BATCH
    batches = [by_definition(*batch) for batch in zip(*(side.split(BATCH) for side in pairs()[task]), strict=True)]
    for name, metric in problem.published.metrics[task].items():
        expected = np.mean([batch[name] for batch in batches])
        assert over_split(metric, pairs()[task]) == pytest.approx(expected, abs=max(measures.BIN / 2, 1e-5 * expected)), name


def test_overlap_and_accuracy_are_of_one_confusion_matrix(problem: Problem) -> None:
    pair, (task, *_) = pairs()["segment"], problem.tasks
    labelled = pair[1] != IGNORE
    actual, predicted = pair[1][labelled], pair[0].argmax(1)[labelled]
    figures = {name: over_split(metric, pair) for name, metric in task.metrics.items()}
    expected = jaccard_score(actual, predicted, average="macro")
    assert figures == {
        "mIoU": pytest.approx(100 * expected, rel=1e-5),
        "pixel accuracy": pytest.approx(100 * accuracy_score(actual, predicted), rel=1e-5),
    }
    assert float(task.kpi(*pair)) == pytest.approx(expected, rel=1e-5)  # type: ignore[misc,operator]


@pytest.mark.parametrize("task", ["segment", "depth", "normals"])
def test_losses_are_means_over_labelled_pixels(problem: Problem, task: str) -> None:
    loss = {each.name: each.loss for each in problem.tasks}[task]
    output, target = pairs()[task]
    labelled = target != IGNORE if task == "segment" else ~target.isnan().any(1)
    made, true = output.movedim(1, -1)[labelled], (target if task == "segment" else target.movedim(1, -1))[labelled]
    expected = {
        "segment": lambda: F.cross_entropy(made, true),
        "depth": lambda: (made - true).abs().mean(),
        "normals": lambda: 1 - (made * true).sum(1).mean(),
    }[task]()
    torch.testing.assert_close(loss(output, target), expected)


@pytest.mark.parametrize("loss", [measures.depth_loss, measures.normals_loss])
def test_what_has_no_label_has_no_gradient(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    output, target = torch.randn(2, 3, 4, 4, requires_grad=True), torch.rand(2, 3, 4, 4)
    target[0], target[1, :, 0] = torch.nan, torch.nan
    loss(output, target).backward()
    assert output.grad is not None
    assert (output.grad != 0).any(1).equal(~target.isnan().any(1))
    assert loss(output, torch.full_like(target, torch.nan)) == 0


@pytest.mark.parametrize("degrees", [0.0, 0.02, 11.0, 29.99, 30.01, 90.0, 179.99, 180.0])
def test_angles_by_hand(degrees: float) -> None:
    angle = torch.tensor(degrees).deg2rad()
    output = 3 * torch.stack([angle.sin(), torch.tensor(0.0), angle.cos()]).view(1, 3, 1, 1)
    target = torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1)
    assert float(measures.mean_angle(output, target)) == pytest.approx(degrees, abs=2e-4)
    assert float(measures.median_angle(output, target)) == pytest.approx(degrees, abs=measures.BIN / 2 + 2e-4)
    assert bool(measures.angle_below(30)(output, target)) == (degrees < 30)


def test_a_median_of_two_is_their_mean() -> None:
    up, aside = torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1), torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    both = torch.cat([up, aside], dim=3)
    assert float(measures.median_angle(both, up.expand_as(both))) == pytest.approx(45, abs=measures.BIN / 2)
    assert measures.median_angle(both, torch.zeros_like(both)).isnan()
    assert measures.mean_angle(both, torch.full_like(both, torch.nan)).isnan()


def test_the_state_of_a_split_does_not_grow(problem: Problem) -> None:
    for task in problem.tasks:
        for metric in task.metrics.values():
            form = kpi.streaming(metric.measure)  # type: ignore[arg-type]
            assert form is not None
            pair = pairs()[task.name]
            assert form.state_of(*pair).shape == form.state_of(pair[0][:1], pair[1][:1]).shape


def test_kpis_are_those_of_the_library(problem: Problem, tmp_path: Path) -> None:
    output, target = pairs()["normals"]
    task = problem.tasks[2]
    assert task.name == "normals"
    torch.testing.assert_close(task.kpi(output, target), kpi.angle_within(output, target, degrees=30))  # type: ignore[misc,operator]
