"""`fit`: train a trial and write its record."""

from functools import partial
from pathlib import Path

from hardfirst import records
from hardfirst.errors import InputError
from hardfirst.problems import Problem, explained
from hardfirst.training import _checkpoint
from hardfirst.training._check import check_labels
from hardfirst.training._devices import check_devices, is_main_process, setup_fabric, torchrun_world_size
from hardfirst.training._fingerprint import Fingerprint, fingerprint, same_data
from hardfirst.training._interrupt import Interrupt, RemoteInterrupt
from hardfirst.training._launch import launch
from hardfirst.training._lines import Watcher, write_settings
from hardfirst.training._model_file import save_model
from hardfirst.training._randomness import forked_randomness
from hardfirst.training._training import Training
from hardfirst.training._trial import Trial


def fit(
    trial: Trial,
    *,
    record_file: Path,
    checkpoint: Path | None = None,
    model: Path | None = None,
    resume: bool = False,
    watcher: Watcher | None = None,
    command: str | None = None,
    accelerator: str = "auto",
    devices: int = 1,
    strategy: str = "auto",
    problem: Problem | None = None,
) -> records.Record:
    """Train a network with the trial's settings, and write the record.

    Each epoch ends with a validation. The epoch with the best validation KPI, by the trial's criterion, is selected, and the
    test split is evaluated once, with that epoch's weights; a trial with `test=False` never reads it. A total that is not
    finite ends the run with the outcome "diverged", at most 64 steps later; the record names the first such step.

    Several devices share each batch. The result is that of one device on the whole batch, up to rounding, for losses that
    are means over labels. Three things differ by device: the units that dropout drops; the statistics of BatchNorm in
    training, while evaluation uses those of the first device; and KPIs of a batch that are not means over examples, which
    are averaged over devices. Each device has its own process, started by torchrun or by this function. In the latter case,
    a script must call `fit` below `if __name__ == "__main__":`.

    Args:
        trial: the settings of the run.
        record_file: where the record is written, a line after each epoch.
        checkpoint: where to save after each epoch and on Ctrl-C; None saves nothing.
        model: where to save the trained network at the end, for `hardfirst.load`; None saves nothing.
        resume: continue from the checkpoint, on the same number of devices. On the CPU the final weights equal those of an
            uninterrupted run bit for bit.
        watcher: called after each step and epoch.
        command: the command that the user typed, for the record.
        accelerator: as in Lightning Fabric: "auto", "cpu", "cuda", "mps".
        devices: the number of devices; on the CPU, of processes.
        strategy: how several devices train together: "ddp", which is also the meaning of "auto".
        problem: the problem that the trial names. Default: loaded by its name.

    Returns:
        The record.

    Raises:
        InputError: the problem's parts do not match, the checkpoint is from another run, or a device is missing.
        Interrupted: Ctrl-C; the state is saved.
    """
    check_devices(devices, strategy, accelerator, dict(trial.recipe).get("precision", "32-true"))
    job = partial(
        _train,
        trial,
        record_file=record_file,
        checkpoint=checkpoint,
        model=model,
        resume=resume,
        command=command,
        accelerator=accelerator,
        devices=devices,
        problem=problem,
    )
    if devices == 1:
        return job(watcher=watcher, interrupt=Interrupt())
    if torchrun_world_size():
        return job(watcher=watcher if is_main_process(devices) else None, interrupt=Interrupt(raise_on_second=False))
    return launch(partial(_explained, job, trial.problem), devices, watcher=watcher, checkpoint=checkpoint)


def _explained(
    job: "partial[records.Record]", name: str, *, watcher: Watcher | None, interrupt: RemoteInterrupt
) -> records.Record:
    """Call the job; add the line in the user's file to an error before it is pickled without its traceback."""
    return explained(name, lambda: job(watcher=watcher, interrupt=interrupt))


def _train(
    trial: Trial,
    *,
    record_file: Path,
    checkpoint: Path | None,
    model: Path | None,
    resume: bool,
    watcher: Watcher | None,
    command: str | None,
    accelerator: str,
    devices: int,
    problem: Problem | None,
    interrupt: Interrupt | RemoteInterrupt,
) -> records.Record:
    """`fit` in one process, or in each of several."""
    problem = trial.load() if problem is None else trial.of(problem)
    trial.check_criterion(problem)
    check_devices(devices, "auto", accelerator, problem.recipe.precision)
    fabric = setup_fabric(devices, accelerator, problem.recipe.precision)
    with forked_randomness():
        run = Training(trial, problem, fabric, interrupt)
        run.begin()
        check_labels(problem, run.splits)
        if checkpoint is not None or model is not None:
            _checkpoint.check_loadable(run.network.state_dict())
            if checkpoint is not None and run.processes.is_main:
                records.remove_parts(checkpoint)  # of processes that were killed
        if resume and checkpoint is not None:
            run.restore(_checkpoint.load(checkpoint, trial.describe(problem), devices))
        data = fingerprint(run.splits) if trial.from_file else None
        if resume and data is not None and record_file.exists():
            _check_same_data(records.read(record_file), data)
        writer = None
        if run.processes.is_main:
            writer = records.Writer(record_file, keep_epochs=run.position.epoch if resume else None)
            if writer.empty:
                made_with = {"command": command, "devices": devices, "data": data}
                write_settings(writer, trial, problem, fabric, run.processes.module, **made_with)
        trial.balancer.explain_errors(lambda: run.train(writer, checkpoint, watcher))
        record = records.read(record_file) if run.processes.is_main else None
        if record is not None and record.outcome == "finished" and model is not None:
            save_model(model, trial, problem, epoch=run.position.best_epoch, weights=run.best)
        return run.processes.broadcast(record)  # type: ignore[return-value]


def _check_same_data(record: records.Record, data: Fingerprint) -> None:
    """Raise `InputError` if the stopped run with this record had other data."""
    if not same_data(record.made_with.get("data", data), data):
        raise InputError(
            "The data has changed since the run was stopped. Restore it, or choose another --out and leave out --resume to "
            "start again."
        )
