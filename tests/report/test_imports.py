"""What a report needs to be installed and imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from hardfirst.records import Writer

PACKAGES = ("problems", "networks", "balancers", "studies", "training")
CODE = """
import sys
from hardfirst import cli
from hardfirst.report.server import Pages
sys.argv = ["hardfirst", {command!r}, {folder!r}]
{patch}
try:
    cli.main()
except SystemExit as end:
    assert not end.code, end.code
heavy = {{"torch", "lightning", "sklearn", *(f"hardfirst.{{name}}" for name in {packages!r})}}
assert "hardfirst.report.html.page" in sys.modules
print(*sorted(heavy & set(sys.modules)), file=sys.stderr)
"""
SERVE_ONCE = """
from http.server import ThreadingHTTPServer
def serve_once(server, poll_interval=0):
    Pages(__import__("pathlib").Path(sys.argv[2])).page()
    raise KeyboardInterrupt
ThreadingHTTPServer.serve_forever = serve_once
sys.argv += ["--port", "0"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for balancer in ("equal", "dtp"):
        writer = Writer(tmp_path / "trials" / f"{balancer}.jsonl")
        writer.trial({"problem": "toy", "balancer": balancer, "seed": 0, "learning_rate": 0.1}, ["a", "b"])
        figures = {"weight": 1.0, "validation_kpi": 0.5}
        writer.epoch(1, seconds=1.0, learning_rate=0.1, tasks={"a": figures, "b": figures})
        writer.test(1, {"a": {"kpi": 0.5}, "b": {"kpi": 0.6}})
        writer.end("finished", seconds=1.0)
    return tmp_path


@pytest.mark.parametrize(("command", "patch"), [("report", ""), ("watch", SERVE_ONCE)])
def test_reports_import_neither_torch_nor_problems(folder: Path, command: str, patch: str) -> None:
    code = CODE.format(command=command, folder=str(folder), patch=patch, packages=PACKAGES)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stderr.strip() == ""
