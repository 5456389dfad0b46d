"""Commands that run studies: of balancers, of losses, of orders of tasks."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hardfirst.cli import _completion
from hardfirst.cli._common import (
    DryRun,
    Epochs,
    Format,
    FormatOption,
    LearningRate,
    LearningRates,
    Order,
    ProblemName,
    Seeds,
    Targets,
    Workers,
    console,
    say,
    typed,
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
            help="Built-in problems (see `hardfirst list problems`), Python files, CSV tables, or one YAML file of a study.",
            autocompletion=_completion.one(_completion.problems),
        ),
    ],
    targets: Targets = None,
    balancers: Annotated[
        str | None,
        typer.Option(
            help="Specs joined by commas, e.g. equal,dtp:gamma=2,alpha=0.05 (see `hardfirst list`); unless given "
            "equal,uncertainty,dtp,dtp:uniform=0.8.",
            autocompletion=_completion.several(_completion.balancers, "all"),
        ),
    ] = None,
    networks: Annotated[
        str | None,
        typer.Option(
            help="Networks to cross the balancers with, joined by commas (see `list networks`).",
            autocompletion=_completion.several(_completion.networks, "own"),
        ),
    ] = None,
    order: Order = None,
    seeds: Seeds = None,
    tune: Annotated[
        int | None,
        typer.Option(
            help="Trials for each method to choose its learning rate and options on validation; none unless given."
        ),
    ] = None,
    learning_rates: LearningRates = None,
    learning_rate: LearningRate = None,
    epochs: Epochs = None,
    criterion: Annotated[
        str | None,
        typer.Option(help="What settings and epochs are chosen by on validation, over tasks: mean, unless given, or worst."),
    ] = None,
    baselines: Annotated[
        bool | None, typer.Option(help="Add single-task networks, equal weights and static weights from a grid.")
    ] = None,
    controls: Annotated[
        bool | None, typer.Option(help="Add the variants of DTP that tell why it does what it does.")
    ] = None,
    workers: Workers = None,
    accelerator: Annotated[str | None, typer.Option(help="As in Lightning Fabric: auto, cpu, cuda or mps.")] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            help="What runs the trials, with options: local (processes of this machine), ray:cpus=2,gpus=0.5,address=auto "
            "(a Ray cluster). Default: local.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The study's folder; runs/PROBLEM unless given.")] = None,
    dry_run: DryRun = False,
    form: FormatOption = None,
) -> None:
    """Train methods × seeds on a problem and report with intervals; the same command goes on where it was stopped."""
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
        "workers": workers,
        "accelerator": accelerator,
        "engine": engine,
    }
    plan = _plan(with_targets(problems, targets), {name: value for name, value in settings.items() if value is not None})
    if balancers is not None and "all" in balancers.split(","):
        say(f"Not among all, since they need options: {', '.join(_need_options())}.")
    _study(plan, out, form, dry_run=dry_run)


def order(
    problem: ProblemName,
    targets: Targets = None,
    seeds: Seeds = None,
    learning_rate: LearningRate = None,
    epochs: Epochs = None,
    workers: Workers = None,
    accelerator: Annotated[str | None, typer.Option(help="As in Lightning Fabric: auto, cpu, cuda or mps.")] = None,
    out: Annotated[Path | None, typer.Option(help="The study's folder; runs/PROBLEM-order unless given.")] = None,
    dry_run: DryRun = False,
    form: FormatOption = None,
) -> None:
    """Compare orders of tasks in a task hierarchy: what a task's place does to it, and hard tasks first or easy ones."""
    settings = {
        "orders": True,
        "seeds": seeds,
        "learning_rate": learning_rate,
        "epochs": epochs,
        "workers": workers,
        "accelerator": accelerator,
    }
    plan = _plan(with_targets([problem], targets), {name: value for name, value in settings.items() if value is not None})
    _study(plan, out, form, dry_run=dry_run)


def losses(
    problem: ProblemName,
    losses: Annotated[
        str | None, typer.Option(help="Which of the task's losses, joined by commas, the baseline first; all unless given.")
    ] = None,
    seeds: Seeds = None,
    tune: Annotated[int | None, typer.Option(help="Learning rates for each loss to choose from, on validation.")] = None,
    learning_rates: LearningRates = None,
    learning_rate: LearningRate = None,
    epochs: Epochs = None,
    workers: Workers = None,
    accelerator: Annotated[str | None, typer.Option(help="As in Lightning Fabric: auto, cpu, cuda or mps.")] = None,
    out: Annotated[Path | None, typer.Option(help="The study's folder; runs/PROBLEM-losses unless given.")] = None,
    dry_run: DryRun = False,
    form: FormatOption = None,
) -> None:
    """Compare the losses that a problem's task offers, with that task alone: focal losses and their rivals on a detector."""
    from hardfirst.problems import load_problem

    settings = {
        "losses": losses or ",".join(load_problem(problem).choosing.losses),
        "seeds": seeds,
        "tune": tune,
        "learning_rates": learning_rates,
        "learning_rate": learning_rate,
        "epochs": epochs,
        "workers": workers,
        "accelerator": accelerator,
    }
    plan = _plan([problem], {name: value for name, value in settings.items() if value is not None})
    _study(plan, out, form, dry_run=dry_run)


def _study(plan: "Plan", out: Path | None, form: Format | None, *, dry_run: bool) -> None:
    """Run what the plan wants and the folder lacks, and report."""
    from hardfirst.cli._progress import StudyProgress
    from hardfirst.studies import Runner, counts, with_default_order
    from hardfirst.training import check_problem

    console.stderr = form is not None  # what is asked for alone goes to standard output
    if dry_run:
        _dry_run(plan)
        return
    for trial, problem in plan.cases:
        check_problem(with_default_order(trial, problem).of(problem), trial.problem)
    runner = Runner(plan, out, typed())
    ended = sum(map(runner.store.ended, runner.trials()))
    say(f"{sum(sum(both) for both in counts(plan).values())} runs in {runner.store.folder}, {ended} of them done.")
    try:
        with StudyProgress(console, runner) as progress:
            runner.run(progress)
        runner.measure_cost()
    except KeyboardInterrupt:
        ended = sum(map(runner.store.ended, runner.trials()))
        say(f"Stopped with {ended} runs done. The same command goes on from there.")
        raise typer.Exit(130) from None
    write_report(runner.store.folder, form)


def _plan(problems: list[str], settings: dict[str, Any]) -> "Plan":
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
    from hardfirst.studies import cores, counts, estimate

    console.print(plan_table(counts(plan)))
    say(f"The study as a file:\n\n{plan.yaml()}")
    say(
        f"About {duration(estimate(plan))} on this machine with {plan.workers or cores()} at a time, from a few training "
        "steps timed just now; what its folder has already is not taken off."
    )


def _need_options() -> list[str]:
    from hardfirst.balancers import BALANCERS, needed_options

    return [name for name in BALANCERS if needed_options(name)]
