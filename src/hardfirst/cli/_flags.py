"""The flags that commands share, and groups of them."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from hardfirst.cli._completion import objectives, one, optimizers, problems, schedules

ProblemName = Annotated[
    str,
    typer.Argument(
        help="A built-in problem (see `hardfirst list problems`), a Python file, or a table.",
        autocompletion=one(problems),
    ),
]
Data = Annotated[Path | None, typer.Option("--data", help="The data folder of a problem such as nyuv2.")]
Protocol = Annotated[
    str | None,
    typer.Option(
        help="How networks are trained and measured: held_out, or published, as for a benchmark's published figures. "
        "Default: held_out."
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
Order = Annotated[
    str | None,
    typer.Option(
        help="The tasks of a task hierarchy from the first block to the last, joined by commas; or hard_first or "
        "easy_first, by the validation KPIs of a separate run."
    ),
]
Keep = Annotated[bool, typer.Option("--keep", help="Keep the trained networks of the best runs, for `hardfirst predict`.")]
Log = Annotated[
    str | None,
    typer.Option("--log", help="Send each run, when it has ended, to a tracker: tensorboard, wandb or mlflow."),
]


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

TABLE = {
    "targets": Annotated[
        str | None,
        typer.Option(
            help="The columns of a table to predict, joined by commas, with kind and KPI: price:regression:log or "
            "sold:classification:kpi=auc."
        ),
    ],
    "drop": Annotated[str | None, typer.Option(help="Columns of a table to leave out of the inputs, joined by commas.")],
    "group": Annotated[str | None, typer.Option(help="The column of a table whose equal values stay in one split.")],
    "time": Annotated[
        str | None, typer.Option(help="The column of a table to split by time: the earliest rows train, the latest test.")
    ],
    "split": Annotated[
        str | None, typer.Option("--split", help="The column of a table that holds train, validation or test.")
    ],
    "validation": Annotated[str | None, typer.Option(help="A file with the validation rows of a table.")],
    "test": Annotated[str | None, typer.Option(help="A file with the test rows of a table.")],
}
"""The flags that say what of a table is predicted from what, and by which rows."""
DATA = {**TABLE, "data": Data}
RECIPE = {
    "optimizer": Annotated[
        str | None,
        typer.Option(
            help="The optimizer with options, such as adamw:weight_decay=1e-4 or sgd:momentum=0.9 (see `hardfirst list "
            "optimizers`). Default: the problem's, or adam.",
            autocompletion=one(optimizers),
        ),
    ],
    "schedule": Annotated[
        str | None,
        typer.Option(
            help="The learning-rate schedule with options, such as cosine:warmup=0.05 (see `hardfirst list schedules`). "
            "Default: the problem's, or constant.",
            autocompletion=one(schedules),
        ),
    ],
    "precision": Annotated[str | None, typer.Option(help="32-true, bf16-mixed or, on a GPU, 16-mixed. Default: 32-true.")],
    "clip": Annotated[
        str | None, typer.Option(help="Clip the gradient to this norm, or none. Default: the problem's, or none.")
    ],
    "accumulate": Annotated[int | None, typer.Option(help="Batches per optimizer step. Default: the problem's, or 1.")],
    "average": Annotated[
        str | None,
        typer.Option(
            help="Evaluate a moving average of the weights with this decay, such as 0.999, or none. Default: the "
            "problem's, or none."
        ),
    ],
    "loaders": Annotated[
        int | None, typer.Option(help="Processes that load batches for each run. Default: 0, the run's own process.")
    ],
    "drop_last": Annotated[
        bool | None,
        typer.Option(
            "--drop-last/--keep-last", help="Leave out the last batch of an epoch if it is smaller. Default: keep it."
        ),
    ],
}
"""The flags that change a problem's recipe, by its parts."""
MACHINE = {
    "workers": Annotated[
        int | None, typer.Option(help="Runs at a time. Default: one per core or GPU, or the cluster's room.")
    ],
    "workers_per_gpu": Annotated[int | None, typer.Option(help="Runs that share a GPU of this machine. Default: 1.")],
    "accelerator": Annotated[
        str | None, typer.Option(help="auto, cpu, cuda or mps, as in Lightning Fabric. Default: auto.")
    ],
    "engine": Annotated[
        str | None,
        typer.Option(
            help="What executes the runs, with options: local, the processes of this machine, or a cluster, such as "
            "ray:cpus=2,gpus=0.5,address=auto. Default: local."
        ),
    ],
    "vectorize": Annotated[
        bool | None,
        typer.Option(help="Train small runs together, as one stacked network, where that is possible. Default: yes."),
    ],
    "cost": Annotated[
        bool | None,
        typer.Option(
            help="Time a training step of each method after the last run, for about 10 seconds a method at most. "
            "Default: yes."
        ),
    ],
}
"""The flags on where and how a study's runs are trained."""
ENDING = {
    "log": Log,
    "out": Annotated[Path | None, typer.Option(help="The study's folder. Default: runs/ and the problem's name.")],
    "dry_run": Annotated[
        bool, typer.Option("--dry-run", help="Show what would run and about how long it would take, and run nothing.")
    ],
    "form": FormatOption,
}
"""The last flags of a study."""


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """The command with each flag of its groups, which are parameters annotated with flags by name, for typer to read."""
    groups: dict[str, Mapping[str, Any]] = {}
    parameters: list[Parameter] = []
    for parameter in signature(command).parameters.values():
        about = get_args(parameter.annotation)[1:]
        if about and isinstance(about[0], Mapping):
            groups[parameter.name] = about[0]
            parameters += [
                Parameter(name, parameter.kind, annotation=flag, default=False if get_args(flag)[0] is bool else None)
                for name, flag in about[0].items()
            ]
        else:
            parameters.append(parameter)

    @wraps(command)
    def run(**values: Any) -> None:
        for name, flags in groups.items():
            values[name] = {flag: values.pop(flag) for flag in flags}
        command(**values)

    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # which inspect looks for
    return run
