"""Writes small files in the layout of PyTorch Geometric's QM9, without PyTorch Geometric."""

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor


def molecule(random: torch.Generator) -> dict[str, Any]:
    """A chain of 3 to 6 atoms; its properties follow from its size and its elements."""
    atoms = int(torch.randint(3, 7, (), generator=random))
    kinds = torch.randint(0, 5, (atoms,), generator=random)
    features = torch.zeros(atoms, 11)
    features[torch.arange(atoms), kinds] = 1
    features[:, 5] = torch.tensor([1.0, 6.0, 7.0, 8.0, 9.0])[kinds]
    features[:, 10] = torch.randint(0, 4, (atoms,), generator=random).float()
    first = torch.arange(atoms - 1)
    bonds = torch.eye(4)[torch.randint(0, 4, (atoms - 1,), generator=random)]
    positions = torch.stack([1.4 * torch.arange(atoms), *torch.rand(2, atoms, generator=random)], dim=1)
    properties = features.sum() * torch.linspace(0.1, 2, 19) + torch.rand(19, generator=random)
    return {
        "x": features,
        "edge_index": torch.stack([torch.cat([first, first + 1]), torch.cat([first + 1, first])]),
        "edge_attr": torch.cat([bonds, bonds]),
        "y": properties.unsqueeze(0),
        "pos": positions,
        "z": features[:, 5].long(),
        "name": "gdb_1",
        "idx": torch.tensor([0]),
    }


def molecules(count: int = 40, seed: int = 0) -> list[dict[str, Any]]:
    random = torch.Generator().manual_seed(seed)
    return [molecule(random) for _ in range(count)]


def joined(graphs: list[dict[str, Any]]) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
    """All graphs, and where each begins, as `InMemoryDataset.collate` has them."""
    data: dict[str, Any] = {"name": [graph["name"] for graph in graphs]}
    begins: Mapping[str, Tensor] = defaultdict(dict)  # type: ignore[arg-type]  # so PyTorch Geometric makes it
    for name in ("x", "edge_index", "edge_attr", "y", "pos", "z", "idx"):
        along = 1 if name == "edge_index" else 0
        data[name] = torch.cat([graph[name] for graph in graphs], along)
        begins[name] = torch.tensor([0, *(graph[name].shape[along] for graph in graphs)]).cumsum(0)  # type: ignore[index]
    return data, begins


@contextmanager
def library() -> Iterator[Any]:
    """Classes with PyTorch Geometric's names, in the modules that its pickles name."""
    names = ("torch_geometric", "torch_geometric.data", "torch_geometric.data.data", "torch_geometric.data.storage")
    modules = {name: ModuleType(name) for name in names}
    classes = {"data.data": ("Data", "DataEdgeAttr", "DataTensorAttr"), "data.storage": ("GlobalStorage",)}
    for module, kinds in classes.items():
        for kind in kinds:
            made = type(kind, (), {"__module__": f"torch_geometric.{module}"})
            setattr(modules[f"torch_geometric.{module}"], kind, made)
    before = {name: sys.modules[name] for name in names if name in sys.modules}
    sys.modules.update(modules)
    try:
        yield modules
    finally:
        for name in names:
            del sys.modules[name]
        sys.modules.update(before)


def save(folder: Path, layout: str = "raw", graphs: list[dict[str, Any]] | None = None) -> Path:
    """Write a file in one of PyTorch Geometric's layouts; its older versions wrote "object"."""
    graphs = molecules() if graphs is None else graphs
    path = folder / ("raw/qm9_v3.pt" if layout == "raw" else "processed/data_v3.pt")
    path.parent.mkdir(parents=True, exist_ok=True)
    if layout == "raw":
        torch.save(graphs, path)
        return path
    data, begins = joined(graphs)
    with library() as modules:
        kind = modules["torch_geometric.data.data"].Data
        if layout == "processed":
            torch.save((data, dict(begins)), path)
        elif layout == "triple":
            torch.save((data, begins, kind), path)
        else:
            held, storage = kind(), modules["torch_geometric.data.storage"].GlobalStorage()
            storage.__dict__.update(_mapping=data, _parent=held)
            held.__dict__.update(
                _edge_attr_cls=modules["torch_geometric.data.data"].DataEdgeAttr,
                _tensor_attr_cls=modules["torch_geometric.data.data"].DataTensorAttr,
                _store=storage,
            )
            torch.save((held, begins), path)
    return path
