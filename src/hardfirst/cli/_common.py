"""The terminal that commands print to, and the options they share."""

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hardfirst.cli._completion import one
from hardfirst.cli._completion import problems as problem_names
from hardfirst.errors import InputError

console = Console()

ProblemName = Annotated[
    str,
    typer.Argument(
        help="A built-in problem (see `hardfirst list problems`), a Python file, or a CSV table.",
        autocompletion=one(problem_names),
    ),
]
Targets = Annotated[
    str | None, typer.Option(help="Of a CSV table: the columns to predict, e.g. price:regression,sold:classification.")
]
Epochs = Annotated[int | None, typer.Option(help="Passes over the training split; the problem's own unless given.")]
LearningRate = Annotated[float | None, typer.Option(help="Adam's learning rate; the problem's own unless given.")]
Seeds = Annotated[
    int | None, typer.Option(help="Runs of each method, 5 unless given; they share seeds: differences are paired.")
]
LearningRates = Annotated[
    str | None,
    typer.Option(
        help="The range that is tuned over, e.g. 1e-4,1e-2; from a tenth to ten times the problem's own unless given."
    ),
]
Workers = Annotated[int | None, typer.Option(help="Processes at a time; one per core unless given.")]
Order = Annotated[
    str | None,
    typer.Option(
        help="Of the task hierarchy: the tasks from its first block to its last, joined by commas; or hard_first or "
        "easy_first, by the validation KPIs of a run made for that."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be run and how long it would take.")]
Accelerator = Annotated[str, typer.Option(help="As in Lightning Fabric: auto, cpu, cuda or mps.")]


class Format(StrEnum):
    """The forms in which a comparison can be printed."""

    md = "md"
    csv = "csv"
    json = "json"


FormatOption = Annotated[
    Format | None, typer.Option("--format", help="Print the comparison in this form; all else goes to standard error.")
]


def say(text: str) -> None:
    """Print a sentence without markup, and without line breaks inside a path or a command."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def typed() -> str:
    """The command as the user typed it."""
    return shlex.join(["hardfirst", *sys.argv[1:]])


def write_report(folder: Path, form: Format | None) -> None:
    """Write a folder's page, and print its tables and sentences."""
    from hardfirst.cli._tables import comparison_table
    from hardfirst.report import Comparison, exports, summary

    comparison = Comparison.read(folder)
    page = comparison.save(folder / "report.html")
    if form is not None:
        typer.echo(getattr(exports, form.value)(comparison), nl=False)
    for case in comparison.cases:
        console.print(comparison_table(summary(case), case.name))
    for sentence in comparison.verdict:
        say(sentence)
    if comparison.missing:
        say(f"{comparison.missing} of the trials planned so far have not ended; the page is of the others.")
    for sentence in comparison.damaged:
        say(f"Left out: {sentence}")
    say(f"The page: {page}")


def with_targets(problems: list[str], targets: str | None) -> list[str]:
    """Tables under the names that say what is to be predicted."""
    if targets is None:
        return problems
    from hardfirst.problems import table_name

    if not any(problem.endswith(".csv") for problem in problems):
        raise InputError("--targets says which columns of a CSV table to predict; there is no table.")
    return [table_name(problem, targets) if problem.endswith(".csv") else problem for problem in problems]


def with_order(networks: str, order: str) -> str:
    """The networks with this order of tasks for every task hierarchy."""
    from hardfirst.networks import MEASURED, NetworkSpec

    texts = NetworkSpec.split(networks) if networks else []
    if not any(text.partition(":")[0] == "task_hierarchy" for text in texts):
        raise InputError("--order is for the task hierarchy: add task_hierarchy to the networks.")
    tasks = order if order in MEASURED else tuple(task.strip() for task in order.split(","))
    return ",".join(
        str(NetworkSpec.parse(text).replace({"order": tasks})) if text.partition(":")[0] == "task_hierarchy" else text
        for text in texts
    )
