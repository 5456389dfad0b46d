"""Read PyTorch Geometric's files of graphs, without PyTorch Geometric, and without executing code in a pickle.

Such a file is a pickle. It is read with `weights_only=True`: PyTorch Geometric's classes are replaced by `_Holder`, which
stores attributes and does nothing, and any other class is refused.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hardfirst.errors import InputError


class Graphs(NamedTuple):
    """Graphs, concatenated.

    Args:
        x: the features of nodes, [nodes, features].
        pos: the nodes' coordinates, [nodes, 3].
        edge_index: the nodes that each edge joins, numbered within its graph, [2, edges].
        edge_attr: the features of edges, [edges, features].
        y: [graphs, targets].
        nodes: the number of nodes of each graph, [graphs].
        edges: the number of edges of each graph, [graphs].
    """

    x: Tensor
    pos: Tensor
    edge_index: Tensor
    edge_attr: Tensor
    y: Tensor
    nodes: Tensor
    edges: Tensor


COLUMNS = ("x", "pos", "edge_index", "edge_attr", "y")
_ALONG = {"edge_index": 1}  # the dimension along which graphs are joined; 0 for others


class _Holder:
    """A replacement for an object of PyTorch Geometric, with its attributes."""


def _plain_dict(*_: object) -> dict[Any, Any]:
    """Return a replacement for `defaultdict(dict)`, which torch does not fill with `weights_only`."""
    return {}


_DATA, _STORAGE = "torch_geometric.data.data", "torch_geometric.data.storage"
_READABLE: list[Any] = [
    (_plain_dict, "collections.defaultdict"),
    (dict, "builtins.dict"),
    *[(type(name, (_Holder,), {}), f"{_DATA}.{name}") for name in ("Data", "DataEdgeAttr", "DataTensorAttr")],
    *[(type(name, (_Holder,), {}), f"{_STORAGE}.{name}") for name in ("BaseStorage", "GlobalStorage")],
]


def read_graphs(path: Path) -> Graphs:
    """Read a file of graphs.

    Args:
        path: a file with a list of dicts of tensors, as in PyTorch Geometric's downloads; or with a pair of all graphs and
            their start positions, as saved by its `InMemoryDataset`.

    Raises:
        InputError: the file cannot be read, names another class, or contains something else.
    """
    contents = _load(path)
    if isinstance(contents, list) and contents:
        return _from_list(path, contents)
    if isinstance(contents, tuple) and len(contents) >= 2 and isinstance(contents[1], Mapping):
        return _from_slices(path, _attributes(contents[0]), contents[1])
    raise InputError(
        f"Expected {path} to contain a list of graphs, or a pair of all graphs and their start positions; got "
        f"{type(contents).__name__}. PyTorch Geometric writes both."
    )


def _load(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals(_READABLE):
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        reason = next((word for word in ("GLOBAL", "reduce", "Can only") if word in str(error)), None)
        if reason is None:
            raise _damaged(path, error) from error
        named = str(error).partition("GLOBAL ")[2].split(" ")[0] or "an object"
        raise InputError(
            f"{path} contains {named}, which is not read, since a pickle can run any code. Expected tensors, as in the file "
            "that PyTorch Geometric's QM9 downloads."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InputError:
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return InputError(f"{path} cannot be read; it may be truncated or another kind of file: {reason:.160}. Get it again.")


def _attributes(data: object) -> Mapping[str, Any]:
    """Return the attributes of all graphs: a dict in newer files, the `_store` of an object in older ones."""
    if isinstance(data, Mapping):
        return data
    held: Mapping[str, Any] = getattr(data, "__dict__", {})
    if isinstance(store := held.get("_store"), _Holder):
        held = store.__dict__
    mapping = held.get("_mapping")
    return mapping if isinstance(mapping, Mapping) else held


def _from_list(path: Path, graphs: Sequence[Any]) -> Graphs:
    for number, graph in enumerate(graphs):
        if not isinstance(graph, Mapping):
            raise InputError(f"Expected graph {number} of {path} to be a dict of tensors; got {type(graph).__name__}.")
        _check_names(path, graph, f"graph {number}")
    try:
        joined = {name: torch.cat([graph[name] for graph in graphs], dim=_ALONG.get(name, 0)) for name in COLUMNS}
    except (RuntimeError, IndexError) as error:
        raise InputError(
            f"The graphs of {path} have tensors of different shapes: {str(error).partition(chr(10))[0]}"
        ) from error
    nodes = torch.tensor([len(graph["x"]) for graph in graphs])
    return Graphs(**joined, nodes=nodes, edges=torch.tensor([len(graph["edge_attr"]) for graph in graphs]))


def _from_slices(path: Path, joined: Mapping[str, Any], begins: Mapping[str, Any]) -> Graphs:
    _check_names(path, joined, "the graphs")
    _check_names(path, begins, "where they begin")
    counts = {name: begins[name].long().diff() for name in ("x", "edge_attr")}
    return Graphs(**{name: joined[name] for name in COLUMNS}, nodes=counts["x"], edges=counts["edge_attr"])


def _check_names(path: Path, found: Mapping[str, Any], what: str) -> None:
    for name in COLUMNS:
        if not isinstance(value := found.get(name), Tensor) or not value.dim():
            got = f"only {', '.join(map(str, list(found)[:12])) or 'nothing'}" if name not in found else type(value).__name__
            raise InputError(f"Expected {path} to have a tensor {name!r} in {what}; got {got}.")
