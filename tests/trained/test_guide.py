"""The guide's commands and Python run as they are, one after the other."""

import re
import shlex
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

GUIDE = Path(__file__).parents[2] / "docs/guides/use.md"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_guide_runs(hardfirst: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for language, block in re.findall(r"^```(python|console)\n(.*?)^```", GUIDE.read_text("utf-8"), re.M | re.S):
        if language == "python":
            exec(block, {})
            continue
        for command in re.findall(r"^\$ hardfirst (.*)$", block, re.M):
            if "onnx" not in command or find_spec("onnxruntime"):
                hardfirst(*shlex.split(command))
    predictions = pd.read_csv(tmp_path / "predictions.csv")
    assert list(predictions) == ["price", "sold", "sold: no", "sold: yes"]
    assert len(predictions) == 3
    assert sorted(path.name for path in (tmp_path / "runs/homes-study/models").iterdir()) == ["dtp.pt", "equal.pt"]
