"""`fit_together`: train trials as one stacked network, and write the record of each."""

from collections.abc import Sequence
from pathlib import Path

from hardfirst import records
from hardfirst.errors import InputError
from hardfirst.problems import load_problem
from hardfirst.training._check import nothing_to_select
from hardfirst.training._devices import check_devices, setup_fabric
from hardfirst.training._fingerprint import fingerprint
from hardfirst.training._interrupt import Interrupt
from hardfirst.training._lines import write_settings
from hardfirst.training._model_file import save_model
from hardfirst.training._randomness import forked_randomness
from hardfirst.training._trial import Trial
from hardfirst.training.vectorized._group import Group
from hardfirst.training.vectorized._refusal import NotVectorizable, check_alike, check_recipe
from hardfirst.training.vectorized._rows import Rows, in_order
from hardfirst.training.vectorized._run import Run


def fit_together(
    trials: Sequence[Trial],
    *,
    record_files: Sequence[Path],
    models: Sequence[Path | None] = (),
    command: str | None = None,
    accelerator: str = "auto",
) -> list[records.Record]:
    """Train trials as one stacked network on one device, and write the record of each, as `fit` does.

    The trials differ in seed, learning rate or balancer, which is a method that works on losses; or, with equal weights, in
    the only task that they train. Each has the order of examples, the balancer, the best epoch and the end of a single run,
    and its figures up to rounding; the units that dropout drops are others. A trial whose total is not finite ends as
    diverged, and the others continue. In the records, `vectorized` in `made_with` is the number of trials; seconds and
    memory are a trial's share of those of all.

    Args:
        trials: at least one.
        record_files: where the record of each trial is written, a line after each epoch.
        models: where the trained network of each trial is saved at the end, or None; empty for none at all.
        command: what the user typed, for the records.
        accelerator: as in Lightning Fabric: "auto", "cpu", "cuda", "mps".

    Returns:
        The records, in the order of the trials.

    Raises:
        NotVectorizable: these trials cannot be trained together; no record is left. `fit` trains them one by one.
        InputError: the problem's parts do not fit together, a device is missing, or there is not one file for each trial.
        Interrupted: Ctrl-C.
    """
    if not trials or len(trials) != len(record_files):
        raise InputError(f"Expected a record file for each trial; got {len(trials)} trials and {len(record_files)} files.")
    check_alike(trials)
    loaded = load_problem(trials[0].problem)
    order = in_order(trials, loaded)
    rows = Rows([trials[position] for position in order], loaded)
    problem = rows.problem
    for trial, own in zip(rows.trials, rows.problems, strict=True):
        trial.check_criterion(own)
    check_recipe(problem)
    check_devices(1, "auto", accelerator, problem.recipe.precision)
    with forked_randomness():
        group = Group(rows, setup_fabric(1, accelerator, problem.recipe.precision))
        explained = trials[0].balancer.explain_errors
        explained(group.begin)
        data = fingerprint(group.splits) if trials[0].from_file else None
        made_with = {"command": command, "data": data, "vectorized": len(trials)}
        runs = []
        for trial, own, position, restart in zip(rows.trials, rows.problems, order, group.restarts, strict=True):
            writer = records.Writer(record_files[position])
            write_settings(writer, trial, own, group.fabric, group.stack.template, **made_with)
            runs.append(Run(trial, own, writer, restart))
        try:
            explained(lambda: group.train(runs, Interrupt()))
        except NotVectorizable:  # a later batch differs in shape, as augmentation may make it
            for path in record_files:
                path.unlink()
            raise
        read = [records.read(path) for path in record_files]
        for row, (run, position) in enumerate(zip(runs, order, strict=True)):
            model = models[position] if models else None
            if model is not None and read[position].outcome == "finished":
                save_model(model, run.trial, run.problem, epoch=run.best_epoch, weights=group.stack.state_of(row))
    if not all(run.ended for run in runs):  # the others have their records
        raise nothing_to_select(problem)
    return read
