"""The command that searches for the best method of a problem."""

from typing import Annotated

import typer

from hardfirst.cli import _completion
from hardfirst.cli._common import (
    Accumulate,
    Average,
    Clip,
    Cost,
    Data,
    Drop,
    DropLast,
    DryRun,
    Engine,
    Epochs,
    FormatOption,
    Group,
    LearningRate,
    Loaders,
    Optimizer,
    Out,
    Precision,
    ProblemName,
    Schedule,
    SplitColumn,
    StudyAccelerator,
    Targets,
    Test,
    Time,
    Validation,
    Vectorize,
    Workers,
    WorkersPerGpu,
    with_data,
    with_targets,
)
from hardfirst.cli._studies import make_plan, run_study
from hardfirst.cli._use import Log
from hardfirst.errors import InputError


def search(
    problem: ProblemName,
    targets: Targets = None,
    drop: Drop = None,
    group: Group = None,
    time: Time = None,
    split: SplitColumn = None,
    validation: Validation = None,
    test: Test = None,
    data: Data = None,
    maximise: Annotated[
        str | None,
        typer.Option(
            help="The objective: mean over tasks, worst task, hard for the mean over the hard tasks, TASK,TASK for the mean "
            "over these, or a sum such as 0.7*TASK+0.3*mean."
        ),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            help="What may not be lost, as an objective and the points below equal weights that are accepted, such as "
            "mean:0.3 or TASK:1.0. Give it several times for several. Default: mean:0.5, unless the mean is maximised."
        ),
    ] = None,
    candidates: Annotated[
        str | None,
        typer.Option(
            help="The methods to try, joined by commas, such as dtp:uniform=0.8,gradnorm; equal weights are always "
            "among them. Default: 12, which --dry-run lists.",
            autocompletion=_completion.several(_completion.balancers),
        ),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(
            help="The network (see `hardfirst list networks`). Default: own.",
            autocompletion=_completion.one(_completion.networks, "own"),
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Fresh seeds that judge the winner. Default: 7, the fewest for a recommendation.")
    ] = None,
    learning_rates: Annotated[
        str | None,
        typer.Option(
            help="The lowest and highest of three learning rates, such as 1e-4,1e-2, of which equal weights choose one for "
            "all. Default: the problem's, a third and three times it; while the best is the last one tried, up to two more."
        ),
    ] = None,
    learning_rate: LearningRate = None,
    epochs: Epochs = None,
    optimizer: Optimizer = None,
    schedule: Schedule = None,
    precision: Precision = None,
    clip: Clip = None,
    accumulate: Accumulate = None,
    average: Average = None,
    loaders: Loaders = None,
    drop_last: DropLast = None,
    workers: Workers = None,
    workers_per_gpu: WorkersPerGpu = None,
    accelerator: StudyAccelerator = None,
    engine: Engine = None,
    vectorize: Vectorize = None,
    cost: Cost = None,
    keep_networks: Annotated[
        bool,
        typer.Option(
            "--keep-networks", help="Keep the trained network of each method's best fresh run, for `hardfirst predict`."
        ),
    ] = False,
    log: Log = None,
    out: Out = None,
    dry_run: DryRun = False,
    form: FormatOption = None,
) -> None:
    """Search for the method that raises an objective without losing what is to be kept.

    Candidates are compared with equal weights on validation data, in rungs with more seeds for fewer candidates. The winner
    is then compared with equal weights and DTP on fresh seeds and the test split. It is recommended only if these confirm
    its gain; otherwise the advice is to keep equal weights. A search is on one problem.

    The same command resumes a search that was stopped. Exit codes are those of `hardfirst compare`.
    """
    settings = {
        "search": maximise,
        "keep": keep or None,
        "candidates": candidates,
        "networks": network,
        "seeds": seeds,
        "learning_rates": learning_rates,
        "learning_rate": learning_rate,
        "epochs": epochs,
        "optimizer": optimizer,
        "schedule": schedule,
        "precision": precision,
        "clip": clip,
        "accumulate": accumulate,
        "average": average,
        "loaders": loaders,
        "drop_last": drop_last,
        "workers": workers,
        "workers_per_gpu": workers_per_gpu,
        "accelerator": accelerator,
        "engine": engine,
        "vectorize": vectorize,
        "cost": cost,
    }
    from_file = problem.endswith((".yaml", ".yml"))
    if not maximise and not from_file:
        raise InputError(
            "Give what to maximise: --maximise mean, worst, hard, TASK,TASK, or a sum such as 0.7*TASK+0.3*mean."
        )
    flags = {"drop": drop, "group": group, "time": time, "split": split, "validation": validation, "test": test}
    named = with_data(with_targets([problem], targets=targets, **flags), data)
    plan = make_plan(named, {name: value for name, value in settings.items() if value is not None})
    if plan.kind != "search":
        raise InputError(f"{problem} plans no search: run it with `hardfirst compare {problem}`, or give --maximise.")
    run_study(plan, out, form, dry_run=dry_run, keep=keep_networks, log=log)
