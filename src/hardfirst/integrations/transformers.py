"""Hugging Face Transformers: a mixin for Trainer."""

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

try:
    from transformers import TrainerCallback
except ModuleNotFoundError as error:
    text = f'This needs {error.name}, which is not installed: pip install "hardfirst[transformers]"'
    raise ImportError(text) from None

from hardfirst.balancers import Balancer
from hardfirst.errors import InputError
from hardfirst.integrations._adapter import LoopAdapter, summarize_tasks
from hardfirst.integrations._recorder import RunRecorder

STATE_FILE = "balancer.pt"
"""The name of the file with the balancer's state in a checkpoint folder."""
START_FILE = "balancer_start.pt"
"""The name of the file with the initial weights, if the method will put the network back to them."""


class Balanced:
    """Mixin for a `transformers.Trainer` with a balancer; list it before Trainer.

    A subclass implements `task_losses`. The mixin does the rest within the Trainer's own loop:

    - accumulation divides each loss by the number of micro-batches, regardless of the model's signature; a method that
      learns from losses learns only from the last micro-batch of a step; KPIs are averaged over a step's micro-batches, and
      with more than one they are used from the next step on;
    - gradient balancers run backward through the network once per task. The result of `compute_loss` may be scaled, and
      added to other terms: its backward delivers the balanced gradients, times its own gradient;
    - `eval_loss` is the plain sum of the tasks' losses, which does not depend on the weights;
    - each checkpoint stores the balancer's state as balancer.pt, and `resume_from_checkpoint` restores it;
    - a method with a restart, such as `hard_first`, puts the model and the state of the optimizer back to step 0. The
      learning-rate schedule continues. Until then, checkpoints store the initial weights as balancer_start.pt;
    - the log contains weights and KPIs, as `weight_TASK` and `kpi_TASK`: means since the last entry.

    If `compute_metrics` returns `kpi_TASK`, evaluation adds `eval_worst_task` and `eval_mean_over_tasks`, for
    `metric_for_best_model`.

    Args:
        arguments: the Trainer's positional arguments.
        balancer: any balancer.
        shared: the parameters that several tasks use, or a function that returns them, for methods that need them; by
            default the model's `shared_parameters()`.
        kpis_from: "batch" for the KPIs of `task_losses`, or "validation" for the `eval_kpi_TASK` of evaluations during
            training.
        record: writes a run record for `hardfirst report`. Evaluate once per epoch, and call `predict` on the test split
            after training.
        named: the Trainer's keyword arguments.

    Example:
        Lines with + are added for balancing::

            + class MultiTask(Balanced, Trainer):
            +     def task_losses(self, model, inputs):
            +         outputs = model(**inputs)
            +         return outputs.losses, {"tag": outputs.tag_accuracy, "genre": outputs.genre_accuracy}, outputs

            - trainer = Trainer(model, arguments, train_dataset=train)
            + trainer = MultiTask(model, arguments, train_dataset=train, balancer=hardfirst.DTP(["tag", "genre"]))
    """

    loss_is_scaled_for_ga = False  # the Trainer divides by the number of micro-batches

    def __init__(
        self,
        *arguments: Any,
        balancer: Balancer,
        shared: Iterable[nn.Parameter] | Callable[[], Iterable[nn.Parameter]] | None = None,
        kpis_from: str = "batch",
        record: RunRecorder | None = None,
        **named: Any,
    ) -> None:
        self.balancer, self.record, self._shared = balancer, record, shared
        self._adapter = LoopAdapter(balancer, self._shared_parameters, kpis_from=kpis_from)
        self._in_task_losses = self._evaluating = False
        self._measured: dict[str, float] = {}
        super().__init__(*arguments, **named)
        self.model_accepts_loss_kwargs = False  # older versions of the Trainer read this instead
        self._host.add_callback(_EpochCallback(self))

    def task_losses(
        self, model: nn.Module, inputs: Mapping[str, Any]
    ) -> tuple[Mapping[str, Tensor], Mapping[str, Any] | None, Any]:
        """Compute each task's loss, each task's KPI on this batch (or None), and the outputs that evaluation gathers.

        Inside it, `super().compute_loss(...)` is the Trainer's own.

        Args:
            model: the model as the Trainer wrapped it.
            inputs: a batch, on the device.
        """
        raise InputError(f"{type(self).__name__} must implement `task_losses(self, model, inputs)`.")

    def compute_loss(
        self, model: nn.Module, inputs: Mapping[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Compute the balanced total in training, the plain sum of the losses in evaluation (a Trainer hook)."""
        if self._in_task_losses:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)  # type: ignore[misc]  # of Trainer
        self._in_task_losses = True
        try:
            losses, kpis, outputs = self.task_losses(model, inputs)
        finally:
            self._in_task_losses = False
        if model.training:
            last, several = bool(self._host.accelerator.sync_gradients), self._host.args.gradient_accumulation_steps > 1
            total = self._adapter.total(losses, kpis, last=last, several=several)
        else:
            total = self._adapter.plain_sum(losses)
        return (total, outputs) if return_outputs else total

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval", **named: Any
    ) -> dict[str, float]:
        """Run the Trainer's evaluation; during training its KPIs update the balancer if `kpis_from` is "validation"."""
        outermost, self._evaluating = not self._evaluating, True  # the Trainer evaluates several data sets one by one
        try:
            metrics: dict[str, float] = super().evaluate(eval_dataset, ignore_keys, metric_key_prefix, **named)  # type: ignore[misc]  # of Trainer
        finally:
            self._evaluating = not outermost
        kpis = _kpis(metrics, metric_key_prefix, self.balancer.tasks)
        if kpis:
            worst_and_mean = summarize_tasks(self.balancer.tasks, kpis)
            summary = {f"{metric_key_prefix}_{name}": value for name, value in worst_and_mean.items()}
            metrics |= summary
            self._host.log(summary)
        if self._host.is_in_train:
            self._adapter.record_validation({task: {"kpi": kpi} for task, kpi in kpis.items()})
            self._measured |= kpis
            if outermost:
                self._adapter.warn_of_missing(self._measured, lambda tasks: self._remedy(metric_key_prefix, tasks))
                self._measured = {}
        return metrics

    def _remedy(self, prefix: str, tasks: Iterable[str]) -> str:
        names = ", ".join(f"{prefix}_kpi_{task}" for task in tasks)
        returned = ", ".join(f"kpi_{task}" for task in tasks)
        return (
            f"Looked for {names} among the metrics: `compute_metrics` must return {returned}, and the Trainer calls it "
            f"only if batches have the columns of `label_names`, which is {self._host.label_names}."
        )

    def predict(self, test_dataset: Any, ignore_keys: Any = None, metric_key_prefix: str = "test", **named: Any) -> Any:
        """Run the Trainer's prediction; the record stores its KPIs as those of the test split."""
        output = super().predict(test_dataset, ignore_keys, metric_key_prefix, **named)  # type: ignore[misc]  # of Trainer
        kpis = _kpis(output.metrics, metric_key_prefix, self.balancer.tasks)
        if self.record is not None and kpis and self._host.is_world_process_zero():
            best = bool(self._host.args.load_best_model_at_end)
            self.record.test({task: {"kpi": kpi} for task, kpi in kpis.items()}, best=best)
        return output

    def log(self, logs: dict[str, float], *arguments: Any, **named: Any) -> None:
        """Add weights and KPIs to the entries of the Trainer's log that have the training loss."""
        means = self._adapter.pop_log("_") if "loss" in logs else {}
        super().log({**logs, **means}, *arguments, **named)  # type: ignore[misc]  # of Trainer, the next base

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)  # type: ignore[misc]  # of Trainer, the next base
        if self._host.args.should_save:
            torch.save(self.balancer.state_dict(), Path(output_dir) / STATE_FILE)
            if (start := self._adapter.restart.state_dict()) is None:
                (Path(output_dir) / START_FILE).unlink(missing_ok=True)  # of an earlier run in the same folder
            else:
                torch.save(start, Path(output_dir) / START_FILE)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[misc]  # of Trainer, the next base
        if checkpoint is None:
            return
        state, start = (_load(Path(checkpoint) / name) for name in (STATE_FILE, START_FILE))
        if state is not None:
            self.balancer.load_state_dict(state)
        self._adapter.restart.load_state_dict(start)

    @property
    def _host(self) -> Any:
        """Return this object, typed as a Trainer."""
        return self

    def _shared_parameters(self) -> list[nn.Parameter]:
        shared = self._shared
        if shared is None:
            model = self._host.accelerator.unwrap_model(self._host.model)
            shared = getattr(model, "shared_parameters", None)
        if shared is None:
            raise InputError(
                f"{type(self.balancer).__name__} needs the parameters that several tasks use. Give `shared=...`, or give "
                "the model a method `shared_parameters()`."
            )
        return list(shared() if callable(shared) else shared)


def _load(path: Path) -> Any:
    """Load a file of a checkpoint; None if there is none."""
    return torch.load(path, weights_only=True, map_location="cpu") if path.exists() else None


def _kpis(metrics: Mapping[str, float], prefix: str, tasks: Iterable[str]) -> dict[str, float]:
    return {task: float(metrics[name]) for task in tasks if (name := f"{prefix}_kpi_{task}") in metrics}


class _EpochCallback(TrainerCallback):
    """Ends the balancer's epochs and writes the record."""

    def __init__(self, trainer: Balanced) -> None:
        self.trainer = trainer
        self.start = time.monotonic()
        self.epoch_seconds: float | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Tell the balancer the number of steps; write the record's first line, or continue that of a resumed run."""
        host, optimizer = self.trainer._host, self.trainer._host.optimizer
        self.trainer.balancer.plan_steps(state.max_steps)
        # Accelerate wraps the optimizer
        self.trainer._adapter.restart.watch(host.model, [getattr(optimizer, "optimizer", optimizer)])
        if (record := self._record(state)) is not None:
            record.begin(self.trainer.balancer.tasks, host.model, epochs=int(state.epoch or 0))

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write the line of the previous epoch: the Trainer evaluates after `on_epoch_end`."""
        self._write_epoch(state)
        self.start = time.monotonic()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """End the balancer's epoch."""
        self.trainer.balancer.end_epoch()
        self.epoch_seconds = time.monotonic() - self.start

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write the record's remaining lines."""
        self._write_epoch(state)
        if (record := self._record(state)) is not None:
            record.end()

    def _record(self, state: Any) -> RunRecorder | None:
        return self.trainer.record if state.is_world_process_zero else None

    def _write_epoch(self, state: Any) -> None:
        if self.epoch_seconds is None:
            return
        figures, restarted = self.trainer._adapter.pop_epoch(), self.trainer._adapter.restart.pop()
        if (record := self._record(state)) is not None:
            rate = float(self.trainer._host.optimizer.param_groups[0]["lr"])
            record.epoch(seconds=self.epoch_seconds, learning_rate=rate, tasks=figures, restarted=restarted)
        self.epoch_seconds = None
