"""`export`: write a trained network in a format that other programs run."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim
from torch.utils._pytree import tree_leaves, tree_map

from hardfirst.errors import InputError, MissingPackage, check_names
from hardfirst.records import replaced_file
from hardfirst.trained._network import TrainedNetwork

_TOLERANCE = 1e-4  # of an output, relative and absolute; other programs order sums in other ways


def export(trained: TrainedNetwork, path: str | Path, form: str = "torch-export") -> Path:
    """Write a trained network as a file that other programs run, for batches of any size.

    The file is read back and run on a batch, and its outputs are compared with those of the network, before it takes its
    name.

    Args:
        trained: as `load` returns it.
        path: the file to write.
        form: "torch-export" for a file of `torch.export`, or "onnx".

    Returns:
        The path.

    Raises:
        InputError: there is no such format, the network cannot be exported or its outputs differ, or the file cannot be
            written.
        MissingPackage: the format needs a package that is not installed.

    Example:
        >>> from hardfirst import load
        >>> export(load("runs/homes"), "homes.pt2")  # doctest: +SKIP
    """
    check_names("format", [form], FORMATS)
    path, inputs = Path(path), trained.example_inputs()
    content, run = FORMATS[form](trained, inputs)
    single = tree_map(lambda tensor: tensor[:1], inputs)
    for batch in (inputs, single):
        _check_same(trained, run(batch), trained.network(batch), form)
    with replaced_file(path) as part:
        part.write_bytes(content)
    return path


Run = Callable[[Any], Mapping[str, Tensor]]
"""Runs what was written on a batch."""


def _torch_export(trained: TrainedNetwork, inputs: Any) -> tuple[bytes, Run]:
    file = io.BytesIO()
    torch.export.save(_exported(trained, inputs), file)
    file.seek(0)
    return file.getvalue(), torch.export.load(file).module()


def _onnx(trained: TrainedNetwork, inputs: Any) -> tuple[bytes, Run]:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  # torch.onnx needs it
    except ImportError:
        raise MissingPackage('The format onnx needs onnxscript and onnxruntime: pip install "hardfirst[onnx]".') from None
    program = torch.onnx.export(_exported(trained, inputs), dynamo=True, verbose=False, output_names=list(trained.tasks))
    assert program is not None
    content = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]

    def run(batch: Any) -> dict[str, Tensor]:
        arrays = [leaf.numpy() for leaf in tree_leaves(batch)]
        outputs = session.run(list(trained.tasks), dict(zip(names, arrays, strict=True)))
        return {task: torch.from_numpy(output) for task, output in zip(trained.tasks, outputs, strict=True)}

    return content, run


FORMATS: Mapping[str, Callable[[TrainedNetwork, Any], tuple[bytes, Run]]] = {"torch-export": _torch_export, "onnx": _onnx}
"""By name, what writes a network and returns the file's content, and what runs it."""


def _exported(trained: TrainedNetwork, inputs: Any) -> torch.export.ExportedProgram:
    """The network as a graph, for batches of any size."""
    batch = Dim("batch")
    try:
        shapes = (tree_map(lambda _: {0: batch}, inputs),)
        program = torch.export.export(trained.network, (inputs,), dynamic_shapes=shapes)
    except Exception as error:  # torch raises errors of many types for code that is no graph
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        raise InputError(
            f"The network of problem {trained.name!r} cannot be exported: {type(error).__name__}, {reason:.200}. "
            "torch.export takes networks whose computation does not depend on the values of the inputs, nor on the size of "
            "the batch."
        ) from error
    for node in program.graph.nodes:
        # the paths of this machine, and names that a comma in a task's name would make unreadable
        for name in ("stack_trace", "nn_module_stack", "source_fn_stack"):
            node.meta.pop(name, None)
    return program


def _check_same(trained: TrainedNetwork, got: Mapping[str, Tensor], expected: Mapping[str, Tensor], form: str) -> None:
    for task in trained.tasks:
        if got[task].shape != expected[task].shape or not torch.allclose(
            got[task], expected[task], rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True
        ):
            raise InputError(
                f"The network of problem {trained.name!r} computes something else for task {task!r} as {form} than "
                "in PyTorch, so that no file was written."
            )
