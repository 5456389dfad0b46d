"""What commands share: the terminal and options."""

import shlex
import sys
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from hardfirst._text import printable
from hardfirst.cli._completion import one, optimizers, schedules
from hardfirst.cli._completion import problems as problem_names
from hardfirst.errors import InputError

console = Console()

ProblemName = Annotated[
    str,
    typer.Argument(
        help="A built-in problem (see `hardfirst list problems`), a Python file, or a table.",
        autocompletion=one(problem_names),
    ),
]
Targets = Annotated[
    str | None,
    typer.Option(
        help="The columns of a table to predict, with kind and KPI: price:regression:log,sold:classification:kpi=auc."
    ),
]
Drop = Annotated[str | None, typer.Option(help="Columns of a table that are no inputs, joined by commas.")]
Group = Annotated[str | None, typer.Option(help="The column of a table whose rows of one value stay in one split.")]
Time = Annotated[
    str | None, typer.Option(help="The column of a table by which the earliest rows train and the latest test.")
]
SplitColumn = Annotated[
    str | None, typer.Option("--split", help="The column of a table that says train, validation or test.")
]
Validation = Annotated[str | None, typer.Option(help="A file with the validation rows of a table.")]
Test = Annotated[str | None, typer.Option(help="A file with the test rows of a table.")]
TABLE = {
    "targets": Targets,
    "drop": Drop,
    "group": Group,
    "time": Time,
    "split": SplitColumn,
    "validation": Validation,
    "test": Test,
}
"""The flags that say what of a table is predicted from what, and by which rows."""
Data = Annotated[Path | None, typer.Option("--data", help="The folder of a problem that reads one, such as nyuv2.")]
Protocol = Annotated[
    str | None,
    typer.Option(
        help="held_out; or published, as a benchmark's published figures were measured: all of train, no choice of an "
        "epoch, means over the last epochs. Default: held_out."
    ),
]
Reference = Annotated[
    str | None,
    typer.Option(
        help="What the field's Δm over metrics is relative to: the study's own single-task networks, or the published ones. "
        "Default: own."
    ),
]
Epochs = Annotated[int | None, typer.Option(help="Passes over the training split. Default: the problem's.")]
LearningRate = Annotated[
    float | None, typer.Option(help="The optimizer's learning rate, the highest of a schedule. Default: the problem's.")
]
Optimizer = Annotated[
    str | None,
    typer.Option(
        help="The optimizer with options: adam, adamw:weight_decay=1e-4, sgd:momentum=0.9,nesterov=true. Default: the "
        "problem's, or adam.",
        autocompletion=one(optimizers),
    ),
]
Schedule = Annotated[
    str | None,
    typer.Option(
        help="The learning-rate schedule: constant, cosine:warmup=0.05, onecycle, step:every=10,factor=0.5, "
        "plateau:patience=5. Default: the problem's, or constant.",
        autocompletion=one(schedules),
    ),
]
Precision = Annotated[str | None, typer.Option(help="32-true, bf16-mixed or, on a GPU, 16-mixed. Default: 32-true.")]
Clip = Annotated[
    str | None, typer.Option(help="The greatest norm of the gradient, or none. Default: the problem's, or none.")
]
Accumulate = Annotated[int | None, typer.Option(help="Batches in an optimizer step. Default: 1.")]
Average = Annotated[
    str | None,
    typer.Option(
        help="The decay of a moving average of the weights, such as 0.999, which is evaluated in their place, or none."
    ),
]
Loaders = Annotated[int | None, typer.Option(help="Processes that load batches for a run. Default: 0, the run's own.")]
DropLast = Annotated[
    bool | None,
    typer.Option("--drop-last/--keep-last", help="Leave out the last batch of an epoch if it is smaller. Default: keep it."),
]
RECIPE = {
    "optimizer": Optimizer,
    "schedule": Schedule,
    "precision": Precision,
    "clip": Clip,
    "accumulate": Accumulate,
    "average": Average,
    "loaders": Loaders,
    "drop_last": DropLast,
}
"""The flags that change a problem's recipe, by its parts."""
Seeds = Annotated[
    int | None,
    typer.Option(help="Runs of each method; methods share seeds, so that differences are paired. Default: 7."),
]
Tune = Annotated[
    int | None,
    typer.Option(
        help="Trials for each method to choose its learning rate, options, and recipe where that has ranges, such as "
        "--clip 0.1..10, on the validation split. Default: 0."
    ),
]
LearningRates = Annotated[
    str | None,
    typer.Option(help="The range that tuning tries, such as 1e-4,1e-2. Default: a tenth to ten times the problem's rate."),
]
Workers = Annotated[
    int | None, typer.Option(help="Trials at a time. Default: one per core or GPU, or as many as a cluster takes.")
]
WorkersPerGpu = Annotated[
    int | None,
    typer.Option(help="Trials that share a GPU of this machine, as --engine local:workers_per_gpu=K. Default: 1."),
]
Vectorize = Annotated[
    bool | None,
    typer.Option(help="Train small runs together, as one stacked network, where they allow it. Default: do."),
]
Engine = Annotated[
    str | None,
    typer.Option(
        help="The engine that runs the trials, with options: local, for processes of this machine, or that of a cluster, "
        "such as ray:cpus=2,gpus=0.5,address=auto. Default: local."
    ),
]
Order = Annotated[
    str | None,
    typer.Option(
        help="The tasks of a task hierarchy from its first block to its last, joined by commas; or hard_first or "
        "easy_first, by validation KPIs that a separate run measures."
    ),
]
Out = Annotated[Path | None, typer.Option(help="The study's folder. Default: runs/PROBLEM and the kind of study.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be run and how long it would take.")]
Accelerator = Annotated[str, typer.Option(help="As in Lightning Fabric: auto, cpu, cuda or mps.")]
StudyAccelerator = Annotated[str | None, typer.Option(help="As in Lightning Fabric: auto, cpu, cuda or mps. Default: auto.")]


class Format(StrEnum):
    """The forms in which a comparison can be printed."""

    md = "md"
    csv = "csv"
    json = "json"
    tex = "tex"


FormatOption = Annotated[
    Format | None,
    typer.Option("--format", help="Print the comparison in this form; the rest goes to standard error."),
]


def say(text: str) -> None:
    """Print a sentence without markup, control characters, and line breaks inside a path or a command."""
    console.print(printable(text), markup=False, highlight=False, soft_wrap=True)


def typed() -> str:
    """The command line that started this process."""
    return shlex.join(["hardfirst", *sys.argv[1:]])


def write_report(folder: Path, form: Format | None) -> None:
    """Write the page of a study's folder, and print its tables and sentences."""
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


def with_targets(problems: list[str], **flags: str | None) -> list[str]:
    """The problems, with tables under names that include what the flags of `TABLE` say.

    Raises:
        InputError: there is a flag and no table.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    if not given:
        return problems
    from hardfirst.problems.tables import check_format, is_table, table_name

    for problem in problems:
        check_format(problem)
    if not any(map(is_table, problems)):
        raise InputError(f"--{next(iter(given))} is for a table, such as homes.csv; there is none.")
    targets = given.pop("targets", "")
    names = []
    for problem in problems:
        query = table_name("", targets, **given)[1:]
        names.append(f"{problem}{'&' if '?' in problem else '?'}{query}" if is_table(problem) else problem)
    return names


def with_data(problems: list[str], folder: Path | None) -> list[str]:
    """The problems, with the folder in the name of the one that reads it.

    Raises:
        InputError: none of them needs a folder, or several do.
    """
    if folder is None:
        return problems
    from hardfirst.problems import FIELDS, folder_name, load_problem

    named = [problem for problem in problems if problem.partition("?")[0] in FIELDS]
    if not named:
        for problem in problems:
            if not problem.endswith((".yaml", ".yml")):
                load_problem(problem)  # an unknown name is the nearer error
        raise InputError(
            f"--data is the folder of a problem that reads one ({', '.join(FIELDS)}); {', '.join(problems)} needs none."
        )
    if len(named) > 1 or "?" in named[0]:
        written = " ".join(f"{problem.partition('?')[0]}?data=DIR" for problem in named)
        raise InputError(
            f"--data is the folder of one problem that does not name its own; got {', '.join(named)}. Write {written} "
            "instead."
        )
    return [folder_name(problem, folder) if problem in named else problem for problem in problems]


def say_tables(problems: Iterable[str]) -> None:
    """Print the card of each table among the problems."""
    from hardfirst.cli._cards import card_sentences, target_table
    from hardfirst.problems import data_card

    for problem in problems:
        if (card := data_card(problem)) is not None:
            for sentence in card_sentences(card):
                say(sentence)
            console.print(target_table(card))
            for sentence in card.notes:
                say(f"{problem.partition('?')[0]}: {sentence}")


def say_recipe(recipes: Mapping[str, Mapping[str, Any]]) -> None:
    """Print what is not the default in the recipe of each problem."""
    for problem, settings in recipes.items():
        if settings:
            say(f"The recipe of {problem}: {', '.join(f'{name} {value}' for name, value in settings.items())}.")


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
