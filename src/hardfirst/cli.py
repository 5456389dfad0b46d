"""The command line: it parses, calls and prints. Nothing heavy is imported before a command needs it."""

import shlex
import sys
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from hardfirst import __version__
from hardfirst.errors import InputError

if TYPE_CHECKING:
    from hardfirst.problems import Problem
    from hardfirst.record import Record
    from hardfirst.studies import Plan, Store
    from hardfirst.training import Trial

app = typer.Typer(
    name="hardfirst",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Train multi-task models without starving the hard tasks, and find out which balancing method helps on a problem.",
)
studies = typer.Typer(no_args_is_help=True, help="Studies of other questions than which balancer to take.")
app.add_typer(studies, name="study")
console = Console()

ProblemName = Annotated[
    str, typer.Argument(help="A built-in problem (see `hardfirst list problems`), a Python file, or a CSV table.")
]
Targets = Annotated[
    str | None, typer.Option(help="Of a CSV table: the columns to predict, e.g. price:regression,sold:classification.")
]
Epochs = Annotated[int | None, typer.Option(help="Passes over the training split; the problem's own unless given.")]
LearningRate = Annotated[float | None, typer.Option(help="Adam's learning rate; the problem's own unless given.")]
Seeds = Annotated[int | None, typer.Option(help="Runs of each method; they share seeds: differences are paired.")]
LearningRates = Annotated[str | None, typer.Option(help="The range that is tuned over, e.g. 1e-4,1e-2.")]
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
    """What a comparison can be printed as."""

    md = "md"
    csv = "csv"
    json = "json"


FormatOption = Annotated[
    Format | None, typer.Option("--format", help="Print the comparison in this form; all else goes to standard error.")
]


class Listed(StrEnum):
    """What `hardfirst list` can list."""

    balancers = "balancers"
    problems = "problems"
    networks = "networks"


@app.command()
def compare(
    problems: Annotated[
        list[str],
        typer.Argument(
            help="Built-in problems (see `hardfirst list problems`), Python files, CSV tables, or one YAML file of a study."
        ),
    ],
    targets: Targets = None,
    balancers: Annotated[
        str | None, typer.Option(help="Specs joined by commas, e.g. equal,dtp:gamma=2,alpha=0.05 (see `hardfirst list`).")
    ] = None,
    networks: Annotated[
        str | None,
        typer.Option(help="Networks to cross the balancers with, joined by commas (see `list networks`)."),
    ] = None,
    order: Order = None,
    seeds: Seeds = None,
    tune: Annotated[
        int | None, typer.Option(help="Trials for each method to choose its learning rate and options, on validation.")
    ] = None,
    learning_rates: LearningRates = None,
    learning_rate: LearningRate = None,
    epochs: Epochs = None,
    criterion: Annotated[
        str | None, typer.Option(help="What settings and epochs are chosen by on validation: mean or worst, over tasks.")
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
        str | None, typer.Option(help="What runs the trials: local (processes of this machine) or ray (a cluster).")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Of a running Ray cluster, e.g. auto; unless given, one is started here.")
    ] = None,
    trial_cpus: Annotated[float | None, typer.Option(help="CPUs that a trial asks Ray for.")] = None,
    trial_gpus: Annotated[float | None, typer.Option(help="GPUs that a trial asks Ray for; may be a part of one.")] = None,
    out: Annotated[Path | None, typer.Option(help="The study's folder; runs/PROBLEM unless given.")] = None,
    dry_run: DryRun = False,
    form: FormatOption = None,
) -> None:
    """Train methods × seeds on a problem and report with intervals; the same command goes on where it was stopped."""
    settings = {
        "balancers": balancers,
        "networks": networks if order is None else _with_order(networks or "", order),
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
        "address": address,
        "trial_cpus": trial_cpus,
        "trial_gpus": trial_gpus,
    }
    plan = _plan(_with_targets(problems, targets), {name: value for name, value in settings.items() if value is not None})
    if balancers is not None and "all" in balancers.split(","):
        _say(f"Not among all, since they need options: {', '.join(_need_options())}.")
    _study(plan, out, form, dry_run=dry_run)


@studies.command("order")
def order_(
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
    plan = _plan(_with_targets([problem], targets), {name: value for name, value in settings.items() if value is not None})
    _study(plan, out, form, dry_run=dry_run)


@studies.command("losses")
def losses_(
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
    from hardfirst._display import StudyProgress
    from hardfirst.studies import Session, counts, stand_in
    from hardfirst.training import check_problem

    console.stderr = form is not None  # what is asked for alone goes to standard output
    if dry_run:
        _dry_run(plan)
        return
    for trial, problem in plan.cases:
        check_problem(stand_in(trial, problem).of(problem), trial.problem)
    session = Session(plan, out, _command())
    jobs = session.jobs()
    ended = sum(session.store.ended(key) for key in jobs)
    _say(f"{sum(sum(both) for both in counts(plan).values())} runs in {session.store.folder}, {ended} of them done.")
    try:
        with StudyProgress(console, session) as progress:
            session.run(progress)
        session.measure_cost()
    except KeyboardInterrupt:
        ended = sum(session.store.ended(key) for key in session.jobs())
        _say(f"Stopped with {ended} runs done. The same command goes on from there.")
        raise typer.Exit(130) from None
    _report(session.store.folder, form)


def _with_targets(problems: list[str], targets: str | None) -> list[str]:
    """Tables under the names that say what is to be predicted."""
    if targets is None:
        return problems
    from hardfirst.problems import table_name

    if not any(problem.endswith(".csv") for problem in problems):
        raise InputError("--targets says which columns of a CSV table to predict; there is no table.")
    return [table_name(problem, targets) if problem.endswith(".csv") else problem for problem in problems]


def _with_order(networks: str, order: str) -> str:
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
    from hardfirst._display import duration, plan_table
    from hardfirst.studies import cores, counts, estimate

    console.print(plan_table(counts(plan)))
    _say(f"The study as a file:\n\n{plan.yaml()}")
    _say(
        f"About {duration(estimate(plan))} on this machine with {plan.workers or cores()} at a time, from a few training "
        "steps timed just now; what its folder has already is not taken off."
    )


def _need_options() -> list[str]:
    from hardfirst.balancers import BALANCERS, needed_options

    return [name for name in BALANCERS if needed_options(name)]


@app.command()
def train(
    problem: ProblemName,
    targets: Targets = None,
    balancer: Annotated[str, typer.Option(help="One spec, e.g. dtp:gamma=2 (see `hardfirst list balancers`).")] = "dtp",
    seed: Annotated[int, typer.Option(help="Decides initial weights and the order of the data.")] = 0,
    network: Annotated[
        str, typer.Option(help="Which network (see `hardfirst list networks`); the problem's first is called own.")
    ] = "own",
    order: Order = None,
    epochs: Epochs = None,
    learning_rate: LearningRate = None,
    accelerator: Accelerator = "auto",
    devices: Annotated[int, typer.Option(help="How many devices share each batch; on the CPU, how many processes.")] = 1,
    strategy: Annotated[str, typer.Option(help="How several devices train together: auto or ddp.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="The run's folder; runs/train-PROBLEM-KEY unless given.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint of a run that was stopped.")] = False,
) -> None:
    """Train one network; Ctrl-C saves, and --resume goes on to the same weights as if nothing had happened."""
    from hardfirst._display import run_table
    from hardfirst.balancers import Spec
    from hardfirst.problems import load_problem
    from hardfirst.studies import Store, measuring, ordered
    from hardfirst.training import Trial, check_devices, leads

    check_devices(devices, strategy, accelerator)
    console.quiet = not leads(devices)  # of the processes that torchrun started, which all run this function
    (problem,) = _with_targets([problem], targets)
    loaded = load_problem(problem)
    trial = Trial.plan(
        problem,
        Spec.parse(balancer),
        seed=seed,
        epochs=epochs,
        learning_rate=learning_rate,
        network=network if order is None else _with_order(network, order),
        loaded=loaded,
    )
    where: dict[str, Any] = {"accelerator": accelerator, "devices": devices, "strategy": strategy}

    def store_of(trial: Trial) -> Store:
        return Store(out or Path("runs") / f"train-{loaded.name}-{trial.key(trial.of(loaded))}")

    if (first := measuring(trial, loaded)) is not None:
        _say("First a run of the problem's own network with equal weights, which tells how hard each task is.")
        trial = ordered(trial, loaded, _run(first, loaded, store_of(first), "measuring.pt", resume=None, **where))
        _say(f"The network: {trial.network}")
    store = store_of(trial)
    if resume and store.ended(trial.key(trial.of(loaded))):
        _say(f"The run in {store.folder} has ended already.")
        return
    checkpoint = store.folder / "checkpoint.pt"
    goes_on = resume and (first is None or checkpoint.exists())
    found = _run(trial, loaded, store, checkpoint.name, resume=goes_on, **where)
    if found.outcome == "diverged":
        _say(f"The run diverged: {found.reason}.")
        raise typer.Exit(1)
    console.print(run_table(found))
    _say(f"The weights of the selected epoch are in {checkpoint} under 'best'. A page: hardfirst report {store.folder}")


def _run(
    trial: "Trial", loaded: "Problem", store: "Store", file: str, *, resume: bool | None, devices: int, **where: Any
) -> "Record":
    """Train one network to its end, and give its record.

    Args:
        trial: what to train.
        loaded: its problem.
        store: where the record goes.
        file: what the checkpoint beside it is called.
        resume: whether to go on from the checkpoint; None to do so if there is one, and nothing if the run has ended.
        devices: as in `fit`.
        where: as in `fit`.
    """
    from hardfirst._display import RunProgress
    from hardfirst.problems import explained
    from hardfirst.studies import CaseTrials, Description, Entry
    from hardfirst.training import Interrupted, fit, leads

    key, checkpoint = trial.key(trial.of(loaded)), store.folder / file
    if resume is None and (ended := store.find(key)) is not None and store.ended(key):
        return ended
    if resume is False and checkpoint.exists() and not store.ended(key):
        raise InputError(f"{store.folder} holds a run that was stopped: add --resume to go on, or choose another --out.")
    if leads(devices):
        store.begin()
        trials = CaseTrials(problem=loaded.name, network=trial.network, trials=[Entry(key=key, method=str(trial.balancer))])
        store.describe(Description(title=f"{trial.balancer} on {loaded.name}", command=_command(), cases=[trials]))
    try:
        with RunProgress(console, trial.epochs) as progress:
            job = partial(
                fit,
                trial,
                record_file=store.part_file(key),
                checkpoint=checkpoint,
                resume=checkpoint.exists() if resume is None else resume,
                watcher=progress,
                command=_command(),
                devices=devices,
                **where,
            )
            found = explained(trial.problem, job)
    except Interrupted as stopped:
        again = _command() if "--resume" in sys.argv else f"{_command()} --resume"
        _say(f"{stopped} The state is in {checkpoint}. To go on: {again}")
        raise typer.Exit(130) from None
    if leads(devices):
        store.part_file(key).replace(store.record_file(key))
    return found


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="The folder of a study or a run.")],
    form: FormatOption = None,
) -> None:
    """Write the page of a study anew, from its records alone."""
    console.stderr = form is not None
    _report(folder, form)


@app.command()
def watch(
    folder: Annotated[Path, typer.Argument(help="The folder of a study or of runs, which may still be going on.")],
    port: Annotated[int, typer.Option(help="Where to serve the page on 127.0.0.1; 0 for any port that is free.")] = 8400,
) -> None:
    """Serve a study's page to a browser on this machine; it reloads itself as runs end. Ctrl-C ends it."""
    from hardfirst.watch import serve

    with serve(folder, port=port) as (server, address):
        _say(f"{folder} is shown at {address}; Ctrl-C ends it.")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            _say("Ended.")


@app.command("list")
def list_(
    what: Annotated[Listed, typer.Argument(help="What to list.")] = Listed.balancers,
    name: Annotated[str | None, typer.Argument(help="A balancer or a network, to see the whole of its card.")] = None,
) -> None:
    """List the balancers with what they need and cost, the built-in problems, or the networks."""
    from hardfirst import _catalogue
    from hardfirst._display import listing

    if name is None:
        console.print(listing(*getattr(_catalogue, what.value)()))
        if what is Listed.networks:
            _say(_catalogue.own_networks())
    elif what is Listed.problems:
        raise InputError("Problems have no cards; `hardfirst list problems` shows all there is.")
    else:
        _say(_catalogue.balancer(name) if what is Listed.balancers else _catalogue.network(name))


@app.command()
def data(
    name: Annotated[str | None, typer.Argument(help="A problem, to check its files against their checksums.")] = None,
    page: Annotated[Path | None, typer.Option(help="Where to write a page of samples, for problems that have one.")] = None,
) -> None:
    """List the built-in problems' data: whether it is there, how to install it, its size, licence and source."""
    from hardfirst import _catalogue
    from hardfirst._display import listing

    if name is not None:
        _say(_catalogue.check_data(name))
        if page is not None:
            _catalogue.write_samples(name, page)
            _say(f"Samples with their targets: {page}")
        return
    if page is not None:
        raise InputError("--page wants a problem: hardfirst data scenes:small --page samples.html")
    console.print(listing(*_catalogue.data()))
    for sentence in _catalogue.to_install():
        _say(sentence)


@app.command()
def new(
    file: Annotated[Path, typer.Argument(help="The file to write, e.g. my_problem.py.")],
) -> None:
    """Write a commented problem file of your own, which runs as it is."""
    from importlib import resources

    if file.suffix != ".py":
        raise InputError(f"A problem is a Python file: call it {file.name}.py, for instance.")
    if file.exists():
        raise InputError(f"{file} is there already, and stays as it is; choose another name.")
    text = resources.files("hardfirst.problems").joinpath("_template.py").read_text(encoding="utf-8")
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}.") from error
    _say(f"Wrote {file}. It runs as it is: hardfirst compare {file} --seeds 3 --epochs 5")


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


def _report(folder: Path, form: Format | None) -> None:
    from hardfirst._display import comparison_table
    from hardfirst.report import Comparison, formats, summary

    found = Comparison.read(folder)
    page = found.save(folder / "report.html")
    if form is not None:
        typer.echo(getattr(formats, form.value)(found), nl=False)
    for case in found.cases:
        console.print(comparison_table(summary(case), case.name))
    for sentence in found.verdict:
        _say(sentence)
    if found.missing:
        _say(f"{found.missing} of the trials planned so far have not ended; the page is of the others.")
    _say(f"The page: {page}")


def _say(text: str) -> None:
    """Print a sentence as it is: no markup, and no line breaks inside a path or a command."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _command() -> str:
    return shlex.join(["hardfirst", *sys.argv[1:]])


if __name__ == "__main__":
    main()
