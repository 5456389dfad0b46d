"""The command that trains one network."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hardfirst.cli import _completion
from hardfirst.cli._common import console, full_names, say, say_recipe, say_tables, typed, with_order
from hardfirst.cli._flags import DATA, RECIPE, Criterion, Epochs, LearningRate, Log, Order, ProblemName, Protocol, grouped
from hardfirst.errors import InputError

if TYPE_CHECKING:
    from hardfirst.problems import Problem
    from hardfirst.records import Record
    from hardfirst.studies import Store
    from hardfirst.training import Trial


@grouped
def train(
    problem: ProblemName,
    *,
    data: Annotated[dict[str, Any], DATA],
    balancer: Annotated[
        str,
        typer.Option(
            help="The method with options, such as dtp:gamma=2 (see `hardfirst list balancers`).",
            autocompletion=_completion.one(_completion.balancers),
        ),
    ] = "dtp",
    seed: Annotated[int, typer.Option(help="The seed of the initial weights and of the order of the data.")] = 0,
    network: Annotated[
        str,
        typer.Option(
            help="The network (see `hardfirst list networks`); own is the problem's default.",
            autocompletion=_completion.one(_completion.networks, "own"),
        ),
    ] = "own",
    order: Order = None,
    epochs: Epochs = None,
    criterion: Criterion = None,
    learning_rate: LearningRate = None,
    recipe: Annotated[dict[str, Any], RECIPE],
    protocol: Protocol = None,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, cuda or mps, as in Lightning Fabric.")] = "auto",
    devices: Annotated[int, typer.Option(help="Devices that share each batch; on the CPU, processes.")] = 1,
    strategy: Annotated[str, typer.Option(help="How several devices train together: auto or ddp.")] = "auto",
    log: Log = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder. Default: runs/train-PROBLEM-KEY.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run that was stopped.")] = False,
) -> None:
    """Train one network.

    Ctrl-C saves the state. With --resume the run continues, and ends with the same weights as a run without the stop.

    Exit code: 0 if the run finished; 1 if it diverged; 2 for wrong input or an error in your file; 130 after Ctrl-C.
    """
    from hardfirst.balancers import Spec
    from hardfirst.cli._tables import run_table
    from hardfirst.problems import load_problem
    from hardfirst.recipes._names import CAN_BE_OFF, from_text
    from hardfirst.studies import Store, difficulty_trial, with_hard_tasks, with_measured_order
    from hardfirst.trackers import FolderLog
    from hardfirst.trained import MODEL
    from hardfirst.training import HELD_OUT, Trial, check_devices, is_main_process

    changed = {
        name: from_text(value) if name in CAN_BE_OFF else value for name, value in recipe.items() if value is not None
    }
    check_devices(devices, strategy, accelerator)
    console.quiet = not is_main_process(devices)  # torchrun starts several processes, which all run this function
    (name,) = full_names([problem], data)
    loaded = load_problem(name)
    say_tables([name])
    trial = Trial.plan(
        name,
        Spec.parse(balancer),
        seed=seed,
        epochs=epochs,
        learning_rate=learning_rate,
        network=network if order is None else with_order(network, order),
        criterion="mean" if criterion is None else criterion,
        recipe=changed,
        protocol=protocol or HELD_OUT,
        loaded=loaded,
    )
    check_devices(devices, strategy, accelerator, trial.recipe_of(loaded).precision)
    say_recipe({loaded.name: trial.recipe_of(loaded).settings()})
    where: dict[str, Any] = {"accelerator": accelerator, "devices": devices, "strategy": strategy}

    def store_of(trial: Trial) -> Store:
        return Store(out or Path("runs") / f"train-{loaded.name}-{trial.key(trial.of(loaded))}")

    if (first := difficulty_trial(trial, loaded)) is not None:
        say("First, a run of the problem's own network with equal weights measures how hard each task is.")
        measured = _run(first, loaded, store_of(first), "measuring.pt", resume=None, **where)
        trial = with_hard_tasks(with_measured_order(trial, loaded, measured), loaded, measured)
        say(f"Network: {trial.network}\nCriterion: {trial.criterion}")
    store = store_of(trial)
    track = FolderLog(store.folder, log).update if log else lambda: None
    if resume and store.ended(trial.key(trial.of(loaded))):
        track()
        say(f"The run in {store.folder} has ended already.")
        return
    checkpoint = store.folder / "checkpoint.pt"
    resumes = resume and (first is None or checkpoint.exists())  # it may have been stopped in the first run
    record = _run(trial, loaded, store, checkpoint.name, resume=resumes, **where)
    if is_main_process(devices):
        track()
    if record.outcome == "diverged":
        say(f"The run diverged: {record.reason}.")
        raise typer.Exit(1)
    console.print(run_table(record))
    if record.restarted:
        epoch = record.candidates[0]["epoch"]
        say(f"After a search of {record.restarted} steps, network and optimizer went back to step 0, in epoch {epoch}.")
    say(f"The trained network: {store.folder / MODEL}; to use it: hardfirst predict {store.folder}, or hardfirst.load.")
    say(f"A page: hardfirst report {store.folder}")


def _run(
    trial: "Trial", problem: "Problem", store: "Store", file: str, *, resume: bool | None, devices: int, **where: Any
) -> "Record":
    """Train one network to its end, and return its record.

    Args:
        trial: what to train.
        problem: the trial's.
        store: where the record goes.
        file: the name of the checkpoint in the same folder.
        resume: whether to resume from the checkpoint; None for a run that is done if it has ended, and resumed if it has a
            checkpoint.
        devices: as in `fit`.
        where: as in `fit`.
    """
    from hardfirst.cli._progress import RunProgress
    from hardfirst.problems import explained
    from hardfirst.problems.tables._card import data_cards
    from hardfirst.records.description import CaseTrials, Description, Entry
    from hardfirst.trained import MODEL
    from hardfirst.training import Interrupted, fit, is_main_process

    key, checkpoint = trial.key(trial.of(problem)), store.folder / file
    if resume is None and (ended := store.find(key)) is not None and store.ended(key):
        return ended
    if resume is False and checkpoint.exists() and not store.ended(key):
        raise InputError(f"{store.folder} holds a run that was stopped: add --resume to continue, or choose another --out.")
    if is_main_process(devices):
        store.begin()
        trials = CaseTrials(problem=problem.name, network=trial.network, trials=[Entry(key=key, method=str(trial.balancer))])
        title, tables = f"{trial.balancer} on {problem.name}", data_cards({problem.name: trial.problem})
        store.describe(Description(title=title, command=typed(), cases=[trials], tables=tables))
    try:
        with RunProgress(console, trial.epochs) as progress:
            job = partial(
                fit,
                trial,
                record_file=store.part_file(key),
                checkpoint=checkpoint,
                model=store.folder / MODEL if file == "checkpoint.pt" else None,
                resume=checkpoint.exists() if resume is None else resume,
                watcher=progress,
                command=typed(),
                devices=devices,
                **where,
            )
            record = explained(trial.problem, job)
            if is_main_process(devices):  # before anything is printed: a run outlives the terminal or pipe that it prints to
                store.part_file(key).replace(store.record_file(key))
    except Interrupted as stopped:
        again = typed() if "--resume" in sys.argv else f"{typed()} --resume"
        say(f"{stopped} The state is in {checkpoint}. To resume: {again}")
        raise typer.Exit(130) from None
    return record
