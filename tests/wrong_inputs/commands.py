"""What can be wrong with a command: its options, plans in YAML, the folder of a study, checkpoints."""

import json
import pickle
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch

from hardfirst import cli
from hardfirst.cli import _common
from hardfirst.records import Writer
from made_records import run as record

TINY = """
import torch
import torch.nn.functional as F
from torch import nn
from hardfirst.kpi import accuracy
from hardfirst.networks import HardSharing
from hardfirst.problems import Problem, Splits, Task, TensorTable

def data():
    inputs = torch.linspace(-1, 1, 64).reshape(16, 4)
    table = TensorTable(inputs, {"a": (inputs[:, 0] > 0).long(), "b": (inputs[:, 1] > 0).long()})
    return Splits(table, table, table)

def network():
    return HardSharing(nn.Linear(4, 8), {"a": nn.Linear(8, 2), "b": nn.Linear(8, 2)})

def problem():
    tasks = (Task("a", F.cross_entropy, accuracy), Task("b", F.cross_entropy, accuracy))
    return Problem("tiny", tasks, network, data, batch_size=16, epochs=2)
"""
TRAIN = ("train", "tiny.py", "--balancer", "equal", "--out", "run")


def run(*arguments: str) -> None:
    """Run a command in this process; it raises `SystemExit`, as ever."""
    with patch.object(sys, "argv", ["hardfirst", *arguments]), patch.multiple(_common.console, stderr=False, quiet=False):
        cli.main()


def tiny(*arguments: str) -> None:
    Path("tiny.py").write_text(TINY)
    run(*(arguments or TRAIN))


def losses(*arguments: str) -> None:
    """A study of the losses of task a."""
    options = "losses={'plain': LossOption(F.cross_entropy), 'focal': LossOption(F.cross_entropy)}"
    text = TINY.replace("import Problem", "import LossOption, Problem").replace("accuracy),", f"accuracy, {options}),")
    Path("tiny.py").write_text(text)
    run("study", "losses", "tiny.py", *arguments)


def search_of_one_task() -> None:
    text = TINY.replace(', Task("b", F.cross_entropy, accuracy))', ",)").replace(', "b": nn.Linear(8, 2)', "")
    Path("tiny.py").write_text(text)
    run("search", "tiny.py", "--maximise", "worst")


def plan(text: str | bytes) -> None:
    Path("study.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    run("compare", "study.yaml")


def references(setting: str) -> None:
    """A plan of a few hundred bytes, whose setting stands for a list of 9⁹ words."""
    lists = "".join(f"- &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    other = "problems: [digits]\n"
    others = {"problems": "", "address": f"{other}engine: ray\n"}
    plan(f"{others.get(setting, other)}{setting}:\n- &a [x, x, x, x, x, x, x, x, x]\n{lists}")


def write(name: str, balancer: str = "equal", seed: int = 0, **others: object) -> Path:
    """A record of a run that has ended, in the folder `study`."""
    made = record(balancer, seed, (0.9, 0.7, 0.5 + seed / 10))
    path = Path(f"study/trials/{name}.jsonl")
    writer = Writer(path)
    writer.trial({**made.trial, **others}, made.tasks)
    for line in made.epochs:
        writer.epoch(line["epoch"], seconds=1.0, learning_rate=0.01, tasks=line["tasks"])
    writer.test(3, made.test["tasks"])
    writer.end("finished", seconds=3.0)
    return path


def damaged(change: Callable[[list[str]], list[str]]) -> None:
    """The report on a folder whose only record is damaged."""
    path = write("first")
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))
    run("report", "study")


def schema(lines: list[str]) -> list[str]:
    return [json.dumps({**json.loads(lines[0]), "schema": 99}) + "\n", *lines[1:]]


def described(text: str) -> None:
    write("first")
    Path("study/study.json").write_text(text)
    run("report", "study")


def report_on_a_file() -> None:
    Path("study").write_text("")
    run("report", "study")


def empty_folder() -> None:
    Path("study").mkdir()
    run("report", "study")


def two_records_of_one_run() -> None:
    write("first")
    write("second", learning_rate=0.1)
    run("report", "study")


def below_a_file(*arguments: str) -> None:
    Path("file").write_text("")
    tiny(*arguments)


class Stopped(BaseException):
    """What no command waits for."""


class Malicious:
    def __reduce__(self) -> tuple:
        return Path.touch, (Path("executed"),)


def resume(change: Callable[[dict, Path], object], *, begun: tuple[str, ...] = TRAIN) -> None:
    """Go on from a checkpoint to which something has happened."""
    Path("tiny.py").write_text(TINY)
    try:
        with patch.object(Writer, "end", side_effect=Stopped):  # before it has ended
            run(*begun)
    except Stopped:
        checkpoint = Path("run/checkpoint.pt")
        change(torch.load(checkpoint, weights_only=True), checkpoint)
    run(*TRAIN, "--resume")


def never_executed(_: dict, path: Path) -> None:
    path.write_bytes(pickle.dumps(Malicious()))


def other_problem(_: dict, path: Path) -> None:
    Path("tiny.py").write_text(TINY + "\n# changed\n")


def directory(_: dict, path: Path) -> None:
    path.unlink()
    path.mkdir()


def narrower(state: dict, path: Path) -> None:
    state["network"]["trunk.weight"] = torch.zeros(2, 4)
    torch.save(state, path)


def model(change: Callable[[Path], object], *arguments: str) -> None:
    """Use a trained network to whose file something has happened."""
    with suppress(SystemExit):  # of a command that has done its work
        tiny(*TRAIN, "--epochs", "1")
    change(Path("run/model.pt"))
    Path("new.csv").write_text("a\n1\n")
    run(*(arguments or ("predict", "run", "new.csv")))


CASES = {
    "option: an unknown command": lambda: run("comprae"),
    "option: an unknown option": lambda: run("compare", "digits", "--seed", "3"),
    "option: an unknown problem": lambda: run("compare", "digit"),
    "option: an unknown balancer": lambda: run("train", "digits", "--balancer", "dpt"),
    "option: an unknown balancer in a list": lambda: run("compare", "digits", "--balancers", "equal,dpt"),
    "option: a misspelt option of a balancer": lambda: run("compare", "digits", "--balancers", "dtp:gama=2"),
    "option: no balancer": lambda: run("compare", "digits", "--balancers", ""),
    "option: a balancer twice": lambda: run("compare", "digits", "--balancers", "dtp,dtp"),
    "option: an unknown network": lambda: run("train", "digits", "--network", "wid"),
    "option: an order without a hierarchy": lambda: run("train", "digits", "--order", "hard_first"),
    "option: an order of other tasks": lambda: run(
        "train", "digits", "--network", "task_hierarchy", "--order", "left,middle", "--out", "run"
    ),
    "option: no seeds": lambda: run("compare", "digits", "--seeds", "0"),
    "option: half a seed": lambda: run("compare", "digits", "--seeds", "1.5"),
    "option: a negative seed": lambda: run("train", "digits", "--seed", "-1"),
    "option: no epochs": lambda: run("train", "digits", "--epochs", "0"),
    "option: a learning rate of 0": lambda: run("train", "digits", "--learning-rate", "0"),
    "option: an infinite learning rate": lambda: run("train", "digits", "--learning-rate", "inf"),
    "option: one learning rate of two": lambda: run("compare", "digits", "--learning-rates", "0.1"),
    "option: learning rates that fall": lambda: run("compare", "digits", "--learning-rates", "1e-2,1e-4"),
    "option: learning rates in words": lambda: run("compare", "digits", "--learning-rates", "low,high"),
    "balancer: annealing from tuning without tuning": lambda: run("compare", "digits", "--balancers", "dtp:anneal=tune"),
    "balancer: annealing from tuning in a single run": lambda: run("train", "digits", "--balancer", "dtp:anneal=tune"),
    "balancer: annealing that does not move": lambda: run("train", "digits", "--balancer", "dtp:anneal=0.6+0.6"),
    "balancer: annealing beyond training": lambda: run("train", "digits", "--balancer", "dtp:anneal=0.6+1.2"),
    "balancer: annealing in percent": lambda: run("train", "digits", "--balancer", "dtp:anneal=60+80"),
    "balancer: annealing of hard_first that is 0": lambda: run("train", "digits", "--balancer", "hard_first:anneal=0"),
    "balancer: average weights outside a search": lambda: run("train", "digits", "--balancer", "fixed:weights=dtp"),
    "option: one tuning trial": lambda: run("compare", "digits", "--tune", "1"),
    "option: no workers": lambda: run("compare", "digits", "--workers", "0"),
    "option: workers per GPU of another engine": lambda: run(
        "compare", "digits", "--engine", "ray", "--workers-per-gpu", "2"
    ),
    "option: no workers per GPU": lambda: run("compare", "digits", "--workers-per-gpu", "0"),
    "option: workers per GPU on the CPU": lambda: run(
        "compare", "digits", "--accelerator", "cpu", "--workers-per-gpu", "2", "--dry-run"
    ),
    "option: an unknown criterion": lambda: run("compare", "digits", "--criterion", "best"),
    "option: an unknown criterion of a run": lambda: run("train", "digits", "--criterion", "0.5*sum+0.5*left_edg"),
    "option: a criterion that one problem has not": lambda: run("compare", "digits", "census", "--criterion", "sum"),
    "option: an unknown engine": lambda: run("compare", "digits", "--engine", "rai"),
    "option: an unknown format": lambda: run("report", "runs", "--format", "xls"),
    "option: an unknown accelerator": lambda: run("train", "digits", "--accelerator", "gpus"),
    "option: an unknown accelerator of a study": lambda: run("compare", "digits", "--accelerator", "gpus"),
    "option: a folder for a problem that needs none": lambda: run("train", "digits", "--data", "."),
    "option: one folder for two problems": lambda: run("compare", "nyuv2", "cityscapes", "--data", "."),
    "option: a folder twice": lambda: run("train", "nyuv2?data=there", "--data", "."),
    "option: a folder for an unknown problem": lambda: run("train", "nyuv3", "--data", "."),
    "option: no folder": lambda: run("train", "nyuv2"),
    "option: a folder that is missing": lambda: run("train", "nyuv2?data=there"),
    "option: a folder without its word": lambda: run("train", "nyuv2?there"),
    "option: an unknown protocol": lambda: run("compare", "digits", "--protocol", "publish"),
    "option: a protocol that the problem has not": lambda: run("train", "digits", "--protocol", "published"),
    "option: a reference that is not published": lambda: run("compare", "digits", "--reference", "published"),
    "option: an unknown reference": lambda: run("compare", "digits", "--reference", "paper"),
    "option: no devices": lambda: run("train", "digits", "--devices", "0"),
    "option: an unknown strategy": lambda: run("train", "digits", "--strategy", "fsdp"),
    "option: losses of a problem that has none": lambda: run("study", "losses", "digits"),
    "option: an unknown loss": lambda: losses("--losses", "focl"),
    "option: a problem of a plug-in": lambda: run("compare", "scenes"),
    "option: a variant of a problem of a plug-in": lambda: run("study", "losses", "scenes:smal"),
    "option: an unknown card": lambda: run("list", "balancers", "dpt"),
    "option: a card of an unknown problem": lambda: run("list", "problems", "digit"),
    "option: data of an unknown problem": lambda: run("data", "digit"),
    "option: data of a plug-in": lambda: run("data", "scenes:small"),
    "option: a page of no problem": lambda: run("data", "--page", "samples.html"),
    "option: a port that there is not": lambda: run("watch", ".", "--port", "99999"),
    "option: a new problem that is no Python file": lambda: run("new", "mine.txt"),
    "option: a new problem where one is": lambda: below_a_file("new", "tiny.py"),
    "option: two plans": lambda: run("compare", "digits", "study.yaml"),
    "train: a range in the recipe": lambda: tiny(*TRAIN, "--optimizer", "adamw:weight_decay=1e-5..1e-1"),
    "train: a range as a part of the recipe": lambda: tiny(*TRAIN, "--clip", "0.1..10"),
    "train: a part of the recipe that is no number": lambda: tiny(*TRAIN, "--average", "off"),
    "compare: a range without tuning": lambda: run("compare", "digits", "--clip", "0.1..10"),
    "compare: a range that ends before it begins": lambda: run("compare", "digits", "--tune", "3", "--clip", "10..0.1"),
    "compare: a range beyond what is allowed": lambda: run("compare", "digits", "--tune", "3", "--average", "0.9..1"),
    "search: nothing to maximise": lambda: run("search", "digits"),
    "search: an unknown problem": lambda: run("search", "digitz", "--maximise", "worst"),
    "search: an empty objective": lambda: run("search", "digits", "--maximise", ""),
    "search: an unknown objective": lambda: run("search", "digits", "--maximise", "wrost"),
    "search: an objective of another task": lambda: run("search", "digits", "--maximise", "0.7*lefft+0.3*mean"),
    "search: what is kept has no points": lambda: run("search", "digits", "--maximise", "worst", "--keep", "mean"),
    "search: an unknown task is kept": lambda: run("search", "digits", "--maximise", "worst", "--keep", "lefft:1"),
    "search: a measure is kept twice": lambda: run(
        "search", "digits", "--maximise", "worst", "--keep", "mean:1", "--keep", "mean:2"
    ),
    "search: an unknown candidate": lambda: run("search", "digits", "--maximise", "worst", "--candidates", "dtp,dpt"),
    "search: equal weights alone": lambda: run("search", "digits", "--maximise", "worst", "--candidates", "equal"),
    "search: a potential from single-task runs": lambda: run(
        "search", "digits", "--maximise", "worst", "--candidates", "dtp:potential=stl"
    ),
    "search: annealing that is left to tuning": lambda: run(
        "search", "digits", "--maximise", "worst", "--candidates", "dtp:anneal=tune"
    ),
    "search: a learning rate and a range": lambda: run(
        "search", "digits", "--maximise", "worst", "--learning-rate", "0.1", "--learning-rates", "0.1,1"
    ),
    "search: a plan of another kind": lambda: (
        Path("study.yaml").write_text("problems: [digits]\n"),
        run("search", "study.yaml"),
    ),
    "search: a problem with one task": search_of_one_task,
    "plan: a search and losses": lambda: plan("problems: [digits]\nsearch: worst\norders: true\n"),
    "plan: a search of two problems": lambda: plan("problems: [digits, census]\nsearch: worst\n"),
    "plan: a search on two networks": lambda: plan("problems: [digits]\nsearch: worst\nnetworks: [own, wide]\n"),
    "plan: settings that a search does not take": lambda: plan(
        "problems: [digits]\nsearch: worst\nbalancers: dtp\ntune: 5\ncriterion: worst\nbaselines: false\ncontrols: false\n"
    ),
    "plan: settings of a search alone": lambda: plan("problems: [digits]\nkeep: [mean:1]\ncandidates: dtp\n"),
    "plan: a search by the published protocol": lambda: plan("problems: [digits]\nsearch: worst\nprotocol: published\n"),
    "plan: missing": lambda: run("compare", "study.yaml"),
    "plan: empty": lambda: plan(""),
    "plan: a list": lambda: plan("- digits\n"),
    "plan: an unknown key": lambda: plan("problems: [digits]\nsede: 3\n"),
    "plan: a search without an objective": lambda: plan("problems: [digits]\nsearch:\n"),
    "plan: a wrong type": lambda: plan("problems: [digits]\nseeds: many\nepochs: [1, 2]\ntune: yes\n"),
    "plan: several errors": lambda: plan("problems: [digit]\nbalancers: dpt\nseeds: -1\n"),
    "plan: no problem": lambda: plan("seeds: 3\n"),
    "plan: not YAML": lambda: plan("problems: [digits\n"),
    "plan: a tag of Python": lambda: plan("!!python/object/apply:os.getcwd []\n"),
    "plan: a date that there is not": lambda: plan("problems: 2026-13-45\n"),
    "plan: binary": lambda: plan(b"\x80\x04\x95\x00\xff"),
    "plan: a setting that Python has a use for": lambda: plan("problems: [digits]\nself: 1\n"),
    **{
        f"plan: references that grow, as {setting}": partial(references, setting)
        for setting in (
            "problems",
            "networks",
            "balancers",
            "seeds",
            "epochs",
            "learning_rates",
            "engine",
            "kind",
            "address",
        )
    },
    "folder: missing": lambda: run("report", "study"),
    "folder: empty": empty_folder,
    "folder: a file": report_on_a_file,
    "folder: a file, to be watched": lambda: (Path("study").touch(), run("watch", "study")),
    "folder: a name that is too long": lambda: run("report", "x" * 5000),
    "folder: a broken description": lambda: described('{"title": "x", "cases": ['),
    "folder: two records of one run": two_records_of_one_run,
    "folder: a run's folder below a file": lambda: below_a_file("train", "tiny.py", "--out", "file/run"),
    "folder: a study's folder below a file": lambda: below_a_file("compare", "tiny.py", "--out", "file/run"),
    "folder: a new problem below a file": lambda: below_a_file("new", "file/mine.py"),
    "record: of no problem": lambda: damaged(lambda lines: [lines[0].replace('"problem": "toy", ', ""), *lines[1:]]),
    "record: empty": lambda: damaged(lambda lines: []),
    "record: cut short in its first line": lambda: damaged(lambda lines: [lines[0][:40]]),
    "record: its first lines are missing": lambda: damaged(lambda lines: lines[2:]),
    "record: broken in the middle": lambda: damaged(lambda lines: [lines[0], lines[1][:30] + "\n", *lines[2:]]),
    "record: a word for a number": lambda: damaged(lambda lines: [*lines[:-1], lines[-1].replace("3.0", '"long"')]),
    "record: other tasks": lambda: damaged(lambda lines: [lines[0].replace("middle", "mittel"), *lines[1:]]),
    "record: another kind of line": lambda: damaged(lambda lines: [*lines, '{"kind": "note", "text": "mine"}\n']),
    "record: of a newer schema": lambda: damaged(schema),
    "model: no run": lambda: run("predict", "run", "new.csv"),
    "model: a run that has none": lambda: model(Path.unlink),
    "model: truncated": lambda: model(lambda path: path.write_bytes(path.read_bytes()[:300])),
    "model: code that would run": lambda: model(partial(never_executed, {})),
    "model: a checkpoint": lambda: model(lambda path: Path("run/checkpoint.pt").replace(path)),
    "model: of another problem": lambda: model(partial(other_problem, {})),
    "model: no inputs in a file": lambda: model(lambda path: None),
    "model: an unknown format": lambda: model(lambda path: None, "export", "run", "--format", "onx"),
    "model: predictions in place of the rows": lambda: model(
        lambda path: None, "predict", "run", "new.csv", "--out", "./new.csv"
    ),
    "tracker: unknown": lambda: tiny(*TRAIN, "--log", "tensorbord"),
    "checkpoint: missing": lambda: tiny(*TRAIN, "--resume"),
    "checkpoint: truncated": lambda: resume(lambda _, path: path.write_bytes(path.read_bytes()[:300])),
    "checkpoint: empty": lambda: resume(lambda _, path: path.write_bytes(b"")),
    "checkpoint: a folder": lambda: resume(directory),
    "checkpoint: a text": lambda: resume(lambda _, path: path.write_text("weights")),
    "checkpoint: code that would run": lambda: resume(never_executed),
    "checkpoint: weights alone": lambda: resume(lambda state, path: torch.save(state["network"], path)),
    "checkpoint: a list": lambda: resume(lambda state, path: torch.save([1, 2], path)),
    "checkpoint: of an earlier layout": lambda: resume(
        lambda state, path: torch.save({"settings": state["settings"]}, path)
    ),
    "checkpoint: of another network": lambda: resume(narrower),
    "checkpoint: of another problem": lambda: resume(other_problem),
    "checkpoint: of another balancer": lambda: resume(
        lambda state, path: None, begun=("train", "tiny.py", "--balancer", "dtp", "--out", "run")
    ),
    "checkpoint: of two devices": lambda: resume(lambda state, path: torch.save(state | {"devices": 2}, path)),
}
