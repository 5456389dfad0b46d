"""From a trial to its record."""

from functools import partial
from pathlib import Path

import torch

from hardfirst import records
from hardfirst.networks import parameters
from hardfirst.problems import explained
from hardfirst.training import _checkpoint
from hardfirst.training._devices import check_devices, connect, leads, processes
from hardfirst.training._interrupt import Interrupt, Told
from hardfirst.training._launch import launch
from hardfirst.training._training import Training, Watcher
from hardfirst.training._trial import Trial


def fit(
    trial: Trial,
    *,
    record_file: Path,
    checkpoint: Path | None = None,
    resume: bool = False,
    watcher: Watcher | None = None,
    command: str | None = None,
    accelerator: str = "auto",
    devices: int = 1,
    strategy: str = "auto",
) -> records.Record:
    """Train a network as the trial says, and write the record.

    Validation comes after each epoch; the epoch with the best validation KPI, by the trial's criterion, is selected, and the
    test split is read once, with that epoch's weights; a trial whose `test` is false never reads it. A total that is not
    finite ends the run as "diverged", which is an outcome too.

    Several devices share each batch, and what comes of it is what one device makes of the whole batch, up to rounding, for
    losses that are means over labels. Three things are each device's own: what dropout drops; the statistics of BatchNorm in
    training, of which those that evaluation uses are the first device's; and what a KPI sees that is not a mean over
    examples, whose value is then the mean over devices. Each device has a process, which this function starts, so that a
    script that calls it does so below `if __name__ == "__main__":`, or which torchrun has started.

    Args:
        trial: what to run.
        record_file: where the record goes, a line per epoch as the run goes on.
        checkpoint: where to save after every epoch and on Ctrl-C; None saves nothing.
        resume: go on from the checkpoint, on as many devices. On the CPU the final weights are those of an uninterrupted
            run, bit for bit.
        watcher: is told of steps and epochs.
        command: what the user typed, for the record.
        accelerator: as in Lightning Fabric: "auto", "cpu", "cuda", "mps".
        devices: how many devices to train on; on the CPU, how many processes.
        strategy: how several devices train together: "ddp", which is also what "auto" means.

    Returns:
        The record.

    Raises:
        InputError: the problem's parts do not fit together, the checkpoint is not of this run, or the devices are not there.
        Interrupted: Ctrl-C; the state is saved.
    """
    check_devices(devices, strategy, accelerator)
    job = partial(
        _train,
        trial,
        record_file=record_file,
        checkpoint=checkpoint,
        resume=resume,
        command=command,
        accelerator=accelerator,
        devices=devices,
    )
    if devices == 1:
        return job(watcher=watcher, interrupt=Interrupt())
    first = leads(devices)
    if processes():
        return job(watcher=watcher if first else None, interrupt=Interrupt(insisting=False))
    return launch(partial(_explained, job, trial.problem), devices, watcher=watcher, checkpoint=checkpoint)


def _explained(job: "partial[records.Record]", name: str, *, watcher: Watcher | None, interrupt: Told) -> records.Record:
    """The job, where an error still knows which line of the user's file it came from."""
    return explained(name, lambda: job(watcher=watcher, interrupt=interrupt))


def _train(
    trial: Trial,
    *,
    record_file: Path,
    checkpoint: Path | None,
    resume: bool,
    watcher: Watcher | None,
    command: str | None,
    accelerator: str,
    devices: int,
    interrupt: Interrupt | Told,
) -> records.Record:
    """What `fit` does, in one process or in each of several."""
    problem = trial.load()
    fabric = connect(devices, accelerator)
    with torch.random.fork_rng():
        run = Training(trial, problem, fabric, interrupt)
        run.begin()
        if resume and checkpoint is not None:
            run.restore(_checkpoint.load(checkpoint, trial.describe(problem), devices))
        writer = None
        if run.ranks.first:
            writer = records.Writer(record_file, keep_epochs=run.position.epoch if resume else None)
            if writer.empty:
                size = parameters(run.ranks.bare)
                writer.trial(trial.describe(problem), problem.task_names, command, devices=devices, parameters=size)
        trial.balancer.explain_errors(lambda: run.train(writer, checkpoint, watcher))
        return run.ranks.shared(records.read(record_file) if run.ranks.first else None)  # type: ignore[return-value]
