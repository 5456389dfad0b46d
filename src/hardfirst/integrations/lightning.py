"""Lightning: a mixin for a LightningModule, and a callback that writes run records.

Nothing here imports Lightning before it is used, and both names of it will do, `lightning` and `pytorch_lightning`.

A balancer in a LightningModule is a module with buffers like any other: it moves with the module, and is in its checkpoints.
So for a loss balancer the smallest change is `return self.balancer(losses, kpis)` from `training_step`, and no more.
"""

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hardfirst.balancers import Balancer
from hardfirst.errors import InputError, MissingPackage
from hardfirst.integrations._adapter import LoopAdapter, summarize_tasks
from hardfirst.integrations._recorder import RunRecorder
from hardfirst.stopping import TaskEarlyStopping

_NAMESPACES = ("lightning.pytorch", "pytorch_lightning")


class Balanced:
    """Mixin for a LightningModule with a balancer, for automatic optimisation; it stands before LightningModule.

    What it adds to `return self.balancer(losses, kpis)`:

    - gradient balancers, with clipping, accumulation and mixed precision as Lightning does them;
    - accumulation by the rules of the balancer: of a step's micro-batches only the last one teaches a method that learns
      from losses, and KPIs are averaged over them; with more than one they count from the next step on;
    - weights and KPIs in the log, as `weight/TASK` and `kpi/TASK`, means over the epoch;
    - `evaluated`: validation KPIs in the log, with `worst_task`, `mean_over_tasks` and `delta_m` for ModelCheckpoint and
      EarlyStopping to monitor; for KPIs that come from validation they drive the balancer. Lightning's sanity validation
      never reaches its state;
    - task-wise early stopping, with `self.stopping = TaskEarlyStopping(tasks)`.

    Attributes:
        balancer: of any kind; a submodule.
        stopping: a `TaskEarlyStopping`, if any.
        kpis_from: "batch", the KPIs that `balance` is given, or "validation", those that `evaluated` is given.
        single_task: by task, what a single-task network reaches on validation: with it `delta_m` is logged, the mean
            relative gain in per cent.

    Example:
        The whole of a module, where lines with + are what balancing takes::

              class Digits(
            +     Balanced,
                  lightning.LightningModule
              ):
                  def __init__(self):
                      super().__init__()
                      self.network = ...
            +         self.balancer = hardfirst.DTP(["digit", "bright"])

                  def training_step(self, batch, index):
                      losses, kpis = self.measure(batch)
            -         return sum(losses.values())
            +         return self.balance(losses, kpis)

                  def on_validation_epoch_end(self):
            +         self.evaluated({"digit": self.digit.compute(), "bright": self.bright.compute()})
    """

    balancer: Balancer
    kpis_from: str = "batch"
    single_task: Mapping[str, float] | None = None

    _cached_adapter: LoopAdapter | None = None
    _tested: Mapping[str, Mapping[str, float]] | None = None

    def shared_parameters(self) -> Iterable[nn.Parameter]:
        """The parameters that several tasks use: those of `self.network`, if it says so.

        Raises:
            InputError: there is no such network; override this method.
        """
        shared = getattr(getattr(self, "network", None), "shared_parameters", None)
        if not callable(shared):
            raise InputError(
                f"{type(self.balancer).__name__} needs the shared parameters: override `shared_parameters(self)` of "
                f"{type(self).__name__}, or give it a `self.network` that has the method."
            )
        found: Iterable[nn.Parameter] = shared()
        return found

    def balance(self, losses: Mapping[str, Tensor], kpis: Mapping[str, Any] | None = None) -> Tensor:
        """What `training_step` returns.

        Args:
            losses: by task, a 0-d tensor with its graph; a task without labels is left out, or 0.
            kpis: by task, this batch's KPI; left out where KPIs come from validation.

        Raises:
            InputError: a name is unknown, or a value will not do.
        """
        losses = dict(losses) if self._stopping is None else self._stopping(losses)
        steps, trainer, each = self._adapter, self._host.trainer, self._host.trainer.accumulate_grad_batches
        last = (trainer.fit_loop.batch_idx + 1) % each == 0 or trainer.is_last_batch
        total = steps.total(losses, kpis, training=self._host.training, last=last, several=each > 1)
        if self._host.training:
            self._host.log_dict(steps.latest, on_step=False, on_epoch=True, batch_size=1)
        return total

    def evaluated(self, kpis: Mapping[str, Tensor | float], losses: Mapping[str, Tensor | float] | None = None) -> None:
        """Say what each task reached on the validation or test split; call it once, at the end of that.

        Args:
            kpis: by task, over the whole split and all ranks, as torchmetrics' `compute` gives it.
            losses: likewise; only for the record.
        """
        trainer = self._host.trainer
        if trainer.sanity_checking:
            return
        figures = {task: {"kpi": float(kpi)} for task, kpi in kpis.items()}
        for task, loss in (losses or {}).items():
            figures.setdefault(task, {})["loss"] = float(loss)
        values = {task: found["kpi"] for task, found in figures.items() if "kpi" in found}
        stage = "test" if trainer.testing else "validation"
        logged = {f"{stage}_kpi/{task}": kpi for task, kpi in values.items()}
        self._host.log_dict(logged | summarize_tasks(values, self.single_task))
        if trainer.testing:
            self._tested = figures
        if trainer.state.fn != "fit":  # `trainer.validate` and `trainer.test` change nothing
            return
        self._adapter.record_validation(figures)
        if (stopping := self._stopping) is not None:
            stopping.update(values)
            trainer.should_stop = trainer.should_stop or len(stopping.stopped) == len(stopping.tasks)

    def backward(self, loss: Tensor, *arguments: Any, **named: Any) -> None:
        """Lightning's hook: gradient balancers go back through the network once for each task."""
        host: Callable[..., None] = super().backward  # type: ignore[misc]  # of the LightningModule beside it
        self._adapter.backward(loss, lambda one: host(one, *arguments, **named))

    def on_train_epoch_end(self) -> None:
        """Lightning's hook: methods with epochs are told; call `super().on_train_epoch_end()` from one of your own."""
        parent = getattr(super(), "on_train_epoch_end", None)
        if callable(parent):
            parent()
        self.balancer.end_epoch()

    @property
    def _host(self) -> Any:
        """This module as the LightningModule that it is."""
        return self

    @property
    def _stopping(self) -> TaskEarlyStopping | None:
        # no attribute of the class could stand for "none": it would hide the submodule
        return getattr(self, "stopping", None)

    @property
    def _adapter(self) -> LoopAdapter:
        if self._cached_adapter is None:
            self._cached_adapter = LoopAdapter(self.balancer, self.shared_parameters, kpis_from=self.kpis_from)
        return self._cached_adapter


class RecordRuns:
    """Callback that writes a run record for a `Balanced` module, so that `hardfirst report FOLDER` draws the run.

    It is a callback of whichever Lightning is in use. Call `trainer.test` after `trainer.fit`, with `ckpt_path="best"` for
    the best epoch's weights: a comparison is of test figures.

    Args:
        folder: where records go; runs of several balancers and seeds may share it.
        problem: what the page calls the problem.
        balancer: what it calls the method, "dtp:gamma=2" for instance.
        seed: the run's.
        settings: whatever else tells runs apart.

    Example:
        Two lines beside the trainer::

            trainer = lightning.Trainer(callbacks=[RecordRuns("runs/mine", problem="digits", balancer="dtp", seed=0)])
            trainer.fit(module)
            trainer.test(module, ckpt_path="best")
    """

    def __new__(cls, *_: Any, **__: Any) -> "RecordRuns":
        bases = tuple(import_module(name).Callback for name in _NAMESPACES if sys.modules.get(name))
        if not bases:
            try:
                bases = (import_module(_NAMESPACES[0]).Callback,)
            except ModuleNotFoundError:
                raise MissingPackage('RecordRuns needs Lightning: pip install "hardfirst[lightning]".') from None
        made: RecordRuns = object.__new__(type(cls.__name__, (cls, *bases), {}))
        return made

    def __init__(
        self, folder: str | Path, *, problem: str, balancer: str, seed: int, settings: Mapping[str, Any] | None = None
    ) -> None:
        trial = {"problem": problem, "balancer": balancer, "seed": seed, **(settings or {})}
        self.recorder = RunRecorder(folder, trial)
        self._start = time.monotonic()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Write the first line."""
        if not isinstance(pl_module, Balanced):
            raise InputError(f"RecordRuns is for modules with the mixin Balanced; {type(pl_module).__name__} has it not.")
        if trainer.is_global_zero:
            self.recorder.begin(pl_module.balancer.tasks, pl_module, epochs=trainer.current_epoch)  # type: ignore[arg-type]

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Note the time."""
        self._start = time.monotonic()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Write the epoch's line."""
        figures = pl_module._adapter.pop_epoch()
        if trainer.is_global_zero:
            rate = float(trainer.optimizers[0].param_groups[0]["lr"]) if trainer.optimizers else 0.0
            self.recorder.epoch(seconds=time.monotonic() - self._start, learning_rate=rate, tasks=figures)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Write the last line."""
        if trainer.is_global_zero and trainer.state.status != "interrupted":
            self.recorder.end()

    def on_test_end(self, trainer: Any, pl_module: Any) -> None:
        """Write the test split's line."""
        if trainer.is_global_zero and pl_module._tested is not None:
            self.recorder.test(pl_module._tested, best=trainer.ckpt_path is not None)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """A run that fails is an outcome; one that is interrupted goes on later."""
        if trainer.is_global_zero and not isinstance(exception, KeyboardInterrupt):
            self.recorder.end("failed", f"{type(exception).__name__}: {exception}")
