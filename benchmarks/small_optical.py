"""`optical`, smaller, for benchmarks of many runs.

Without the two tasks of which whole batches have no label; the counts of substructures folded from 2048 to 512; 64 features.
"""

from dataclasses import replace

import torch

from hardfirst.networks import HardSharing
from hardfirst.problems import Problem, Splits, TensorTable
from hardfirst.problems.builtin import optical

TASKS = [task for task in optical.PROPERTIES if not task.endswith("_cm")]
FOLDED = 512


def problem() -> Problem:
    """Return the problem."""
    whole = optical.problem()
    tasks = tuple(task for task in whole.tasks if task.name in TASKS)
    return replace(whole, name="small_optical", tasks=tasks, network=network, parts=None, data=data)


def network() -> HardSharing:
    """Return a trunk of two layers of 64 features, and a linear head for each task."""
    whole = optical.parts(features=64)
    heads = {task: whole.heads[task] for task in TASKS}
    return HardSharing.from_parts(replace(whole, channels=FOLDED + optical.SIZES["solvent"], heads=heads))


def data() -> Splits:
    """Return the splits."""
    whole = optical.data()
    return Splits(*(folded(split) for split in (whole.train, whole.validation, whole.test)))


def folded(table: TensorTable) -> TensorTable:
    """The table with fewer counts and tasks."""
    counts = table.inputs["chromophore"].unflatten(1, (-1, FOLDED)).sum(1).clamp(max=255).to(torch.uint8)
    return TensorTable({**table.inputs, "chromophore": counts}, {task: table.targets[task] for task in TASKS})
