"""Exported networks compute what the original does; what cannot be exported gets a sentence."""

import sys
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
from torch import nn

from hardfirst.errors import InputError, MissingPackage
from hardfirst.kpi import accuracy
from hardfirst.networks import HardSharing
from hardfirst.problems import Problem, Splits, Task, TensorTable
from hardfirst.trained import TrainedNetwork, export


class Branching(nn.Module):
    def forward(self, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"kind": inputs if inputs.sum() > 0 else -inputs}


def network(module: nn.Module, task: str = "kind") -> TrainedNetwork:
    table = TensorTable(torch.randn(20, 3), {task: torch.arange(20) % 3})
    tasks = [Task(task, nn.functional.cross_entropy, accuracy)]
    problem = Problem("tiny", tasks, lambda: module, lambda: Splits(table, table, table))
    return TrainedNetwork(module.eval(), (task,), {"problem": "tiny"}, 1, problem=problem)


def sharing(task: str = "kind") -> HardSharing:
    trunk = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout())
    return HardSharing(trunk, {task: nn.Linear(4, 3)})


@pytest.mark.slow  # torch.export takes a second to be imported
@pytest.mark.parametrize("task", ["kind", "price, EUR;"])
def test_an_exported_network_computes_the_same_for_any_batch(tmp_path: Path, task: str) -> None:
    module = sharing(task)
    path = export(network(module, task), tmp_path / "model.pt2")
    inputs = torch.randn(33, 3)
    exported = torch.export.load(path).module()
    torch.testing.assert_close(exported(inputs)[task], module(inputs)[task])
    with ZipFile(path) as archive:
        assert not any(b"hard_sharing.py" in archive.read(name) for name in archive.namelist()), "no paths of this machine"


@pytest.mark.slow
@pytest.mark.skipif(not (find_spec("onnxscript") and find_spec("onnxruntime")), reason="needs hardfirst[onnx]")
@pytest.mark.filterwarnings("ignore")
def test_onnx_computes_the_same(tmp_path: Path) -> None:
    import onnxruntime

    module = sharing()
    path = export(network(module), tmp_path / "model.onnx", "onnx")
    session = onnxruntime.InferenceSession(path)
    inputs = torch.randn(33, 3)
    (output,) = session.run(["kind"], {session.get_inputs()[0].name: inputs.numpy()})
    torch.testing.assert_close(torch.from_numpy(output), module(inputs)["kind"].detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_network_that_is_no_graph_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="The network of problem 'tiny' cannot be exported: "):
        export(network(Branching()), tmp_path / "model.pt2")
    assert not list(tmp_path.iterdir())


def test_what_onnx_needs_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingPackage, match=r'pip install "hardfirst\[onnx\]"'):
        export(network(sharing()), tmp_path / "model.onnx", "onnx")
    with pytest.raises(InputError, match=r"Unknown format 'onx'; did you mean 'onnx'\?"):
        export(network(sharing()), tmp_path / "model.onnx", "onx")
