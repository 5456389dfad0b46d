"""Measures the yardstick of a study on tables: gradient-boosted trees."""

from collections.abc import Callable, Mapping
from pathlib import Path

from hardfirst.problems.tables import digest, tree_kpis
from hardfirst.records.trees import TreeKPIs, read_trees, write_trees


def missing(tables: Mapping[str, str], path: Path) -> dict[str, str]:
    """The tables, by the problem's name, whose trees the file does not have, or has of other data."""
    found = read_trees(path)
    return {name: table for name, table in tables.items() if name not in found or found[name].data != digest(table)}


def measure_all(tables: Mapping[str, str], path: Path, tell: Callable[[float], None] = lambda share: None) -> None:
    """Train the trees of these tables and add them to the file; `tell` gets the share that is done."""
    for number, (name, table) in enumerate(missing(tables, path).items()):
        tell(number / len(tables))
        write_trees(path, read_trees(path) | {name: TreeKPIs(digest(table), tree_kpis(table))})
