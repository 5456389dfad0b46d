"""What can be wrong with the machine: a full disk, a folder that cannot be written to, packages that are not there."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from unittest.mock import patch

from hardfirst import Spec, records
from hardfirst.integrations.lightning import RecordRuns
from hardfirst.records import Writer
from hardfirst.studies import EngineSpec
from wrong_inputs.commands import TRAIN, run, tiny, write

FULL = Path("/dev/full")  # Linux: what is written to it finds the disk full


@contextmanager
def full_from_epoch(epoch: int) -> Iterator[None]:
    """A disk that is full when the line of this epoch is appended to a record."""
    opened, write_epoch = io.open, Writer.epoch

    def full(file: object, mode: str = "r", *options: object, **named: object) -> object:
        return opened(FULL if mode == "a" else file, mode, *options, **named)  # type: ignore[call-overload]

    def watched(writer: Writer, number: int, **line: object) -> None:
        with patch.object(io, "open", full if number == epoch else opened):
            write_epoch(writer, number, **line)  # type: ignore[arg-type]

    with patch.object(Writer, "epoch", watched):
        yield


def full_for(name: str) -> None:
    """A disk that is full when this file is written, under another name first."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(f".{path.name}.{os.getpid()}.part").symlink_to(FULL)


def full_disk(name: str, *arguments: str) -> None:
    write("first")
    full_for(name)
    tiny(*arguments)


def full_checkpoint() -> None:
    with patch.object(records, "remove_parts"):  # of the file that stands for the disk
        full_disk("run/checkpoint.pt", *TRAIN)


def full_in_training() -> None:
    with full_from_epoch(2):
        tiny(*TRAIN)


def unwritable() -> None:
    run("new", "/proc/mine.py")


@contextmanager
def without(*packages: str) -> Iterator[None]:
    with patch.dict(sys.modules, dict.fromkeys(packages)):
        yield


def missing(call: Callable[[], object], *packages: str) -> Callable[[], None]:
    def case() -> None:
        with without(*packages):
            call()

    return case


def table() -> None:
    Path("homes.csv").write_text("area,price\n1,2\n")
    run("train", "homes.csv", "--targets", "price")


IMPORTS = {
    "typer": "from hardfirst.__main__ import main; main()",
    "pydantic": "import hardfirst.study",
    "transformers": "import hardfirst.integrations.transformers",
}
SCRIPT = """
import contextlib, io, json, sys
found = {}
for package, code in json.loads(sys.argv[1]).items():
    errors = io.StringIO()
    sys.modules[package] = None
    try:
        with contextlib.redirect_stderr(errors):
            exec(code)
    except SystemExit as stop:
        assert stop.code == 2
        found[package] = errors.getvalue().strip()
    except ImportError as error:
        found[package] = f"{type(error).__name__}: {error}"
    del sys.modules[package]
print(json.dumps(found))
"""


@cache
def imports() -> dict[str, str]:
    """What is said where a package is missing from the start, by package."""
    command = [sys.executable, "-c", SCRIPT, json.dumps(IMPORTS)]
    return dict(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


def imported_without(package: str) -> None:
    print(imports()[package], file=sys.stderr)
    raise SystemExit(2)


CASES = {
    "full disk: a record": full_in_training,
    "full disk: a checkpoint": full_checkpoint,
    "full disk: the description of a run": lambda: full_disk("run/study.json", *TRAIN),
    "full disk: the page": lambda: full_disk("study/report.html", "report", "study"),
    "folder: of the system": unwritable,
    "package: TorchJD": missing(lambda: Spec.parse("cagrad").build(["a", "b"]), "torchjd", "torchjd.aggregation"),
    "package: Ray": missing(lambda: EngineSpec.parse("ray").build().check("cpu"), "ray"),
    "package: submitit": missing(lambda: EngineSpec.parse("slurm").build().check("cpu"), "submitit"),
    "package: Lightning for a callback": missing(lambda: RecordRuns("runs"), "lightning.pytorch", "pytorch_lightning"),
    "package: Lightning for training": missing(lambda: tiny(*TRAIN), "lightning", "lightning.fabric"),
    "package: pandas": missing(table, "pandas"),
    "package: typer": lambda: imported_without("typer"),
    "package: pydantic": lambda: imported_without("pydantic"),
    "package: transformers": lambda: imported_without("transformers"),
}
