"""What commands share: the terminal and options."""

import os
import shlex
import sys
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from hardfirst._text import printable
from hardfirst.cli._completion import objectives, one, optimizers, schedules
from hardfirst.cli._completion import problems as problem_names
from hardfirst.cli._listing import wrapped
from hardfirst.errors import InputError


class _Console(Console):
    """A console whose output may be closed, as by `| head`: printing then ends, and nothing else."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())  # for what is still to be flushed


console = _Console()

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
        help="The columns of a table to predict, joined by commas, with kind and KPI: price:regression:log or "
        "sold:classification:kpi=auc."
    ),
]
Drop = Annotated[str | None, typer.Option(help="Columns of a table to leave out of the inputs, joined by commas.")]
Group = Annotated[str | None, typer.Option(help="The column of a table whose equal values stay in one split.")]
Time = Annotated[
    str | None, typer.Option(help="The column of a table to split by time: the earliest rows train, the latest test.")
]
SplitColumn = Annotated[
    str | None, typer.Option("--split", help="The column of a table that holds train, validation or test.")
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
Data = Annotated[Path | None, typer.Option("--data", help="The data folder of a problem such as nyuv2.")]
Protocol = Annotated[
    str | None,
    typer.Option(
        help="How networks are trained and measured: held_out, or published, as for a benchmark's published figures. "
        "Default: held_out."
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
Criterion = Annotated[
    str | None,
    typer.Option(
        help="What epochs and settings are chosen by on the validation split: mean, worst, hard (the tasks below the mean "
        "with equal weights), tasks such as a,b (their mean), or a weighted sum such as 0.7*a+0.3*b. Default: mean.",
        autocompletion=one(objectives),
    ),
]
LearningRate = Annotated[
    float | None, typer.Option(help="The learning rate; with a schedule, the highest one. Default: the problem's.")
]
Optimizer = Annotated[
    str | None,
    typer.Option(
        help="The optimizer with options, such as adamw:weight_decay=1e-4 or sgd:momentum=0.9 (see `hardfirst list "
        "optimizers`). Default: the problem's, or adam.",
        autocompletion=one(optimizers),
    ),
]
Schedule = Annotated[
    str | None,
    typer.Option(
        help="The learning-rate schedule with options, such as cosine:warmup=0.05 (see `hardfirst list schedules`). "
        "Default: the problem's, or constant.",
        autocompletion=one(schedules),
    ),
]
Precision = Annotated[str | None, typer.Option(help="32-true, bf16-mixed or, on a GPU, 16-mixed. Default: 32-true.")]
Clip = Annotated[str | None, typer.Option(help="Clip the gradient to this norm, or none. Default: the problem's, or none.")]
Accumulate = Annotated[int | None, typer.Option(help="Batches per optimizer step. Default: the problem's, or 1.")]
Average = Annotated[
    str | None,
    typer.Option(
        help="Evaluate a moving average of the weights with this decay, such as 0.999, or none. Default: the problem's, or "
        "none."
    ),
]
Loaders = Annotated[
    int | None, typer.Option(help="Processes that load batches for each run. Default: 0, the run's own process.")
]
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
    int | None, typer.Option(help="Runs of each method, with the seeds 0, 1, 2, …, the same for all methods. Default: 7.")
]
Tune = Annotated[
    int | None,
    typer.Option(
        help="Tuning runs of each method. They choose its learning rate, its options, and recipe settings given as a range, "
        "such as --clip 0.1..10, on the validation split. Default: 0, no tuning."
    ),
]
LearningRates = Annotated[
    str | None,
    typer.Option(
        help="The lowest and highest learning rate of tuning, such as 1e-4,1e-2. Default: a tenth and ten times the "
        "problem's."
    ),
]
Workers = Annotated[int | None, typer.Option(help="Runs at a time. Default: one per core or GPU, or the cluster's room.")]
WorkersPerGpu = Annotated[int | None, typer.Option(help="Runs that share a GPU of this machine. Default: 1.")]
Vectorize = Annotated[
    bool | None,
    typer.Option(help="Train small runs together, as one stacked network, where that is possible. Default: yes."),
]
Cost = Annotated[
    bool | None,
    typer.Option(
        help="Time a training step of each method after the last run, for about 10 seconds a method at most. Default: yes."
    ),
]
Engine = Annotated[
    str | None,
    typer.Option(
        help="What executes the runs, with options: local, the processes of this machine, or a cluster, such as "
        "ray:cpus=2,gpus=0.5,address=auto. Default: local."
    ),
]
Order = Annotated[
    str | None,
    typer.Option(
        help="The tasks of a task hierarchy from the first block to the last, joined by commas; or hard_first or "
        "easy_first, by the validation KPIs of a separate run."
    ),
]
Out = Annotated[Path | None, typer.Option(help="The study's folder. Default: runs/ and the problem's name.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show what would run and about how long it would take, and run nothing.")
]
Accelerator = Annotated[str, typer.Option(help="auto, cpu, cuda or mps, as in Lightning Fabric.")]
StudyAccelerator = Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps, as in Lightning Fabric. Default: auto.")]


class Format(StrEnum):
    """The forms in which a comparison can be printed."""

    md = "md"
    csv = "csv"
    json = "json"
    tex = "tex"


FormatOption = Annotated[
    Format | None,
    typer.Option("--format", help="Print the results in this format; all else goes to standard error."),
]


def say(text: str) -> None:
    """Print a text without markup and control characters.

    A terminal gets lines that break between words. An indented line, such as a command, is never broken.
    """
    lines = printable(text).splitlines() or [""]
    if console.is_terminal:
        lines = [part for line in lines for part in ([line] if line.startswith(" ") else wrapped(line, console.width, "  "))]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def typed() -> str:
    """The command line that started this process."""
    return shlex.join(["hardfirst", *sys.argv[1:]])


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
    from hardfirst.cli._data_card import card_sentences, target_table
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
