"""The command line: it parses, calls and prints. Nothing heavy is imported before a command needs it."""

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from hardfirst import __version__
from hardfirst.errors import InputError

if TYPE_CHECKING:
    from hardfirst.studies import Store

app = typer.Typer(
    name="hardfirst",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Train multi-task models without starving the hard tasks, and find out which balancing method helps on a problem.",
)
console = Console()

ProblemName = Annotated[str, typer.Argument(help="A built-in problem (see `hardfirst list problems`) or a Python file.")]
Epochs = Annotated[int | None, typer.Option(help="Passes over the training split; the problem's own unless given.")]
LearningRate = Annotated[float | None, typer.Option(help="Adam's learning rate; the problem's own unless given.")]
Accelerator = Annotated[str, typer.Option(help="As in Lightning Fabric: auto, cpu, cuda or mps.")]


class Listed(StrEnum):
    """What `hardfirst list` can list."""

    balancers = "balancers"
    problems = "problems"
    networks = "networks"


@app.command()
def compare(
    problem: ProblemName,
    balancers: Annotated[
        str, typer.Option(help="Specs joined by commas, e.g. equal,dtp:gamma=2,alpha=0.05 (see `hardfirst list`).")
    ] = "equal,uncertainty,dtp,dtp:uniform=0.8",
    seeds: Annotated[int, typer.Option(help="Runs of each method; methods share seeds, so differences are paired.")] = 5,
    epochs: Epochs = None,
    learning_rate: LearningRate = None,
    workers: Annotated[int | None, typer.Option(help="Processes at a time; one per core unless given.", min=1)] = None,
    accelerator: Accelerator = "cpu",
    out: Annotated[Path | None, typer.Option(help="The study's folder; runs/PROBLEM unless given.")] = None,
) -> None:
    """Train methods × seeds on a problem and report with intervals; the same command goes on where it was stopped."""
    from hardfirst._display import StudyProgress
    from hardfirst.balancers import BALANCERS, Spec, needed_options
    from hardfirst.studies import Plan, Store, run_locally

    plan = Plan(problem, Spec.parse_list(balancers), seeds, epochs, learning_rate)
    loaded = plan.load()
    trials = {trial.key(loaded): trial for trial in plan.trials(loaded)}
    store = Store(out or Path("runs") / loaded.name)
    store.begin(f"Balancing methods on {loaded.name}", list(trials), _command())
    left = [(key, trial) for key, trial in trials.items() if not store.ended(key)]
    if "all" in balancers.split(","):
        _say(f"Not among all, since they need options: {', '.join(name for name in BALANCERS if needed_options(name))}.")
    _say(f"{len(trials)} trials in {store.folder}, {len(left)} to run.")
    try:
        with StudyProgress(console, len(left), next(iter(trials.values())).epochs) as progress:
            run_locally(left, store, workers=workers, command=_command(), accelerator=accelerator, tell=progress)
    except KeyboardInterrupt:
        ended = sum(store.ended(key) for key in trials)
        _say(f"Stopped with {ended} of {len(trials)} trials done. The same command goes on from there.")
        raise typer.Exit(130) from None
    _report(store)


@app.command()
def train(
    problem: ProblemName,
    balancer: Annotated[str, typer.Option(help="One spec, e.g. dtp:gamma=2 (see `hardfirst list balancers`).")] = "dtp",
    seed: Annotated[int, typer.Option(help="Decides initial weights and the order of the data.")] = 0,
    epochs: Epochs = None,
    learning_rate: LearningRate = None,
    accelerator: Accelerator = "auto",
    out: Annotated[Path | None, typer.Option(help="The run's folder; runs/train-PROBLEM-KEY unless given.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint of a run that was stopped.")] = False,
) -> None:
    """Train one network; Ctrl-C saves, and --resume goes on to the same weights as if nothing had happened."""
    from hardfirst._display import RunProgress, run_table
    from hardfirst.balancers import Spec
    from hardfirst.problems import load_problem
    from hardfirst.studies import Store
    from hardfirst.training import Interrupted, Trial, fit

    loaded = load_problem(problem)
    trial = Trial.plan(problem, Spec.parse(balancer), seed=seed, epochs=epochs, learning_rate=learning_rate, loaded=loaded)
    key = trial.key(loaded)
    store = Store(out or Path("runs") / f"train-{loaded.name}-{key}")
    checkpoint = store.folder / "checkpoint.pt"
    if resume and store.ended(key):
        _say(f"The run in {store.folder} has ended already.")
        return
    if not resume and checkpoint.exists() and not store.ended(key):
        raise InputError(f"{store.folder} holds a run that was stopped: add --resume to go on, or choose another --out.")
    store.begin(f"{trial.balancer} on {loaded.name}", [key], _command())
    try:
        with RunProgress(console, trial.epochs) as progress:
            found = fit(
                trial,
                record_file=store.part_file(key),
                checkpoint=checkpoint,
                resume=resume,
                watcher=progress,
                command=_command(),
                accelerator=accelerator,
            )
    except Interrupted as stopped:
        again = _command() if resume else f"{_command()} --resume"
        _say(f"{stopped} The state is in {checkpoint}. To go on: {again}")
        raise typer.Exit(130) from None
    store.part_file(key).replace(store.record_file(key))
    if found.outcome == "diverged":
        _say(f"The run diverged: {found.reason}.")
        raise typer.Exit(1)
    console.print(run_table(found))
    _say(f"The weights of the selected epoch are in {checkpoint} under 'best'. A page: hardfirst report {store.folder}")


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="The folder of a study or a run.")],
) -> None:
    """Write the page of a study anew, from its records alone."""
    from hardfirst.studies import Store

    _report(Store(folder))


@app.command("list")
def list_(
    what: Annotated[Listed, typer.Argument(help="What to list.")] = Listed.balancers,
    name: Annotated[str | None, typer.Argument(help="A balancer, to see the whole of its card.")] = None,
) -> None:
    """List the balancers with what they need and cost, the built-in problems, or the networks."""
    from hardfirst import _catalogue
    from hardfirst._display import listing

    if name is None:
        console.print(listing(*getattr(_catalogue, what.value)()))
    elif what is Listed.balancers:
        _say(_catalogue.balancer(name))
    else:
        raise InputError(f"Only balancers have cards; `hardfirst list {what.value}` shows all there is.")


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Answer the options that need no command."""
    if version:
        console.print(__version__, highlight=False)
        raise typer.Exit


def main() -> None:
    """Run the command line; bad input gets one sentence and exit code 2."""
    try:
        app()
    except InputError as error:
        typer.echo(f"hardfirst: {error}", err=True)
        raise SystemExit(2) from None


def _report(store: "Store") -> None:
    from hardfirst._display import comparison_table
    from hardfirst.record import write_atomically
    from hardfirst.report import page, summary, verdict

    about, records = store.about(), store.records()
    if not records:
        raise InputError(f"No trial of the study in {store.folder} has ended yet; there is nothing to report.")
    write_atomically(store.page, page(records, title=about["title"], command=about["command"]))
    if any(record.outcome == "finished" for record in records):
        console.print(comparison_table(summary(records)))
    for sentence in verdict(records):
        _say(sentence)
    missing = len(about["trials"]) - len(records)
    if missing:
        _say(f"{missing} of {len(about['trials'])} trials have not ended; the page is of the others.")
    _say(f"The page: {store.page}")


def _say(text: str) -> None:
    """Print a sentence as it is: no markup, and no line breaks inside a path or a command."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _command() -> str:
    return shlex.join(["hardfirst", *sys.argv[1:]])


if __name__ == "__main__":
    main()
