"""A page that is served while a study goes on."""

import os
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from hardfirst.errors import InputError
from hardfirst.integrations import RunRecorder
from hardfirst.records.description import CaseTrials, Description, Entry
from hardfirst.report import Comparison
from hardfirst.report.server import HOST, Pages, serve
from hardfirst.studies import Store


def ended(folder: Path, balancer: str, kpi: float) -> None:
    """A run in the folder that has come to its end."""
    recorder = RunRecorder(folder, {"problem": "toy", "balancer": balancer, "seed": 0, "epochs": 1})
    recorder.begin(("a", "b"), nn.Linear(1, 1))
    figures = {task: {"kpi": kpi, "weight": 1.0, "validation_kpi": kpi} for task in ("a", "b")}
    recorder.epoch(seconds=1.0, learning_rate=0.1, tasks=figures)
    recorder.test({task: {"kpi": kpi} for task in ("a", "b")}, best=True)
    recorder.end()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    with serve(tmp_path, port=0, seconds=0.1) as (server, address):
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield tmp_path, address
        server.shutdown()
        thread.join()


def get(address: str, **headers: str) -> str:
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=30) as answer:
        return str(answer.read().decode())


def test_the_page_follows_the_folder(served: tuple[Path, str]) -> None:
    folder, address = served
    assert address.startswith(f"http://{HOST}:")
    assert "There is no study in" in get(address)
    before = get(f"{address}version")
    assert get(f"{address}version") == before
    ended(folder, "equal", 0.5)
    assert get(f"{address}version") != before
    page = get(address)
    assert "Runs in " in page
    assert get(address) is not page
    assert get(address) == page
    ended(folder, "dtp", 0.6)
    assert "dtp is 10.0 points above equal weights" in get(address)


def test_only_this_machine_and_this_page(served: tuple[Path, str]) -> None:
    _, address = served
    for path, headers, code in (("study.json", {}, 404), ("../x", {}, 404), ("", {"Host": "example.org"}, 403)):
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(address + path, **headers)
        assert refused.value.code == code
        refused.value.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "localhost:80"])
def test_a_browser_at_port_80_names_no_port(served: tuple[Path, str], host: str) -> None:
    assert "There is no study in" in get(served[1], Host=host)


@pytest.mark.parametrize("host", ["127.0.0.1:evil.example", "localhost.evil.example", "evil.example:8400", ""])
def test_the_host_is_matched_as_a_whole(served: tuple[Path, str], host: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(served[1], Host=host)
    assert refused.value.code == 403
    refused.value.close()


def test_a_connection_without_a_request_is_closed(tmp_path: Path) -> None:
    with serve(tmp_path, port=0) as (server, _):
        assert server.RequestHandlerClass.timeout == 10
        server.RequestHandlerClass.timeout = 0.1
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        with socket.create_connection((HOST, server.server_port), timeout=30) as half_open:
            assert half_open.recv(1) == b""
        server.shutdown()


def test_a_fault_of_the_page_is_shown(served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(Comparison, "read", fail)
    assert "by a fault of hardfirst: ZeroDivisionError: division by zero" in get(served[1])


def test_wrong_use_gets_a_sentence(served: tuple[Path, str], tmp_path: Path) -> None:
    port = int(served[1].rstrip("/").rpartition(":")[2])
    with pytest.raises(InputError, match=f"Port {port} of {HOST} is not available"), serve(tmp_path, port=port):
        pass
    with pytest.raises(InputError, match="choose another with --port"), serve(tmp_path, port=70_000):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file is a file"), serve(tmp_path / "file"):
        pass


def test_a_folder_need_not_exist_yet(tmp_path: Path) -> None:
    pages = Pages(tmp_path / "later")
    before = pages.version()
    assert "later does not exist yet." in pages.page()
    ended(tmp_path / "later", "equal", 0.5)
    assert pages.version() != before
    assert "1 run" in pages.page()


def test_a_study_with_one_method_so_far_is_not_told_to_add_one(tmp_path: Path) -> None:
    ended(tmp_path, "equal", 0.5)
    (path,) = (tmp_path / "trials").glob("*.jsonl")
    trials = [Entry(key=path.stem, method="equal"), Entry(key="other", method="dtp")]
    cases = [CaseTrials(problem="toy", network="own", trials=trials)]
    Store(tmp_path).describe(Description(title="Toy", command="hardfirst compare toy", cases=cases))
    page = Pages(tmp_path).page()
    assert "1 to go" in page
    assert not re.search("[Aa]dd a(nother)? method", page)


def test_progress_is_shown_from_the_first_run_on(tmp_path: Path) -> None:
    """Also of tuning, which is no result."""
    pages, store = Pages(tmp_path), Store(tmp_path)
    ended(tmp_path, "equal", 0.5)
    ended(tmp_path, "dwa", 0.5)
    keys = sorted(path.stem for path in (tmp_path / "trials").glob("*.jsonl"))
    for key, age in zip(keys, (100, 40), strict=True):
        os.utime(store.record_file(key), (time.time() - age,) * 2)

    def describe(tuning: bool) -> None:
        trials = [Entry(key=key, method=method, tuning=tuning) for key, method in zip(keys, ("equal", "dwa"), strict=True)]
        trials.append(Entry(key="other", method="dtp"))
        cases = [CaseTrials(problem="toy", network="own", trials=trials)]
        store.describe(Description(title="Toy", command="hardfirst compare toy", cases=cases))

    describe(tuning=True)
    page = pages.page()
    assert "2 of 3 runs have ended, about 20 seconds to go; none of them is a method" in page
    describe(tuning=False)
    page = pages.page()
    assert "2 of 3 runs" in page
    assert "1 to go, about" in page


@pytest.mark.browser
def test_a_browser_sees_what_comes(served: tuple[Path, str], browser: Any) -> None:
    folder, address = served
    page = browser.new_page()
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    assert "This page shows the study" in page.inner_text("main")
    ended(folder, "equal", 0.5)
    page.wait_for_selector("table", timeout=20_000)
    ended(folder, "dtp", 0.6)
    page.wait_for_selector("text=dtp is 10.0 points above equal weights", timeout=20_000)  # its policy forbids eval
    page.close()
    assert errors == []
