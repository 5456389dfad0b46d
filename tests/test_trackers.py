"""Trackers: what each is sent, once for each run, and that an error of one breaks nothing."""

import math
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from torch import nn

from hardfirst.errors import InputError, MissingPackage
from hardfirst.integrations import RunRecorder
from hardfirst.records import Writer, record_key
from hardfirst.trackers import TRACKERS, FolderLog, MLflow, Tracker

SETTINGS = {"problem": "tiny/1", "balancer": "dtp", "seed": 3}
NAME = f"dtp seed 3 {record_key(SETTINGS)[:6]}"
EPOCH = {"depth/kpi": 0.5, "depth/validation_metrics/MAE": 2.0, "learning_rate": 0.1, "seconds": 1.0}
TEST = {"test/depth/kpi": 0.25}


class Calls(Tracker):
    def __init__(self, folder: Path | str = ".") -> None:
        self.calls: list[tuple[Any, ...]] = []

    def start(self, name: str, settings: Mapping[str, Any]) -> None:
        self.calls.append((name, dict(settings)))

    def epoch(self, epoch: int, figures: Mapping[str, float]) -> None:
        self.calls.append((epoch, dict(figures)))

    def end(self, outcome: str) -> None:
        self.calls.append((outcome,))


EXPECTED = [(NAME, SETTINGS), (1, EPOCH), (1, TEST), ("finished",)]


def write(folder: Path, outcome: str = "finished", **changes: Any) -> None:
    settings = {**SETTINGS, **changes}
    writer = Writer(folder / f"trials/{record_key(settings)}.jsonl")
    writer.trial(settings, ["depth"])
    figures = {"kpi": 0.5, "validation_kpi": math.nan, "validation_metrics": {"MAE": 2.0}}
    writer.epoch(1, seconds=1.0, learning_rate=0.1, tasks={"depth": figures})
    writer.test(1, {"depth": {"kpi": 0.25}})
    writer.end(outcome, seconds=1.0)


def folder_log(folder: Path, monkeypatch: pytest.MonkeyPatch, tracker: Callable[..., Any] = Calls) -> FolderLog:
    monkeypatch.setattr("hardfirst.trackers.TRACKERS", {"calls": tracker})
    return FolderLog(folder, "calls")


def test_each_run_of_a_folder_is_sent_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    write(tmp_path, "failed", seed=4)  # will be tried again
    (tmp_path / "trials/damaged.jsonl").write_text("{")
    (tmp_path / "trials/other.jsonl").write_text('{"kind": "note"}\n')
    for expected in (EXPECTED, []):
        log = folder_log(tmp_path, monkeypatch)
        log.update()
        log.update()
        assert log._send.function.calls == expected  # type: ignore[attr-defined]


def test_an_error_of_a_tracker_is_said_once_and_the_run_is_sent_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Calls):
        def end(self, outcome: str) -> None:
            raise OSError("no route\nto host")

    write(tmp_path)
    log = folder_log(tmp_path, monkeypatch, Broken)
    said: list[str] = []
    monkeypatch.setattr("hardfirst.trackers.warn_caller", said.append)
    log.update()
    log.update()
    assert said == ["Broken failed and gets nothing more: OSError, no route to host. Training and records are not affected."]
    log = folder_log(tmp_path, monkeypatch)
    log.update()
    assert log._send.function.calls == EXPECTED  # type: ignore[attr-defined]


def test_a_recorder_tells_functions_each_line_also_after_a_resume(tmp_path: Path) -> None:
    network, tracker = nn.Linear(1, 1), Calls()
    figures = {"depth": {"kpi": 0.5, "validation_kpi": 0.5}}

    def broken(line: object) -> None:
        raise ValueError("disk")

    recorder = RunRecorder(tmp_path, SETTINGS, also=[tracker])
    recorder.begin(("depth",), network)
    recorder.epoch(seconds=1.0, learning_rate=0.1, tasks=figures)
    resumed, kinds = Calls(), list[str]()
    recorder = RunRecorder(tmp_path, SETTINGS, also=[resumed, lambda line: kinds.append(line["kind"]), broken])
    with pytest.warns(UserWarning, match="broken failed and gets nothing more: ValueError, disk"):
        recorder.begin(("depth",), network, epochs=1)
    recorder.epoch(seconds=1.0, learning_rate=0.1, tasks=figures)
    recorder.end()
    recorder.test({"depth": {"kpi": 0.25}}, best=False)
    assert kinds == ["trial", "epoch", "epoch", "end", "test"]
    assert [call[0] for call in resumed.calls] == [NAME, 1, 2, "finished", 2]
    assert resumed.calls[:2] == tracker.calls


def test_tensorboard_files_hold_the_figures(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write(tmp_path)
    log = FolderLog(tmp_path, "tensorboard")
    log.update()
    (folder,) = (tmp_path / "tensorboard").iterdir()
    events = EventAccumulator(str(folder)).Reload()
    assert set(events.Tags()["scalars"]) == EPOCH.keys() | TEST.keys()
    assert [(each.step, each.value) for each in events.Scalars("depth/validation_metrics/MAE")] == [(1, 2.0)]


def test_wandb_gets_runs_with_their_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = MagicMock()
    monkeypatch.setitem(sys.modules, "wandb", client)
    write(tmp_path)
    FolderLog(tmp_path, "wandb").update()
    begun = client.init.call_args.kwargs
    assert (begun["project"], begun["name"], begun["config"]) == ("tiny-1", NAME, SETTINGS)
    run = client.init.return_value
    assert [call.args[0] for call in run.log.call_args_list] == [{"epoch": 1, **EPOCH}, {"epoch": 1, **TEST}]
    run.finish.assert_called_once_with(exit_code=0)


def test_mlflow_gets_runs_with_their_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    client = MagicMock()
    client.get_experiment_by_name.return_value = None
    client.create_run.return_value.info.run_id = "7"
    mlflow = types.SimpleNamespace(MlflowClient=lambda: client)
    entities = types.SimpleNamespace(Metric=lambda key, value, timestamp, step: (key, value, step))
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)  # type: ignore[arg-type]
    write(tmp_path, "diverged")
    FolderLog(tmp_path, "mlflow").update()
    client.create_experiment.assert_called_once_with("tiny/1")
    assert client.create_run.call_args.kwargs == {"run_name": NAME}
    sent = [call.kwargs["metrics"] for call in client.log_batch.call_args_list]
    assert sent == [[(name, figure, 1) for name, figure in figures.items()] for figures in (EPOCH, TEST)]
    client.set_terminated.assert_called_once_with("7", "FAILED")


@pytest.mark.parametrize("name", TRACKERS)
def test_what_is_missing_is_said(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module in ("wandb", "mlflow", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackage, match=rf"The tracker {name} is not installed: pip install \S*{name}"):
        FolderLog(tmp_path, name)


def test_an_unknown_tracker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Unknown tracker 'mlfow'; did you mean 'mlflow'\?"):
        FolderLog(tmp_path, "mlfow")


def test_mlflow_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    recorder = RunRecorder(tmp_path, {**SETTINGS, "problem": "tiny"}, also=[MLflow()])
    recorder.begin(("depth",), nn.Linear(1, 1))
    recorder.epoch(seconds=1.0, learning_rate=0.1, tasks={"depth": {"kpi": 0.5}})
    recorder.end()
    recorder.test({"depth": {"kpi": 0.25}}, best=False)
    client = MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    assert run.data.metrics["test/depth/kpi"] == 0.25
    assert run.data.params["balancer"] == "dtp"
    assert run.info.status == "FINISHED"
