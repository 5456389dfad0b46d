"""QM9's molecules in a file of PyTorch Geometric, checked, and padded to the largest."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from hardfirst.errors import InputError
from hardfirst.problems.fields._nnconv import BONDS, FEATURES
from hardfirst.problems.fields._pyg import Graphs, read_graphs

COLUMNS = 19
"""Columns of `y`."""


def molecules(file: Path, targets: Sequence[int]) -> dict[str, Tensor]:
    """Return the inputs and `targets` float64 [molecules, targets] of a file, ordered by a hash of their position.

    Args:
        file: a file of PyTorch Geometric.
        targets: the columns of `y` to return.

    Raises:
        InputError: the file cannot be read, or does not contain QM9's graphs.
    """
    graphs = read_graphs(file)
    _check(file, graphs)
    order = sorted(range(len(graphs.y)), key=lambda row: sha256(str(row).encode()).digest())
    columns = padded(graphs) | {"targets": graphs.y[:, list(targets)].double()}
    return {name: column[order] for name, column in columns.items()}


def _check(file: Path, graphs: Graphs) -> None:
    """Raise `InputError` unless the graphs are those of QM9."""
    count, nodes, edges = len(graphs.y), len(graphs.x), len(graphs.edge_attr)
    shapes = {
        "x": (nodes, FEATURES),
        "pos": (nodes, 3),
        "edge_index": (2, edges),
        "edge_attr": (edges, BONDS),
        "y": (count, COLUMNS),
    }
    for name, shape in shapes.items():
        tensor = getattr(graphs, name)
        floats = name != "edge_index"
        if tensor.shape != shape or tensor.is_floating_point() != floats:
            raise InputError(
                f"Expected {name!r} in {file} to be {'floating-point' if floats else 'whole'} numbers {list(shape)}; got "
                f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}."
            )
    if len(graphs.nodes) != count or int(graphs.nodes.sum()) != nodes or int(graphs.edges.sum()) != edges:
        raise InputError(f"{file} has {count} molecules in 'y', but another number in 'x' or 'edge_attr'. Get it again.")
    if count < len(("train", "validation", "test")) + 1:  # two for training, for a standard deviation
        raise InputError(f"Expected at least 4 molecules in {file}, for three splits; got {count}.")
    for name in ("pos", "y"):
        if not bool(getattr(graphs, name).isfinite().all()):
            raise InputError(f"Expected finite numbers in {name!r} of {file}; got NaN or infinity.")
    if not bool((graphs.x == graphs.x.byte()).all() and graphs.x.any(1).all()):
        raise InputError(f"Expected 'x' in {file} to count and mark features of atoms by 0, 1, 2, …; got other numbers.")
    if not bool(((graphs.edge_attr == 1).sum(1) == 1).all() and (graphs.edge_attr.sum(1) == 1).all()):
        raise InputError(f"Expected 'edge_attr' in {file} to mark one of {BONDS} kinds of bond by a 1; got other numbers.")
    largest = graphs.nodes.repeat_interleave(graphs.edges)
    if bool(((graphs.edge_index < 0) | (graphs.edge_index >= largest)).any()):
        raise InputError(
            f"Expected 'edge_index' in {file} to number the atoms of each molecule from 0; got an index out of range."
        )


def padded(graphs: Graphs) -> dict[str, Tensor]:
    """Return the inputs of `MoleculeFeatures`, padded to the largest graph."""
    count, largest = len(graphs.nodes), int(graphs.nodes.max())
    present = torch.arange(largest) < graphs.nodes.unsqueeze(1)
    atoms = torch.zeros(count, largest, FEATURES, dtype=torch.uint8)
    atoms[present] = graphs.x.byte()
    positions = torch.zeros(count, largest, 3)
    positions[present] = graphs.pos.float()
    bonds = torch.zeros(count, largest, largest, dtype=torch.uint8)
    sender, receiver = graphs.edge_index
    bonds[torch.arange(count).repeat_interleave(graphs.edges), receiver, sender] = 1 + graphs.edge_attr.argmax(1).byte()
    return {"atoms": atoms, "positions": positions, "bonds": bonds}
