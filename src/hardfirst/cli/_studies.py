"""The commands that run studies."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hardfirst.cli import _completion
from hardfirst.cli._common import (
    Accumulate,
    Average,
    Clip,
    Data,
    Drop,
    DropLast,
    DryRun,
    Engine,
    Epochs,
    Format,
    FormatOption,
    Group,
    LearningRate,
    LearningRates,
    Loaders,
    Optimizer,
    Order,
    Out,
    Precision,
    Protocol,
    Reference,
    Schedule,
    Seeds,
    SplitColumn,
    StudyAccelerator,
    Targets,
    Test,
    Time,
    Tune,
    Validation,
    Vectorize,
    Workers,
    WorkersPerGpu,
    console,
    say,
    say_recipe,
    say_tables,
    typed,
    with_data,
    with_order,
    with_targets,
    write_report,
)
from hardfirst.errors import InputError

if TYPE_CHECKING:
    from hardfirst.studies import Plan


def compare(
    problems: Annotated[
        list[str],
        typer.Argument(
            help="Built-in problems (see `hardfirst list problems`), Python files, tables, or one YAML file of a study.",
            autocompletion=_completion.one(_completion.problems),
        ),
    ],
    targets: Targets = None,
    drop: Drop = None,
    group: Group = None,
    time: Time = None,
    split: SplitColumn = None,
    validation: Validation = None,
    test: Test = None,
    data: Data = None,
    balancers: Annotated[
        str | None,
        typer.Option(
            help="Specs joined by commas, such as equal,dtp:gamma=2,alpha=0.05 (see `hardfirst list`). "
            "Default: equal,uncertainty,dtp,dtp:uniform=0.8.",
            autocompletion=_completion.several(_completion.balancers, "all"),
        ),
    ] = None,
    networks: Annotated[
        str | None,
        typer.Option(
            help="Networks to cross the balancers with, joined by commas (see `hardfirst list networks`).",
            autocompletion=_completion.several(_completion.networks, "own"),
        ),
    ] = None,
    order: Order = None,
    seeds: Seeds = None,
    tune: Tune = None,
    learning_rates: LearningRates = None,
    learning_rate: LearningRate = None,
    epochs: Epochs = None,
    criterion: Annotated[
        str | None,
        typer.Option(
            help="What settings and epochs are chosen by on the validation split, over tasks: mean or worst. Default: mean."
        ),
    ] = None,
    baselines: Annotated[
        bool | None, typer.Option(help="Add single-task networks, equal weights and static weights from a grid.")
    ] = None,
    controls: Annotated[bool | None, typer.Option(help="Add variants of DTP that show what its effect comes from.")] = None,
    optimizer: Optimizer = None,
    schedule: Schedule = None,
    precision: Precision = None,
    clip: Clip = None,
    accumulate: Accumulate = None,
    average: Average = None,
    loaders: Loaders = None,
    drop_last: DropLast = None,
    protocol: Protocol = None,
    reference: Reference = None,
    workers: Workers = None,
    workers_per_gpu: WorkersPerGpu = None,
    accelerator: StudyAccelerator = None,
    engine: Engine = None,
    vectorize: Vectorize = None,
    out: Out = None,
    dry_run: DryRun = False,
    form: FormatOption = None,
) -> None:
    """Compare methods on a problem over several seeds, with intervals; the same command resumes a study that was stopped."""
    settings = {
        "balancers": balancers,
        "networks": networks if order is None else with_order(networks or "", order),
        "seeds": seeds,
        "tune": tune,
        "learning_rates": learning_rates,
        "learning_rate": learning_rate,
        "epochs": epochs,
        "criterion": criterion,
        "baselines": baselines,
        "controls": controls,
        "optimizer": optimizer,
        "schedule": schedule,
        "precision": precision,
        "clip": clip,
        "accumulate": accumulate,
        "average": average,
        "loaders": loaders,
        "drop_last": drop_last,
        "protocol": protocol,
        "reference": reference,
        "workers": workers,
        "workers_per_gpu": workers_per_gpu,
        "accelerator": accelerator,
        "engine": engine,
        "vectorize": vectorize,
    }
    flags = {"drop": drop, "group": group, "time": time, "split": split, "validation": validation, "test": test}
    named = with_data(with_targets(problems, targets=targets, **flags), data)
    plan = make_plan(named, {name: value for name, value in settings.items() if value is not None})
    if balancers is not None and "all" in balancers.split(","):
        say(f"Not among all, since they need options: {', '.join(_need_options())}.")
    run_study(plan, out, form, dry_run=dry_run)


def run_study(plan: "Plan", out: Path | None, form: Format | None, *, dry_run: bool) -> None:
    """Run what the plan asks for and the folder does not have, and report."""
    from hardfirst.cli._progress import StudyProgress
    from hardfirst.studies import Runner, counts, with_default_order
    from hardfirst.studies.ranges import ranged
    from hardfirst.training import check_problem

    console.stderr = form is not None  # standard output is for the comparison in that form alone
    say_tables(plan.problems)
    say_recipe({problem.name: trial.recipe_of(problem).settings() | ranged(plan.recipe) for trial, problem in plan.cases})
    if dry_run:
        _dry_run(plan)
        return
    for trial, problem in plan.cases:
        check_problem(with_default_order(trial, problem).of(problem), trial.problem)
    runner = Runner(plan, out, typed())
    if runner.stale:
        say(f"{runner.stale} records are of other data than now: these runs begin again, and the records are set aside.")
    say(f"{sum(sum(both) for both in counts(plan).values())} runs in {runner.store.folder}, {runner.ended} of them done.")
    try:
        with StudyProgress(console, runner) as progress:
            runner.run(progress)
        runner.measure_cost()
    except KeyboardInterrupt:
        say(f"Stopped with {runner.ended} runs done. The same command resumes the study.")
        raise typer.Exit(130) from None
    if not runner.any_finished:
        say("No run has finished, so that there is nothing to compare; the lines above say why.")
        raise typer.Exit(1)
    write_report(runner.store.folder, form)
    for sentence in (card.trees for card in runner.tables.values() if card.trees):
        say(sentence)


def make_plan(problems: list[str], settings: dict[str, Any]) -> "Plan":
    from hardfirst.studies import Plan

    per_gpu = settings.pop("workers_per_gpu", None)
    plan = _make_plan(problems, settings)
    if per_gpu is None:
        return plan
    if plan.engine_spec.name != "local":
        raise InputError(
            f"--workers-per-gpu is for the engine local; got {plan.engine}. Leave it out, or use --engine local."
        )
    return Plan(**plan.settings() | {"engine": f"local:workers_per_gpu={per_gpu}"})


def _make_plan(problems: list[str], settings: dict[str, Any]) -> "Plan":
    from hardfirst.studies import Plan

    if "learning_rates" in settings:
        settings["learning_rates"] = settings["learning_rates"].split(",")
    files = [problem for problem in problems if problem.endswith((".yaml", ".yml"))]
    if not files:
        return Plan(problems=problems, **settings)
    if len(problems) > 1:
        raise InputError(f"A study is one YAML file, or problems: give {files[0]} alone.")
    return Plan.read(Path(files[0]), **settings)


def _dry_run(plan: "Plan") -> None:
    from hardfirst.cli._tables import duration, plan_table
    from hardfirst.studies import counts, estimate, places

    console.print(plan_table(counts(plan)))
    say(f"The study as a file:\n\n{plan.yaml()}")
    at_once, devices = places(plan)
    where = f" on {devices}" if devices else ""
    together = " Runs that are trained together take less." if plan.vectorize else ""
    say(
        f"About {duration(estimate(plan))} on this machine with {at_once} at a time{where}, from a few training "
        f"steps timed just now; what its folder has already is not taken off.{together}"
    )


def _need_options() -> list[str]:
    from hardfirst.balancers import BALANCERS, needed_options

    return [name for name in BALANCERS if needed_options(name)]
