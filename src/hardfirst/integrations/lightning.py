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

import torch
from torch import Tensor, nn

from hardfirst.balancers import Balancer, LossBalancer, task_weights
from hardfirst.errors import InputError
from hardfirst.integrations._means import Means
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

    _step: "tuple[Tensor, Mapping[str, Tensor], Mapping[str, Any] | None] | None" = None
    _means: Means | None = None
    _micro: Means | None = None
    _evaluated: dict[str, dict[str, float]] | None = None

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
        observed = kpis if self.kpis_from == "batch" else None
        last, several = self._place_in_step()
        self.balancer.train(self._host.training and last)
        before = None if several else observed
        shared = list(self.shared_parameters()) if "shared" in self.balancer.needs else None
        if isinstance(self.balancer, LossBalancer):
            total: Tensor = self.balancer(losses, before, shared=shared)
            weights = task_weights(total, losses)
        else:
            total = torch.stack([loss.float() for loss in losses.values()]).sum()
            self._step, weights = (total, losses, before), dict(self.balancer.weights)
        if self._host.training:
            if several and observed is not None:
                self._observe(observed, last=last)
            self._log(losses, kpis or {}, weights)
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
        found = {task: {"kpi": float(kpi)} for task, kpi in kpis.items()}
        for task, loss in (losses or {}).items():
            found.setdefault(task, {})["loss"] = float(loss)
        self._evaluated = found
        stage = "test" if trainer.testing else "validation"
        values = {task: figures["kpi"] for task, figures in found.items()}
        logged = {f"{stage}_kpi/{task}": kpi for task, kpi in values.items()}
        self._host.log_dict(logged | self._over_tasks(values))
        if trainer.state.fn != "fit":  # `trainer.validate` and `trainer.test` change nothing
            return
        if self.kpis_from == "validation":
            self.balancer.update(values)
        if (stopping := self._stopping) is not None:
            stopping.update(values)
            trainer.should_stop = trainer.should_stop or len(stopping.stopped) == len(stopping.tasks)

    def backward(self, loss: Tensor, *arguments: Any, **named: Any) -> None:
        """Lightning's hook: gradient balancers go back through the network once for each task."""
        host: Callable[..., None] = super().backward  # type: ignore[misc]  # of the LightningModule beside it
        if self._step is None:
            host(loss, *arguments, **named)
            return
        (total, losses, kpis), self._step = self._step, None
        # what Lightning has done to the loss on its way here: divided for accumulation, scaled for float16
        (factor,) = torch.autograd.grad(loss, total, retain_graph=True)
        self.balancer.backward(
            losses, kpis, shared=self.shared_parameters(), using=lambda one: host(one * factor, *arguments, **named)
        )

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

    def _place_in_step(self) -> tuple[bool, bool]:
        """Whether this is the last micro-batch of its step, and whether a step has several."""
        trainer = self._host.trainer
        each = trainer.accumulate_grad_batches
        return (trainer.fit_loop.batch_idx + 1) % each == 0 or trainer.is_last_batch, each > 1

    def _observe(self, kpis: Mapping[str, Any], *, last: bool) -> None:
        """Average a step's KPIs; the last micro-batch's call hands them on."""
        self._micro = self._micro or Means()
        self._micro.add({task: kpi for task, kpi in kpis.items() if kpi is not None})
        if last:
            self.balancer.update(self._micro.read())

    def _log(self, losses: Mapping[str, Tensor], kpis: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
        self._means = self._means or Means()
        named = {f"loss/{task}": loss for task, loss in losses.items()}
        named |= {f"kpi/{task}": kpi for task, kpi in kpis.items() if kpi is not None}
        named |= {f"weight/{task}": weight for task, weight in weights.items()}
        self._means.add(named)
        values = {name: torch.as_tensor(value).detach().float() for name, value in named.items()}
        known = {name: value for name, value in values.items() if not name.startswith("loss/")}
        self._host.log_dict(known, on_step=False, on_epoch=True, batch_size=1)

    def _over_tasks(self, kpis: Mapping[str, float]) -> dict[str, float]:
        values = list(kpis.values())
        found = {"worst_task": min(values), "mean_over_tasks": sum(values) / len(values)}
        if self.single_task is not None:
            gains = [(kpi - self.single_task[task]) / self.single_task[task] for task, kpi in kpis.items()]
            found["delta_m"] = 100 * sum(gains) / len(gains)
        return found

    def _epoch_figures(self) -> dict[str, dict[str, float]]:
        """What a record says of the epoch, by task."""
        means = self._means.read() if self._means is not None else {}
        found: dict[str, dict[str, float]] = {task: {} for task in self.balancer.tasks}
        for name, value in means.items():
            what, _, task = name.partition("/")
            found[task][what] = value
        for task, figures in (self._evaluated or {}).items():
            found[task] |= {f"validation_{what}": value for what, value in figures.items()}
        self._evaluated = None
        return found


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
        bases = tuple(import_module(name).Callback for name in _NAMESPACES if name in sys.modules)
        if not bases:
            bases = (import_module(_NAMESPACES[0]).Callback,)
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
        figures = pl_module._epoch_figures()
        if trainer.is_global_zero:
            rate = float(trainer.optimizers[0].param_groups[0]["lr"]) if trainer.optimizers else 0.0
            self.recorder.epoch(seconds=time.monotonic() - self._start, learning_rate=rate, tasks=figures)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Write the last line."""
        if trainer.is_global_zero and trainer.state.status != "interrupted":
            self.recorder.end()

    def on_test_end(self, trainer: Any, pl_module: Any) -> None:
        """Write the test split's line."""
        if trainer.is_global_zero and pl_module._evaluated is not None:
            self.recorder.test(pl_module._evaluated, best=trainer.ckpt_path is not None)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """A run that fails is an outcome; one that is interrupted goes on later."""
        if trainer.is_global_zero and not isinstance(exception, KeyboardInterrupt):
            self.recorder.end("failed", f"{type(exception).__name__}: {exception}")
