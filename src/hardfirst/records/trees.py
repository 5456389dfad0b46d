"""What gradient-boosted trees reach on a study's tables, as stored in its trees.json."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from hardfirst.records.files import read_text, write_atomically


class TreeKPIs(NamedTuple):
    """The test KPI of each target, and the digest of the table that they are of."""

    data: str
    kpis: Mapping[str, float]


def read_trees(path: Path) -> dict[str, TreeKPIs]:
    """Read them by problem; empty if the file is absent or damaged, since they can be measured again."""
    try:
        content = json.loads(read_text(path))
        return {
            problem: TreeKPIs(str(found["data"]), {task: float(kpi) for task, kpi in found["kpis"].items()})
            for problem, found in content.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def write_trees(path: Path, found: Mapping[str, TreeKPIs]) -> None:
    """Write them by problem."""
    content = {problem: each._asdict() for problem, each in found.items()}
    write_atomically(path, json.dumps(content, indent=1) + "\n")
