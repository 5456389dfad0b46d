"""Other default networks for tables, on the validation split: `python benchmarks/table_networks.py DIR [NETWORK ...]`.

The tables are the ten smaller ones of `tables.py`, which also says what DIR is. For each target: the validation KPI × 100 of
equal weights with the default network, as the mean over three seeds, and how many points more another network has. No run
reads the test split, so that a network may be chosen by these figures. The networks:

wide              256 and 128 units
dropout           dropout of 0.2 behind each hidden layer
piecewise         16 more inputs for each number and date: its position, from 0 to 1, in each interval between quantiles of
                  the training rows (piecewise linear encoding, Gorishniy et al., NeurIPS 2022)
few_pieces        piecewise, with an interval for each 200 training rows, at most 16

Records are kept in DIR, and the same command continues where it was stopped.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor, nn

from hardfirst import Spec
from hardfirst.networks import HardSharing
from hardfirst.problems import Problem, TensorTable, load_problem, table_name
from hardfirst.training import Trial
from kept_runs import run
from tables import TABLES, extract

SEEDS, SMALLER, PIECES, ROWS, CLEAR = range(3), 10, 16, 200, 0.5
FILE = """
from hardfirst.problems import load_problem
from table_networks import with_networks

def problem():
    return with_networks(load_problem({name!r}))
"""


class Piecewise(nn.Module):
    """Adds to the inputs the position of some of them in each interval between edges."""

    low: Tensor
    width: Tensor

    def __init__(self, edges: dict[int, Tensor]) -> None:
        super().__init__()
        self.columns = [column for column, edge in edges.items() for _ in edge[1:]]
        self.register_buffer("low", torch.cat([edge[:-1] for edge in edges.values()]))
        self.register_buffer("width", torch.cat([edge[1:] - edge[:-1] for edge in edges.values()]))

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cat([inputs, ((inputs[:, self.columns] - self.low) / self.width).clamp(0, 1)], 1)


def edges_of(problem: Problem, pieces: int) -> dict[int, Tensor]:
    """By input that is a number or a date, the quantiles of the training rows that differ."""
    train, found, start = problem.data().train, dict[int, Tensor](), 0
    assert isinstance(train, TensorTable)
    assert isinstance(train.inputs, Tensor)
    assert problem.transform is not None
    shares = torch.linspace(0, 1, pieces + 1, dtype=torch.float64)
    for column in problem.transform.inputs:
        edges = torch.quantile(train.inputs[:, start].double(), shares).unique().float()
        if column.kind in ("number", "date") and len(edges) > 2:
            found[start] = edges
        start += column.width
    return found


def network(problem: Problem, units: Sequence[int] = (128, 64), *, dropout: float = 0.0, pieces: int = 0) -> HardSharing:
    """A multilayer perceptron with the heads of the problem's own network."""
    assert problem.transform is not None
    edges = edges_of(problem, pieces) if pieces > 1 else {}
    layers: list[nn.Module] = [Piecewise(edges)] if edges else []
    width = problem.transform.width + sum(len(edge) - 1 for edge in edges.values())
    for count in units:
        layers += [nn.Linear(width, count), nn.ReLU(), *[nn.Dropout(dropout)] * bool(dropout)]
        width = count
    heads = problem.transform.parts().heads
    return HardSharing(nn.Sequential(*layers), {name: head(width) for name, head in heads.items()})


NETWORKS: dict[str, Callable[[Problem], HardSharing]] = {
    "wide": partial(network, units=(256, 128)),
    "dropout": partial(network, dropout=0.2),
    "piecewise": partial(network, pieces=PIECES),
    "few_pieces": lambda problem: network(problem, pieces=min(PIECES, len(problem.data().train) // ROWS)),  # type: ignore[arg-type]
}


def with_networks(problem: Problem) -> Problem:
    """The problem of a table with the networks above."""
    return replace(problem, networks={name: partial(build, problem) for name, build in NETWORKS.items()})


def main(folder: Path, networks: Sequence[str]) -> None:
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    gains: dict[str, list[float]] = {name: [] for name in networks}
    print(f"| table | target | own | {' | '.join(networks)} |\n|---|---|---|{'---|' * len(networks)}")
    for table in list(TABLES)[:SMALLER]:
        targets, choices = TABLES[table]
        file = folder / f"networks_of_{Path(table).name}.py"
        file.write_text(FILE.format(name=table_name(str(extract(folder, table).absolute()), targets, **choices)))
        base = replace(Trial.plan(str(file), Spec("equal")), test=False)
        found = {
            name: run(folder, [replace(base, network=name, seed=seed) for seed in SEEDS]) for name in ("own", *networks)
        }
        for task in load_problem(str(file)).task_names:
            kpis = {name: 100 * fmean(each.validation_kpi(task) for each in runs) for name, runs in found.items()}
            for name in networks:
                gains[name].append(kpis[name] - kpis["own"])
            row = " | ".join(f"{gains[name][-1]:+.1f}" for name in networks)
            print(f"| {Path(table).name} | {task} | {kpis['own']:.1f} | {row} |", flush=True)
    print(f"| | mean | | {' | '.join(f'{fmean(gains[name]):+.2f}' for name in networks)} |")
    counts = [(sum(gain > CLEAR for gain in gains[name]), sum(gain < -CLEAR for gain in gains[name])) for name in networks]
    print(f"| | targets above and below by {CLEAR} | | {' | '.join(f'{up}, {down}' for up, down in counts)} |")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2:] or list(NETWORKS))
