"""Run records and study folders: files written now, and by earlier versions."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hardfirst.errors import InputError
from hardfirst.records import LossShare, Record, Writer, read, replaced_file, write_atomically
from hardfirst.records.description import CaseTrials, Description, Entry, Run
from hardfirst.records.names import EASY, RAW
from hardfirst.records.study_folder import StudyFolder, as_runs, completed

SETTINGS = {"problem": "toy", "balancer": "dtp", "seed": 0, "learning_rate": 0.1}
SHARE = "loss in the hardest 3 % of background under focal_2"


def record(balancer: str, seed: int = 0, **trial: object) -> Record:
    return Record(SETTINGS | {"balancer": balancer, "seed": seed} | trial, ("a",))


def entry(method: str, role: str = "method") -> Entry:
    return Entry(key="", method=method, role=role)


# Files


def write_half(path: Path) -> None:
    with replaced_file(path) as part:
        part.write_text("half of the n")
        raise ZeroDivisionError


def test_a_file_is_replaced_only_when_all_of_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")
    with pytest.raises(ZeroDivisionError):
        write_half(path)
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "old"
    with pytest.raises(InputError, match="cannot be written"):
        write_atomically(tmp_path / "absent" / "file", "new")


# Shares of a loss


def write(path: Path, metrics: dict[str, float], **header: object) -> Record:
    writer = Writer(path)
    writer.trial(SETTINGS, ["boxes"], **header)
    writer.test(1, {"boxes": {"kpi": 0.5, "metrics": metrics}})
    return read(path)


def test_a_record_says_which_metrics_are_shares_of_a_loss(tmp_path: Path) -> None:
    shares = {"boxes": {"any name": LossShare(3.0, "background", None), "another": LossShare(0.1, "objects", "focal_2")}}
    written = write(tmp_path / "run.jsonl", {"any name": 0.4, SHARE: 0.5}, loss_shares=shares)
    assert written.loss_shares == shares  # a name that looks like one means nothing where the record says it itself


def test_an_old_record_says_it_by_names(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    old = write(path, {"AP": 0.1, SHARE: 0.5, "loss in the hardest 0.1 % of objects": 0.2})
    assert old.kpis == {}
    assert write(tmp_path / "new.jsonl", {}, kpis={"boxes": "AP"}).kpis == {"boxes": "AP"}
    assert "loss_shares" not in json.loads(path.read_text().splitlines()[0])
    assert old.loss_shares == {
        "boxes": {
            SHARE: LossShare(3.0, "background", "focal_2"),
            "loss in the hardest 0.1 % of objects": LossShare(0.1, "objects"),
        }
    }


@pytest.mark.parametrize("share", [{"hardest": "3", "kind": "a"}, {"kind": "a"}, {"hardest": 3, "kind": "a", "more": 1}, 3])
def test_a_damaged_share_is_refused(tmp_path: Path, share: object) -> None:
    path = tmp_path / "run.jsonl"
    write(path, {})
    first, *rest = path.read_text().splitlines()
    line = json.loads(first) | {"loss_shares": {"boxes": {"x": share}}}
    path.write_text("\n".join([json.dumps(line), *rest, ""]))
    with pytest.raises(InputError, match="`loss_shares` in line 1 is missing or invalid"):
        read(path)


def test_a_mean_weight_leaves_out_epochs_without_one() -> None:
    run = Record(
        SETTINGS, ("a", "b"), epochs=[{"epoch": e, "tasks": {"a": {"weight": w}, "b": {}}} for e, w in ((1, 1.0), (2, 3.0))]
    )
    run.epochs.append({"epoch": 3, "tasks": {"a": {}, "b": {}}})
    assert run.mean_weight("a") == 2.0
    assert run.mean_weight("b") != run.mean_weight("b")  # NaN


# Studies


def test_study_json_has_no_field_without_content(tmp_path: Path) -> None:
    entries = [entry("dtp"), Entry(key="k", method=EASY, role="control", control_of="dtp")]
    text = Description(
        title="t", command=None, cases=[CaseTrials(problem="p", network="own", trials=entries)]
    ).model_dump_json()
    first, second = json.loads(text)["cases"][0]["trials"]
    assert first == {"key": "", "method": "dtp", "role": "method", "tuning": False}
    assert second["control_of"] == "dtp"
    (tmp_path / "study.json").write_text(text)
    assert StudyFolder(tmp_path).about().cases[0].trials == entries


def test_what_study_json_says_stands_whatever_the_names(tmp_path: Path) -> None:
    named = [
        Run(Entry(key="", method="fixed:a=1", constant_weights=False), record("equal")),
        Run(entry("dtp"), record("dtp")),
        Run(Entry(key="", method=EASY, role="control", control_of="mine.py:Own"), record("mine.py:Own:priority=easy")),
    ]
    assert completed(named) == named


@pytest.mark.parametrize("first", [0, 1])
def test_in_an_old_study_controls_belong_to_the_dtp_whose_settings_they_have(first: int) -> None:
    tuned = ("dtp:alpha=0.2", "dtp:alpha=0.2,uniform=0.8")
    easy = ("dtp:alpha=0.2,priority=easy", "dtp:alpha=0.2,priority=easy,uniform=0.8")[first]
    methods = [Run(entry(name), record(spec)) for spec, name in zip(tuned, ("dtp", "dtp:uniform=0.8"), strict=True)]
    controls = [
        Run(entry(EASY, "control"), record(easy)),
        Run(entry(RAW, "control"), record("dtp:alpha=0.2,normalize=false")),
    ]
    *_, control, _ = completed([*methods, *controls])
    assert control.entry.control_of == ("dtp", "dtp:uniform=0.8")[first]


def test_in_an_old_study_without_dtp_controls_belong_to_nothing() -> None:
    runs = [Run(entry("dwa"), record("dwa")), Run(entry(EASY, "control"), record("dtp:priority=easy"))]
    assert completed(runs) == runs


def test_records_without_a_study_are_runs_of_the_methods_that_they_name() -> None:
    fixed, own = as_runs([record("fixed:a=2"), record("our own: a, loop")])
    assert (fixed.entry.method, fixed.entry.constant_weights) == ("fixed:a=2", True)
    assert own.entry == entry("our own: a, loop")


# Imports


def test_records_are_read_with_the_standard_library_alone() -> None:
    code = "import sys, hardfirst.records; print(*sorted({'torch', 'numpy', 'pydantic', 'scipy'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
