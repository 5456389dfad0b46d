"""CelebA, Office and AliExpress from small folders: trained, stopped and resumed; their measures by scikit-learn."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score
from torch import Tensor

from aliexpress_folder import write_aliexpress
from celeba_folder import write_celeba
from hardfirst.networks import NETWORKS, parameters
from hardfirst.problems import ConcatSplit, collate, fields, folder_name, load_problem
from hardfirst.problems.fields import _celeba_files, _resnet, celeba, office
from office_folder import write_office
from resumed_runs import trained_and_resumed

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


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, side in ((_celeba_files, 16), (office, 32)):
        monkeypatch.setattr(module, "SIDE", side)
    monkeypatch.setattr(_resnet, "WIDTHS", (2, 4, 8, 16))
    monkeypatch.setattr(office, "FEATURES", 16)
    fields._folder_digest.cache_clear()


@pytest.mark.parametrize("name", FOLDERS)
def test_a_run_that_is_stopped_and_resumed_has_the_measures_of_one_that_is_not(tmp_path: Path, name: str) -> None:
    FOLDERS[name](tmp_path / "data")
    network = "hard_sharing:width=4" if name == "celeba" else "own"  # checkpoints of the own one take seconds
    problem = folder_name(name, tmp_path / "data")
    record = trained_and_resumed(problem, tmp_path, network=network)
    assert record.outcome == "finished"
    variant = load_problem(problem).variant(network=network)
    best = variant.network()
    best.load_state_dict(torch.load(tmp_path / "straight.pt", weights_only=True)["best"])
    test = ConcatSplit(variant.data().test)
    best.eval()
    for start, end in zip([0, *test.ends], test.ends, strict=False):
        inputs, targets = collate(test.__getitems__(range(start, end)))
        with torch.no_grad():
            outputs = best(inputs)
        for task, target in targets.items():
            assert record.test_kpi(task) == pytest.approx(MEASURES[name](outputs[task], target), abs=1e-6), task


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(("variant", "shape"), [("celeba", (2,)), ("office_31", (2, 31))])
def test_every_network_can_be_built(variant: str, shape: tuple[int, ...], network: str) -> None:
    parts = celeba.parts() if variant == "celeba" else office.parts(office.VARIANTS[variant])
    made, hard = (NETWORKS[name](parts).eval() for name in (network, "hard_sharing"))
    with torch.no_grad():
        outputs: dict[str, Tensor] = made(torch.zeros(2, 3, 64, 64, dtype=torch.uint8))
    assert {tuple(output.shape) for output in outputs.values()} == {shape}
    assert parameters(made) == pytest.approx(parameters(hard), rel=0.07)
