"""Every wrong input gets the message in tests/errors.txt, without a traceback and, from a command, with exit code 2.

`python tests/test_errors.py` renews the file; read its diff as a user would.
"""

import io
import os
import re
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import indent
from unittest.mock import patch

import pytest
import torch

from hardfirst import records
from hardfirst.errors import InputError
from hardfirst.problems import PROBLEMS
from hardfirst.studies import Plan, Runner, Store
from wrong_inputs.commands import TINY, TRAIN
from wrong_inputs.machine import full_from_epoch

SNAPSHOT = Path(__file__).with_name("errors.txt")
AREAS = ("balancers", "measures", "problems", "commands", "machine")
Case = Callable[[], object]


@cache
def cases() -> dict[str, Case]:
    """All wrong inputs by name, "area, what: how"."""
    return {f"{area}, {name}": case for area in AREAS for name, case in import_module(f"wrong_inputs.{area}").CASES.items()}


@contextmanager
def without_plugins() -> Iterator[None]:
    """No plug-in is installed, so that the sentences do not depend on it."""
    with patch.object(PROBLEMS, "plugins", {}), patch.dict(PROBLEMS.loaded, clear=True):
        yield


def said(case: Case) -> str:
    """Run a case in a temporary folder and return its message."""
    printed, errors = io.StringIO(), io.StringIO()
    wide = patch.dict(os.environ, {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
    streams = redirect_stdout(printed), redirect_stderr(errors)
    with TemporaryDirectory() as folder, chdir(folder), wide, without_plugins(), streams[0], streams[1]:
        try:
            with torch.random.fork_rng():
                case()
        except InputError as error:
            message = f"{'' if type(error) is InputError else type(error).__name__ + ': '}{error}"
        except SystemExit as stop:
            if stop.code != 2:
                raise AssertionError(f"code {stop.code}: {printed.getvalue()}{errors.getvalue()}") from None
            message = plain(errors.getvalue())
        else:
            raise AssertionError(f"nothing was wrong: {printed.getvalue()}{errors.getvalue()}")
        assert not Path("executed").exists(), "code in a file was executed"
    assert "Traceback" not in printed.getvalue() + errors.getvalue() + message
    message = message.replace(str(Path(folder).resolve()), "FOLDER").replace(folder, "FOLDER")
    return re.sub(r"\b[0-9a-f]{16}\b", "KEY", message)


def plain(text: str) -> str:
    """Return what a command wrote to standard error, without the lines on its usage."""
    return "\n".join(
        line.removeprefix("Error: ") for line in text.splitlines() if line and not re.match("Usage:|Try '", line)
    )


def snapshot(messages: dict[str, str]) -> str:
    return "\n".join(f"{name}\n{indent(text, '    ')}\n" for name, text in messages.items())


@cache
def written() -> dict[str, str]:
    blocks = re.split(r"\n\n(?=\S)", SNAPSHOT.read_text(encoding="utf-8").rstrip("\n"))
    pairs = (block.partition("\n") for block in blocks)
    return {name: re.sub(r"^    ", "", text, flags=re.MULTILINE) for name, _, text in pairs}


@pytest.mark.parametrize("name", cases())
def test_every_wrong_input_gets_its_sentence(name: str) -> None:
    assert said(cases()[name]) == written()[name]


def test_the_snapshot_has_these_cases_and_no_others() -> None:
    assert list(written()) == list(cases())
    assert len(cases()) >= 60
    assert all(text.strip() for text in written().values())


def run_of(store: Store) -> dict:
    """The fields of a run's record that do not depend on the clock."""
    (run,) = store.runs(store.about().cases[0])
    epochs = [{name: value for name, value in line.items() if name != "seconds"} for line in run.record.epochs]
    return {"trial": run.record.trial, "epochs": epochs, "test": run.record.test, "outcome": run.record.outcome}


def test_a_full_disk_loses_no_epoch(hardfirst: Callable[..., str], tmp_path: Path) -> None:
    Path("tiny.py").write_text(TINY)
    with full_from_epoch(2):
        assert "No space left on device" in hardfirst(*TRAIN, code=2)
    (part,) = (tmp_path / "run/trials").glob(".*.part")
    assert len(records.read(part).epochs) == 1
    hardfirst(*TRAIN, "--resume")
    hardfirst(*TRAIN[:-1], "another")
    assert run_of(Store(tmp_path / "run")) == run_of(Store(tmp_path / "another"))


@pytest.mark.slow
def test_a_study_that_cannot_write_stops_and_keeps_what_it_has(tmp_path: Path) -> None:
    file = tmp_path / "tiny.py"
    file.write_text(TINY)
    plan = Plan(
        problems=str(file), balancers="equal,dtp", seeds=1, baselines=False, controls=False, workers=1, vectorize=False
    )
    runner = Runner(plan, tmp_path / "study")
    first, second = runner.trials()
    runner.store.part_file(second).mkdir()  # no record can be written there
    with pytest.raises(InputError, match="has stopped, since a record could not be written, as said above"):
        runner.run()
    assert [path.stem for path in (tmp_path / "study/trials").glob("*.jsonl")] == [first]
    runner.store.part_file(second).rmdir()
    Runner(plan, tmp_path / "study").run()
    assert {Store(tmp_path / "study").ended(key) for key in (first, second)} == {True}


if __name__ == "__main__":
    SNAPSHOT.write_text(snapshot({name: said(case) for name, case in cases().items()}), encoding="utf-8")
