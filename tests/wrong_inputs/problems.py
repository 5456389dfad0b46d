"""What can be wrong with a problem: in Python, in its file, in a table."""

import hashlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardfirst import kpi
from hardfirst.problems import Problem, Source, Splits, Task, TensorTable, load_problem, table_name
from hardfirst.problems._sources import PyPI
from hardfirst.training import check_problem
from wrong_inputs.commands import run

INPUTS = torch.linspace(-1, 1, 36).reshape(12, 3)
CLASSES, NUMBERS = torch.arange(12) % 3, INPUTS.sum(1)


class Net(nn.Module):
    def __init__(self, change: Callable[[dict], object] = dict) -> None:
        super().__init__()
        self.layer, self.change = nn.Linear(3, 4), change

    def forward(self, inputs: Tensor) -> object:
        output = self.layer(inputs)
        return self.change({"kind": output[:, :3], "value": output[:, 3]})


def task(name: object = "kind", **others: object) -> Task:
    return Task(**{"name": name, "loss": F.cross_entropy, "kpi": kpi.accuracy} | others)


def problem(**others: object) -> Problem:
    made = {"name": "own", "tasks": (task(), task("value", loss=F.mse_loss, kpi=kpi.r2, kpi_from="validation"))}
    return Problem(**made | {"network": Net, "data": table} | others)


def table(split: object = None, **targets: object) -> Splits:
    found = TensorTable(INPUTS, {"kind": CLASSES, "value": NUMBERS} | targets) if split is None else split
    return Splits(found, found, found)


def check(**others: object) -> None:
    check_problem(problem(**others), "own")


def items(*found: object) -> None:
    check(data=lambda: table(list(found)))


def network(change: Callable[[dict], object]) -> None:
    check(network=lambda: Net(change))


def file(text: str | bytes) -> None:
    Path("own.py").write_bytes(text if isinstance(text, bytes) else text.encode())
    run("train", "own.py", "--epochs", "1")


def rows(text: str | bytes, targets: str = "price", **options: str) -> None:
    Path("homes.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    load_problem(table_name("homes.csv", targets, **options)).data()


def parquet(content: bytes) -> None:
    Path("homes.parquet").write_bytes(content)
    load_problem(table_name("homes.parquet", "price"))


def columns(targets: str, options: Mapping[str, str] = MappingProxyType({}), **others: Callable[[int], object]) -> None:
    made = {
        "area": lambda row: row * 7 % 60,
        "price": lambda row: row,
        "town": lambda row: ["Ulm", "Bonn"][row % 2],
    } | others
    lines = [",".join(made), *(",".join(str(cell(row)) for cell in made.values()) for row in range(60))]
    rows("\n".join(lines), targets, **options)


def folder(name: str) -> None:
    Path(name).mkdir()
    run("train", name)


def data_of_another_version() -> None:
    Path("a.csv").write_text("1,")
    source = Source({PyPI("a-package", "1.0"): {"a.csv": hashlib.sha256(b"1,2").hexdigest()}}, "3 bytes", "MIT", "nobody")
    object.__setattr__(source, "_find", Path)
    source.read("a.csv")


CASES = {
    "problem: no tasks": lambda: problem(tasks=()),
    "problem: a task by its name": lambda: problem(tasks=["kind"]),
    "problem: tasks of one name": lambda: problem(tasks=(task(), task())),
    "problem: an empty name": lambda: problem(name=""),
    "problem: data instead of a function": lambda: problem(data=table()),
    "problem: a network with arguments": lambda: problem(network=lambda width: Net()),
    "problem: half a batch": lambda: problem(batch_size=2.5),
    "problem: no epochs": lambda: problem(epochs=0),
    "problem: a negative learning rate": lambda: problem(learning_rate=-0.1),
    "problem: an unknown sampling": lambda: problem(sampling="round-robin"),
    "problem: networks in a list": lambda: problem(networks=[Net]),
    "problem: parts that are none": lambda: problem(parts=dict).variant(network="mmoe").network(),
    "task: a number for a name": lambda: task(3),
    "task: a loss by its name": lambda: task(loss="cross_entropy"),
    "task: a negative scale": lambda: task(scale=-1.0),
    "task: KPIs from the test split": lambda: task(kpi_from="test"),
    "task: a metric that is a function": lambda: task(metrics={"IoU": kpi.mean_iou}),
    "data: not three splits": lambda: check(data=lambda: (table().train, table().test)),
    "data: an empty split": lambda: check(data=lambda: table(TensorTable(INPUTS[:0], {"kind": CLASSES[:0]}))),
    "data: a split without a length": lambda: check(data=lambda: table(iter([]))),
    "data: an array in a table": lambda: check(data=lambda: table(kind=CLASSES.numpy())),
    "data: fewer targets than inputs": lambda: check(data=lambda: table(kind=CLASSES[:5])),
    "data: items without a mapping": lambda: items((INPUTS[0], 1)),
    "data: items of three": lambda: items((INPUTS[0], {"kind": 1}, "name")),
    "data: inputs of two lengths": lambda: items((INPUTS[0], {"kind": 1}), (INPUTS[0, :2], {"kind": 1})),
    "data: inputs that are None": lambda: items((None, {"kind": 1})),
    "data: a target that is a word": lambda: items((INPUTS[0], {"kind": "cat"})),
    "data: targets of two lengths": lambda: items((INPUTS[0], {"value": INPUTS[0]}), (INPUTS[1], {"value": INPUTS[0, :2]})),
    "data: no target at all": lambda: items((INPUTS[0], {})),
    "data: the target of an unknown task": lambda: items((INPUTS[0], {"kind": 1, "valeu": 0.5})),
    "data: a class too high": lambda: check(data=lambda: table(kind=CLASSES + 1)),
    "data: no labels to validate by": lambda: check(data=lambda: table(kind=CLASSES * 0 - 100, value=NUMBERS * math.nan)),
    "network: all frozen": lambda: check(network=lambda: Net().requires_grad_(False)),
    "network: sparse gradients": lambda: check(network=lambda: nn.Embedding(9, 4, sparse=True)),
    "network: none": lambda: check(network=lambda: None),
    "network: a class": lambda: check(network=lambda: Net),
    "network: nothing to train": lambda: check(network=nn.Identity),
    "network: a tensor": lambda: network(lambda outputs: outputs["kind"]),
    "network: an output is missing": lambda: network(lambda outputs: {"kind": outputs["kind"]}),
    "network: an output is None": lambda: network(lambda outputs: outputs | {"value": None}),
    "network: one number for a batch": lambda: network(lambda outputs: outputs | {"value": outputs["value"].mean()}),
    "network: half the outputs": lambda: network(lambda outputs: outputs | {"value": outputs["value"][:6]}),
    "network: [batch, 1] beside [batch]": lambda: network(lambda outputs: outputs | {"value": outputs["value"][:, None]}),
    "network: it fails": lambda: network(lambda outputs: outputs["values"]),
    "loss: one per example": lambda: check(tasks=(task(loss=lambda output, target: output.sum(1)),)),
    "loss: a whole number": lambda: check(tasks=(task(loss=lambda output, target: target.sum()),)),
    "loss: it fails": lambda: check(tasks=(task(loss=lambda output, target: {}["x"]),)),
    "KPI: a percentage": lambda: check(tasks=(task(kpi=lambda output, target: torch.tensor(93.0)),)),
    "KPI: a Python number": lambda: check(tasks=(task(kpi=lambda output, target: 0.5),)),
    "file: missing": lambda: run("train", "nowhere.py"),
    "file: a folder": lambda: folder("own.py"),
    "file: a syntax error": lambda: file("def problem(:\n"),
    "file: no text": lambda: file(b"\x00\xff\x00"),
    "file: no function": lambda: file("x = 1\n"),
    "file: it returns something else": lambda: file("def problem():\n    return 3\n"),
    "file: it fails": lambda: file("def problem():\n    return {}['x']\n"),
    "file: it ends the program": lambda: file("import sys\nsys.exit('usage: own.py')\n"),
    "file: its problem is wrong": lambda: file(
        "from hardfirst.problems import Problem\n\ndef problem():\n    return Problem('p', (), None, None)\n"
    ),
    "table: missing": lambda: run("compare", "nowhere.csv", "--targets", "price"),
    "table: a folder": lambda: folder("homes.csv"),
    "table: empty": lambda: rows(""),
    "table: a head alone": lambda: rows("area,price\n"),
    "table: one column": lambda: columns("area,price,town"),
    "table: no targets": lambda: columns(""),
    "table: an unknown target": lambda: columns("prize:regression"),
    "table: an unknown kind": lambda: columns("price:regresion"),
    "table: words in a regression": lambda: columns("town:regression"),
    "table: all labels are missing": lambda: columns("price:regression", price=lambda row: ""),
    "table: one class": lambda: columns("town:classification", town=lambda row: "Ulm"),
    "table: rows that are alike": lambda: columns("price", area=lambda row: 6 + row % 3, town=lambda row: "Ulm"),
    "table: rows of other lengths": lambda: rows("area,price\n" + "1,2,3\n1,2\n1,2,3,4\n" * 30),
    "table: no text": lambda: rows(bytes(range(256)) * 9),
    "table: an unknown KPI": lambda: columns("town:classification:kpi=auk"),
    "table: an unknown option": lambda: columns("price:regression:kip=r2"),
    "table: a share within nothing": lambda: columns("price:regression:kpi=within"),
    "table: the logarithm of nothing": lambda: columns("price:log"),
    "table: an order that is open": lambda: columns("town:ordinal", town=lambda row: ["Ulm", "Bonn", "Rom"][row % 3]),
    "table: a far label": lambda: columns("price", price=lambda row: 10.0**row),
    "table: splits of other names": lambda: columns("price", {"split": "town"}),
    "table: two ways to split": lambda: columns("price", {"group": "town", "time": "area"}),
    "table: an unknown column to drop": lambda: columns("price", {"drop": "twon"}),
    "table: another format": lambda: run("compare", "homes.ods", "--targets", "price"),
    "table: not what its suffix says": lambda: parquet(b"PAR1"),
    "table: targets for no table": lambda: run("train", "digits", "--targets", "price"),
    "file of data: not the published one": data_of_another_version,
}
