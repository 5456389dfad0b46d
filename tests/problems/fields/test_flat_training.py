"""CelebA, Office and AliExpress from small folders: trained, stopped and resumed; their measures by scikit-learn."""

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score
from torch import Tensor

from aliexpress_folder import write_aliexpress
from celeba_folder import write_celeba
from hardfirst.balancers import Spec
from hardfirst.problems import ConcatSplit, collate, fields, folder_name
from hardfirst.problems.fields import _celeba_files, _mapped, _resnet, office
from hardfirst.training import Interrupted, Trial, fit
from office_folder import write_office

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::hardfirst.training.MeasureWarning")]

FOLDERS: dict[str, Callable[[Path], object]] = {
    "celeba": write_celeba,
    "office_31": write_office,
    "aliexpress:nl": write_aliexpress,
}
MEASURES: dict[str, Callable[[Tensor, Tensor], float]] = {
    "celeba": lambda output, target: f1_score(target, output > 0),
    "office_31": lambda output, target: accuracy_score(target, output.argmax(1)),
    "aliexpress:nl": lambda output, target: roc_auc_score(target, output),
}


class Stop:
    """Sends Ctrl-C after the first step of the second epoch."""

    def step(self, epoch: int, step: int, steps: int) -> None:
        if (epoch, step) == (2, 1):
            os.kill(os.getpid(), signal.SIGINT)

    def epoch(self, epoch: int, tasks: Mapping[str, Any]) -> None: ...


@pytest.fixture(autouse=True)
def _small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_mapped, "cache_folder", lambda: tmp_path / "cache")
    for module, side in ((_celeba_files, 16), (office, 32)):
        monkeypatch.setattr(module, "SIDE", side)
    monkeypatch.setattr(_resnet, "WIDTHS", (2, 4, 8, 16))
    monkeypatch.setattr(office, "FEATURES", 16)
    fields._folder_digest.cache_clear()


@pytest.mark.parametrize("name", FOLDERS)
def test_a_run_that_is_stopped_and_resumed_has_the_measures_of_one_that_is_not(tmp_path: Path, name: str) -> None:
    FOLDERS[name](tmp_path / "data")
    network = "hard_sharing:width=4" if name == "celeba" else "own"  # checkpoints of the own one take seconds
    trial = Trial.plan(folder_name(name, tmp_path / "data"), Spec.parse("dtp"), epochs=2, network=network)
    options: dict[str, Any] = {"checkpoint": tmp_path / "c.pt", "accelerator": "cpu"}
    with pytest.raises(Interrupted):
        fit(trial, record_file=tmp_path / "part.jsonl", watcher=Stop(), **options)
    part = fit(trial, record_file=tmp_path / "part.jsonl", resume=True, **options)
    whole = fit(trial, record_file=tmp_path / "whole.jsonl", **options)
    assert part.test == whole.test
    assert whole.outcome == "finished"
    problem = trial.load()
    best = problem.network()
    best.load_state_dict(torch.load(tmp_path / "c.pt", weights_only=True)["best"])
    test = ConcatSplit(problem.data().test)
    best.eval()
    for start, end in zip([0, *test.ends], test.ends, strict=False):
        inputs, targets = collate(test.__getitems__(range(start, end)))
        with torch.no_grad():
            outputs = best(inputs)
        for task, target in targets.items():
            assert whole.test_kpi(task) == pytest.approx(MEASURES[name](outputs[task], target), abs=1e-6), task
