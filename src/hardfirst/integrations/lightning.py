"""Lightning: a mixin for a LightningModule, and a callback that writes run records.

This module imports Lightning only when a class is used, and works with both of its packages, `lightning` and
`pytorch_lightning`.

A balancer in a LightningModule is a submodule with buffers: it moves with the module, and checkpoints include it. For a loss
balancer, `return self.balancer(losses, kpis)` in `training_step` is therefore enough.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import LBFGS

from hardfirst.balancers import Balancer
from hardfirst.errors import InputError, check_names, mapping
from hardfirst.integrations._adapter import LoopAdapter, summarize_tasks
from hardfirst.integrations._lightning_record import RecordRuns
from hardfirst.stopping import TaskEarlyStopping

__all__ = ["Balanced", "RecordRuns"]

_START = "hardfirst_start"  # the key of the initial weights in a checkpoint


class Balanced:
    """Mixin for a LightningModule with a balancer, for automatic optimization; list it before LightningModule.

    In addition to `return self.balancer(losses, kpis)`, it provides:

    - gradient balancers, with Lightning's clipping, accumulation and mixed precision. The total may be scaled, and added to
      other terms: its backward delivers the balanced gradients, times its own gradient;
    - accumulation by the balancer's rules: a method that learns from losses learns only from the last micro-batch of a step;
      KPIs are averaged over a step's micro-batches, and with more than one they are used from the next step on;
    - one step of the balancer for each batch under LBFGS, which evaluates the loss of a batch several times;
    - weights and KPIs in the log, as `weight/TASK` and `kpi/TASK`, once per epoch: means over the batches that have them;
    - `evaluated`, which logs validation KPIs with `worst_task`, `mean_over_tasks` and `delta_m` for ModelCheckpoint and
      EarlyStopping to monitor, and updates the balancer if KPIs come from validation. Lightning's sanity validation never
      changes its state;
    - early stopping by task, with `self.stopping = TaskEarlyStopping(tasks)`;
    - the restart of methods that have one, such as `hard_first`: the module's parameters and buffers and the state of the
      optimizers go back to step 0. The learning-rate schedule continues, and callbacks are not told: a monitor may keep an
      epoch before the restart.

    Attributes:
        balancer: any balancer; a submodule.
        stopping: a `TaskEarlyStopping`, if any.
        kpis_from: "batch" for the KPIs passed to `balance`, or "validation" for those passed to `evaluated`.
        single_task: by task, the KPI of a single-task network on validation. If given, `delta_m` is logged, the mean
            relative gain over these KPIs in percent.

    Example:
        A whole module; lines with + are added for balancing::

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
    _reported: bool = False
    _tested: Mapping[str, Mapping[str, float]] | None = None

    def shared_parameters(self) -> Iterable[nn.Parameter]:
        """Return the parameters that several tasks use; by default `self.network.shared_parameters()`.

        Raises:
            InputError: `self.network` has no such method; override this one.
        """
        shared = getattr(getattr(self, "network", None), "shared_parameters", None)
        if not callable(shared):
            raise InputError(
                f"{type(self.balancer).__name__} needs the shared parameters. Override `shared_parameters(self)` of "
                f"{type(self).__name__}, or give it a `self.network` that has this method."
            )
        parameters: Iterable[nn.Parameter] = shared()
        return parameters

    def balance(self, losses: Mapping[str, Tensor], kpis: Mapping[str, Any] | None = None) -> Tensor:
        """Return the balanced total for `training_step`; outside training, the sum of the losses regardless of weights.

        Each call in training is one step of the balancer.

        Args:
            losses: by task, a 0-d tensor with its graph. Leave out a task without labels, or pass 0.
            kpis: by task, this batch's KPI. Leave it out if KPIs come from validation.

        Raises:
            InputError: a name is unknown, or a value is invalid; or the balancer needs the number of steps, which the
                Trainer does not know.
        """
        adapter, trainer, micro_batches = self._adapter, self._host.trainer, self._host.trainer.accumulate_grad_batches
        if not trainer.training:
            return adapter.plain_sum(losses)
        if (stopping := self._stopping) is not None:
            adapter.check_losses(losses)
            losses = stopping(losses)
        self._begin()
        automatic = self._host.automatic_optimization
        return adapter.total(
            losses,
            kpis,
            last=(trainer.fit_loop.batch_idx + 1) % micro_batches == 0 or trainer.is_last_batch,
            several=micro_batches > 1,
            batch=trainer.fit_loop.total_batch_idx if automatic else None,
            closure=automatic and any(isinstance(optimizer, LBFGS) for optimizer in trainer.optimizers),
        )

    def evaluated(self, kpis: Mapping[str, Tensor | float], losses: Mapping[str, Tensor | float] | None = None) -> None:
        """Report the figures of the validation or test split; call it once, at the end of the split.

        Args:
            kpis: by task, a number in [0, 1] over the whole split and all ranks, as torchmetrics' `compute` returns it. A
                task that is left out counts as NaN, and makes `worst_task` NaN.
            losses: by task, numbers in the same form; used only for the record.

        Raises:
            InputError: a name is unknown, a KPI is not in [0, 1], or `single_task` lacks a KPI above 0 for a task.
        """
        trainer, adapter, tasks = self._host.trainer, self._adapter, self.balancer.tasks
        adapter.check_kpis(kpis)
        values = {task: float(kpi) for task, kpi in kpis.items() if kpi is not None}
        check_names("task", losses or {}, tasks)
        self._check_single_task()
        if trainer.sanity_checking:
            return
        figures: dict[str, dict[str, float]] = {task: {"kpi": kpi} for task, kpi in values.items()}
        for task, loss in (losses or {}).items():
            figures.setdefault(task, {})["loss"] = float(loss)
        stage = "test" if trainer.testing else "validation"
        logged = {f"{stage}_kpi/{task}": kpi for task, kpi in values.items()}
        self._host.log_dict(logged | summarize_tasks(tasks, values, self.single_task))
        if trainer.testing:
            self._tested = figures
        if trainer.state.fn != "fit":  # `trainer.validate` and `trainer.test` change nothing
            return
        self._reported = True
        adapter.record_validation(figures)
        adapter.warn_of_missing(values, lambda missing: f"Also give `evaluated` the KPI of {', '.join(missing)}.")
        if (stopping := self._stopping) is not None:
            stopping.update(values)
            trainer.should_stop = trainer.should_stop or len(stopping.stopped) == len(stopping.tasks)

    def backward(self, loss: Tensor, *arguments: Any, **named: Any) -> None:
        """End one evaluation of a batch's loss (a Lightning hook), of which LBFGS runs several."""
        super().backward(loss, *arguments, **named)  # type: ignore[misc]  # of LightningModule, the next base class
        self._adapter.evaluations.end()

    def on_train_start(self) -> None:
        """Keep the weights of step 0, if the method goes back to them (a Lightning hook).

        An override must call `super()`, or the buffers are those after the first forward.
        """
        super().on_train_start()  # type: ignore[misc]  # of LightningModule, the next base class
        self._begin()

    def on_train_epoch_end(self) -> None:
        """End the balancer's epoch (a Lightning hook). An override must call `super().on_train_epoch_end()`."""
        parent = getattr(super(), "on_train_epoch_end", None)
        if callable(parent):
            parent()
        self.balancer.end_epoch()
        self._host.log_dict(self._adapter.pop_log("/"))
        self._adapter.evaluations.begin(None)
        self._warn_without_validation()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the initial weights, if a restart is still to come (a Lightning hook). An override must call `super()`."""
        super().on_save_checkpoint(checkpoint)  # type: ignore[misc]  # of LightningModule, the next base class
        if (start := self._adapter.restart.state_dict()) is not None:
            checkpoint[_START] = start

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Load the initial weights (a Lightning hook). An override must call `super()`."""
        super().on_load_checkpoint(checkpoint)  # type: ignore[misc]  # of LightningModule, the next base class
        self._adapter.restart.load_state_dict(checkpoint.get(_START))

    def _begin(self) -> None:
        """Tell the balancer the number of steps, and watch new optimizers for the restart."""
        optimizers, restart = self._host.trainer.optimizers, self._adapter.restart
        if self.balancer.needs_steps:
            self.balancer.plan_steps(self._planned_steps())
        if restart.optimizers is not optimizers:
            restart.watch(self._host, optimizers)

    def _planned_steps(self) -> int:
        steps = self._host.trainer.estimated_stepping_batches
        if math.isinf(steps):
            raise InputError(
                f"{type(self.balancer).__name__} needs the number of training steps, and this Trainer has no limit. Give it "
                "`max_epochs` or `max_steps`, or give the balancer `steps`."
            )
        return int(steps)

    def _check_single_task(self) -> None:
        if self.single_task is None:
            return
        mapping("single_task", self.single_task, f"{{{self.balancer.tasks[0]!r}: 0.8}}")
        check_names("task", self.single_task, self.balancer.tasks)
        for task in self.balancer.tasks:
            if not self.single_task.get(task, math.nan) > 0:
                raise InputError(
                    f"Expected `single_task` to have a KPI above 0 for task {task!r}, since `delta_m` is relative to it; "
                    f"got {self.single_task.get(task, 'none')}."
                )

    def _warn_without_validation(self) -> None:
        """Warn if an epoch with a validation, or the first without any, has ended and `evaluated` was not called."""
        trainer = self._host.trainer
        every = trainer.check_val_every_n_epoch or 1
        if not self._reported and (not trainer.enable_validation or (trainer.current_epoch + 1) % every == 0):
            remedy = "Call `self.evaluated(kpis)` in `on_validation_epoch_end`, with a validation loader in `fit`."
            self._adapter.warn_of_missing({}, lambda _: remedy)

    @property
    def _host(self) -> Any:
        """Return this object, typed as a LightningModule."""
        return self

    @property
    def _stopping(self) -> TaskEarlyStopping | None:
        # A class attribute `stopping = None` would hide the submodule, which nn.Module finds in __getattr__.
        return getattr(self, "stopping", None)

    @property
    def _adapter(self) -> LoopAdapter:
        if self._cached_adapter is None:
            self._cached_adapter = LoopAdapter(self.balancer, self.shared_parameters, kpis_from=self.kpis_from)
        return self._cached_adapter
