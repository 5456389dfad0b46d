"""The numbered examples do what they say: each is judged by its outcome, not by having run."""

import ast
import importlib.util
import json
import math
import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from hardfirst import DTP
from hardfirst.balancers import Equal
from hardfirst.problems import PROBLEMS
from installed import needs

EXAMPLES = Path(__file__).parents[1] / "examples"
NUMBERED = sorted(EXAMPLES.glob("[0-9]*.py"))


def load(name: str) -> ModuleType:
    [path] = EXAMPLES.glob(f"{name}*.py")
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def weights_by_hand(averages: dict[str, float]) -> dict[str, float]:
    """DTP's weights for γ = 1 from averages of KPIs: those measured sum to their number, the others are 1."""
    kept = {task: min(max(average, 1e-3), 1 - 1e-3) for task, average in averages.items() if not math.isnan(average)}
    raw = {task: -(1 - kpi) * math.log(kpi) for task, kpi in kept.items()}
    return dict.fromkeys(averages, 1.0) | {task: len(raw) * value / sum(raw.values()) for task, value in raw.items()}


def moved(averages: dict[str, float], kpis: dict[str, float], alpha: float) -> dict[str, float]:
    """The averages after one observation; a KPI that is NaN or left out leaves its own as it was."""
    new = {task: kpi for task, kpi in kpis.items() if not math.isnan(kpi)}
    first = {task: kpi for task, kpi in new.items() if math.isnan(averages[task])}
    return averages | {task: alpha * kpi + (1 - alpha) * averages[task] for task, kpi in new.items()} | first


@pytest.mark.parametrize("path", NUMBERED, ids=lambda path: path.stem)
def test_an_example_is_short_and_begins_with_its_diff(path: Path) -> None:
    text = path.read_text()
    docstring = ast.get_docstring(ast.parse(text)) or ""
    assert [line for line in docstring.splitlines() if line.startswith("    + ")]
    assert len(text.splitlines()) <= 120
    assert path.name in (EXAMPLES / "README.md").read_text()


def test_01_equal_weights_are_the_sum_written_by_hand() -> None:
    example = load("01")
    by_hand = example.main(lambda losses, kpis: sum(losses.values()))
    assert example.main(Equal(example.TASKS))["losses"] == by_hand["losses"]


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.5])
def test_01_dtp_with_equal_kpis_is_the_sum(gamma: float) -> None:
    """Weights are normalised to the number of tasks, whatever γ is."""
    example = load("01")
    balancer = DTP(example.TASKS, gamma=gamma)
    found = example.main(lambda losses, kpis: balancer(losses, dict.fromkeys(kpis, 0.4)))
    by_hand = example.main(lambda losses, kpis: sum(losses.values()))
    last, expected = found["losses"][-1], by_hand["losses"][-1]
    assert last == pytest.approx(expected, rel=1e-3)


def test_01_dtp_prefers_the_hard_task() -> None:
    example = load("01")
    found, by_hand = example.main(), example.main(lambda losses, kpis: sum(losses.values()))
    assert sum(found["weights"].values()) == pytest.approx(2)
    assert found["weights"]["digit"] > 1.5

    def early(result: dict[str, Any]) -> float:
        return sum(step["digit"] for step in result["losses"][5:40]) / 35

    assert early(found) < 0.95 * early(by_hand)
    assert found["losses"][-1]["digit"] < 0.3


def test_02_an_absent_task_changes_no_other_weight() -> None:
    example = load("02")
    zero, left_out = example.main(), example.main(leave_out=True)
    averages = dict.fromkeys(example.CLASSES, math.nan)
    absent = dict.fromkeys(example.CLASSES, 0)
    for entry in zero["history"]:
        for task, kpi in entry["kpis"].items():
            absent[task] += math.isnan(kpi)
        averages = moved(averages, entry["kpis"], alpha=0.1)
        assert entry["weights"] == pytest.approx(weights_by_hand(averages), rel=1e-4)
    assert absent == {"digit": 160, "top": 0, "left": 160}
    for part in ("loss", "weights"):
        assert [entry[part] for entry in left_out["history"]] == [entry[part] for entry in zero["history"]]
    assert [len(entry["kpis"]) for entry in left_out["history"][:3]] == [3, 2, 2]


def test_02_the_network_learns_all_the_same() -> None:
    for found in (load("02").main(), load("02").main(leave_out=True)):
        assert all(math.isfinite(entry["loss"]) for entry in found["history"])
        assert found["accuracy"]["digit"] > 0.6
        assert found["accuracy"]["top"] > 0.7
        assert found["accuracy"]["left"] > 0.75


def test_03_micro_batches_are_the_whole_batch() -> None:
    example = load("03")
    parts, whole = (example.main(k)["history"] for k in (4, 1))
    assert parts[0]["loss"] == pytest.approx(whole[0]["loss"], rel=1e-3)
    start = whole[0]["network"]["trunk.0.weight"]
    for one, other in zip(parts[:8], whole[:8], strict=True):
        for name, tensor in other["network"].items():
            torch.testing.assert_close(one["network"][name], tensor, rtol=1e-2, atol=2e-3)
        assert float(one["digit"]) == pytest.approx(float(other["digit"]), rel=1e-2)
    assert (whole[7]["network"]["trunk.0.weight"] - start).abs().max() > 0.05
    assert parts[-1]["loss"] < 0.4 * parts[0]["loss"]


def test_03_an_overflow_is_skipped_and_spares_network_and_weights() -> None:
    example = load("03")
    history = example.main()["history"]
    assert [step for step, entry in enumerate(history) if entry["skipped"]] == [example.BROKEN]
    before, broken, after = history[example.BROKEN - 1 : example.BROKEN + 2]
    assert not math.isfinite(broken["loss"])
    assert {task: broken[task] for task in example.TASKS} == {task: before[task] for task in example.TASKS}
    torch.testing.assert_close(broken["network"], before["network"], rtol=0, atol=0)
    assert not torch.equal(after["network"]["trunk.0.weight"], before["network"]["trunk.0.weight"])


RANK = """
import importlib.util, os, sys, torch
import torch.distributed as dist
spec = importlib.util.spec_from_file_location("ranks", sys.argv[1])
example = importlib.util.module_from_spec(spec)
spec.loader.exec_module(example)
dist.init_process_group("gloo")  # once, since a second group may meet the first one's addresses
found = {strategy: example.train(strategy) for strategy in ("ddp", "fsdp")}
dist.destroy_process_group()
torch.save(found, f"{sys.argv[2]}/{os.environ['RANK']}.pt")
"""


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes of `torchrun` comes to, under both strategies."""
    folder = tmp_path_factory.mktemp("ranks")
    script = folder / "rank.py"
    script.write_text(RANK)
    [example] = EXAMPLES.glob("04*.py")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    process = subprocess.Popen(
        [*launch, script, example, folder], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        output, _ = process.communicate(timeout=120)
    finally:
        process.terminate()  # unlike `kill`, it ends the ranks as well
        process.communicate()
    assert process.returncode == 0, output
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_04_both_ranks_stay_one(ranks: list[dict[str, Any]], strategy: str) -> None:
    one, other = (found[strategy] for found in ranks)
    assert one["history"] != other["history"]  # the data are different
    assert one["weights"] == other["weights"]
    assert one["weights"]["digit"] > 1.5
    torch.testing.assert_close(one["parameters"], other["parameters"], rtol=0, atol=0)
    assert one["parameters"]["trunk.0.weight"].shape == (16, 64)
    assert one["history"][-2]["digit"][0] < 0.7


def test_04_the_weights_come_from_the_kpis_of_both_ranks(ranks: list[dict[str, Any]]) -> None:
    averages = {"digit": math.nan, "zero": math.nan}
    for steps in zip(*(found["ddp"]["history"] for found in ranks), strict=True):
        averages = moved(averages, {task: sum(step[task][1] for step in steps) / 2 for task in averages}, alpha=0.1)
    found = {task: float(weight) for task, weight in ranks[0]["ddp"]["weights"].items()}
    assert found == pytest.approx(weights_by_hand(averages), rel=1e-3)


def test_04_sharded_is_as_replicated(ranks: list[dict[str, Any]]) -> None:
    torch.testing.assert_close(ranks[0]["fsdp"]["parameters"], ranks[0]["ddp"]["parameters"], rtol=1e-4, atol=1e-4)


def test_05_one_graph_and_the_losses_of_eager_mode() -> None:
    from torch._dynamo.utils import counters

    example = load("05")
    torch._dynamo.reset()
    counters.clear()
    compiled = example.main()
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]
    eager = example.main(None)
    assert counters["stats"]["unique_graphs"] == 1  # eager is eager
    torch._dynamo.reset()
    assert compiled["losses"] == pytest.approx(eager["losses"], rel=1e-4)
    torch.testing.assert_close(compiled["network"], eager["network"], rtol=1e-4, atol=1e-4)
    assert compiled["weights"]["digit"] > 1.5
    assert eager["losses"][-1] < 0.3 * eager["losses"][0]


@pytest.mark.parametrize("stop", [1, 40])
def test_06_resumed_is_uninterrupted_to_the_last_bit(stop: int) -> None:
    example = load("06")
    assert stop % example.EPOCH  # in the middle of an epoch
    found = example.main(stop)
    for part in ("network", "balancer"):
        torch.testing.assert_close(found["resumed"][part], found["whole"][part], rtol=0, atol=0)
        assert found["whole"][part].keys() == found["resumed"][part].keys()
        for name, tensor in found["stopped"][part].items():
            same = name == "_extra_state"  # the names of the tasks; of the rest, there was something left to do
            assert torch.equal(tensor, found["whole"][part][name]) == same
    assert found["whole"]["balancer"]["kpi.average"].min() > 0.6


def test_07_weights_change_at_a_validation_and_nowhere_else() -> None:
    example = load("07")
    found = example.main()
    averages, steps = {"digit": math.nan, "zero": math.nan}, example.TRAIN // 64
    assert len(found["weights"]) == steps * example.EPOCHS
    for epoch in range(example.EPOCHS):
        expected = weights_by_hand(averages)
        for weights in found["weights"][epoch * steps : (epoch + 1) * steps]:
            assert weights == pytest.approx(expected, rel=1e-3)
        averages = moved(averages, found["kpis"][epoch], alpha=0.75)
    assert len({tuple(weights.values()) for weights in found["weights"]}) == example.EPOCHS
    assert found["kpis"][-1]["digit"] > 0.8 > found["kpis"][0]["digit"]


def test_08_kpis_are_those_computed_by_hand() -> None:
    found = load("08").main()
    for entry in found["history"]:
        output, target = entry["seen"]["digit"]
        assert entry["kpis"]["digit"] == pytest.approx(f1(output.argmax(1), target), abs=1e-5)
        output, target = entry["seen"]["ink"]
        by_hand = 1 - float((output - target).abs().mean()) / 0.5
        assert entry["kpis"]["ink"] == pytest.approx(min(max(by_hand, 0), 1), abs=1e-5)
    assert found["history"][-1]["kpis"]["digit"] > 0.6
    assert max(entry["kpis"]["ink"] for entry in found["history"]) > 0.5
    averages = dict.fromkeys(found["weights"], math.nan)
    for entry in found["history"]:
        averages = moved(averages, entry["kpis"], alpha=0.1)
    assert found["weights"] == pytest.approx(weights_by_hand(averages), rel=1e-3)


def f1(predicted: Tensor, target: Tensor) -> float:
    """The mean over the classes predicted or present of 2·TP / (2·TP + FP + FN)."""
    scores = []
    for kind in set(predicted.tolist()) | set(target.tolist()):
        right = int(((predicted == kind) & (target == kind)).sum())
        scores.append(2 * right / (int((predicted == kind).sum()) + int((target == kind).sum())))
    return sum(scores) / len(scores)


def test_09_both_tasks_learn_from_a_data_set_each() -> None:
    found = load("09").main()
    assert found["accuracy"]["digit"] > 0.75
    assert found["accuracy"]["turned"] > 0.7
    assert (found["order"].count("digit"), found["order"].count("turned")) == (80, 200)
    assert all(sum(weights.values()) == pytest.approx(2) for weights in found["weights"])
    assert max(weights["turned"] for weights in found["weights"]) > 1.2


def test_10_the_detector_finds_the_squares() -> None:
    example = load("10")
    found = example.main()
    logits, sides = found["detections"][:, 0], found["detections"][:, 1:]
    rows, columns = torch.meshgrid(example.CELLS, example.CELLS, indexing="ij")
    boxes = (sides * example.STRIDE + torch.stack([columns, rows] * 2)).movedim(1, -1)
    sure = logits.sigmoid() > example.SURE
    hits = right = 0
    for image in range(len(boxes)):
        overlap = iou(boxes[image][sure[image]], found["boxes"][image][found["present"][image]]) > 0.5
        hits += int(overlap.any(0).sum())
        right += int(overlap.any(1).sum())
    assert hits > 0.85 * int(found["present"].sum())  # recall
    assert right > 0.85 * int(sure.sum())  # precision
    assert found["count"] > 0.7


def iou(some: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of boxes [n, 4] and [m, 4], all pairs, [n, m]."""
    low = torch.maximum(some[:, None, :2], others[:, :2])
    high = torch.minimum(some[:, None, 2:], others[:, 2:])
    both = (high - low).clamp(min=0).prod(-1)
    one, other = ((boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(-1) for boxes in (some, others))
    return both / (one[:, None] + other - both)


def test_10_losses_fall_and_begin_small() -> None:
    """With the bias at 1% the empty cells cost little in the first step; at 50% they would cost some 5 more."""
    losses = load("10").main()["losses"]
    assert 2.3 < losses[0]["detect"] < 4  # the sum over cells by positives: of that, an object at 1% costs 1.1
    assert losses[-1]["detect"] < 0.1 * losses[0]["detect"]
    assert losses[-1]["count"] < 0.6 * losses[0]["count"]


def test_11_lightning_keeps_the_epoch_whose_worst_task_is_best(tmp_path: Path) -> None:
    before = dict(os.environ)
    try:
        found = load("11").main(tmp_path)
    finally:
        os.environ.clear()
        os.environ.update(before)
    lines = [json.loads(line) for line in found["record"].splitlines()]
    validated = [min(task["validation_kpi"] for task in line["tasks"].values()) for line in lines if line["kind"] == "epoch"]
    assert len(validated) == 3
    assert float(found["best"]) == pytest.approx(max(validated))
    [test] = [line for line in lines if line["kind"] == "test"]
    assert test["tasks"]["sum"]["kpi"] == pytest.approx(found["tested"]["test_kpi/sum"])
    assert sum(found["logged"][f"weight/{task}"] for task in ("left", "right", "sum")) == pytest.approx(3, rel=1e-3)
    assert max(found["logged"], key=lambda name: found["logged"][name] if name.startswith("weight/") else 0) == "weight/sum"


@needs("brown")
def test_12_transformers_learns_both_tasks_and_saves_the_state(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = load("12").main(tmp_path)
    first, last = found["logs"][0], found["logs"][-1]
    assert last["kpi_part_of_speech"] > first["kpi_part_of_speech"] + 0.2
    assert last["weight_genre"] > last["weight_part_of_speech"], "the genre is the harder one"
    averages = dict(zip(("part_of_speech", "genre"), found["saved"]["kpi.average"].tolist(), strict=True))
    assert found["weights"] == pytest.approx(weights_by_hand(averages), rel=1e-4)


def test_13_accelerate_observes_once_a_step(tmp_path: Path) -> None:
    found = load("13").main(tmp_path)
    averages = dict.fromkeys(("digit", "zero"), math.nan)
    steps = [kpis for number, kpis in enumerate(found["kpis"]) if last_of_step(number)]
    for kpis in steps:
        averages = moved(averages, kpis, alpha=0.1)
    assert found["weights"] == pytest.approx(weights_by_hand(averages), rel=1e-3)
    assert averages["digit"] > 0.8
    saved = torch.load(tmp_path / "custom_checkpoint_0.pkl", weights_only=True)
    assert torch.equal(saved["kpi.average"], found["balancer"]["kpi.average"])


def last_of_step(number: int) -> bool:
    """Two micro-batches to a step; the last of an epoch's 113 stands alone."""
    return number % 113 % 2 == 1 or number % 113 == 112


def test_14_augmentation_teaches_what_the_pictures_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of the test split lie elsewhere; the processes that load change nothing."""
    module = load("14")
    monkeypatch.setitem(PROBLEMS.loaded, "shapes", module.problem)
    augmented = module.main("shapes", loaders=0)
    assert augmented == module.main("shapes")
    monkeypatch.setattr(module, "Augmented", lambda table, function: table)
    plain = module.main("shapes", loaders=0)
    assert augmented["kind"] > 0.6
    assert plain["kind"] < 0.5


def test_15_recorded_runs_are_a_comparison(tmp_path: Path) -> None:
    comparison = load("15").main(tmp_path)
    assert {tuple(row) for row in comparison.runs[["method", "seed"]].to_numpy()} == {
        (method, seed) for method in ("equal", "dtp") for seed in range(3)
    }
    tested = comparison.runs.groupby("task")["kpi"].mean()
    assert tested["easy"] > tested["hard"] > 0.5
    assert "synthetic" in (tmp_path / "report.html").read_text("utf-8")
