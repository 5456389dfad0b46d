"""The training loop of a trial."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from hardfirst import records
from hardfirst.balancers import Balancer, LossBalancer, task_weights
from hardfirst.errors import InputError
from hardfirst.problems import Problem, Split
from hardfirst.training import _checkpoint
from hardfirst.training._batch import Measurements, not_finite
from hardfirst.training._check import check, load_splits
from hardfirst.training._evaluate import Evaluation, TaskResult, evaluation_batch
from hardfirst.training._interrupt import Interrupt, Interrupted, RemoteInterrupt
from hardfirst.training._memory import peak_memory
from hardfirst.training._network import (
    build_network,
    copy_weights,
    difference,
    has_lazy,
    initialize_lazy,
    must_join,
    shared_parameters,
)
from hardfirst.training._position import EpochSums, Position
from hardfirst.training._randomness import seed_randomness
from hardfirst.training._ranks import MultiProcess, SingleProcess
from hardfirst.training._sampling import epoch_order, evaluation_order, load
from hardfirst.training._trial import Trial

if TYPE_CHECKING:
    from lightning.fabric import Fabric  # imported by `fit`: it takes seconds, which a study's parent does not need

EpochLines = dict[str, dict[str, Any]]
"""An epoch's figures by task, as the record holds them."""


class Watcher(Protocol):
    """Receives the progress of a run."""

    def step(self, epoch: int, step: int, steps: int) -> None:
        """Called after each training step; all three count from 1."""

    def epoch(self, epoch: int, tasks: EpochLines) -> None:
        """Called after each epoch with its figures by task, as in the record."""


class Diverged(Exception):  # noqa: N818  # an outcome, not an error
    """A total was not finite; the message names the tasks whose loss was not."""


class Training:
    """State of a running trial: network, optimizer, balancer, data and progress."""

    def __init__(
        self, trial: Trial, problem: Problem, fabric: "Fabric", interrupt: Interrupt | RemoteInterrupt | None = None
    ) -> None:
        self.trial, self.problem, self.fabric = trial, problem, fabric
        self.interrupt = interrupt or Interrupt()
        self.position = Position()

    def begin(self) -> None:
        """Build network, optimizer, balancer and data from the trial's seed."""
        seed_randomness(self.trial.seed)
        module = build_network(self.problem)
        self.splits = load_splits(self.problem, test=self.trial.test)
        self._join_single = must_join(self.problem, self.splits.train)
        order = self._epoch_order()
        if has_lazy(module):
            initialize_lazy(self.problem, module, next(load(self.splits.train, order[:1]))[0])
        self.balancer: Balancer = self.fabric.to_device(
            self.trial.balancer.build(self.problem.task_names, seed=self.trial.seed)
        )
        needed = "shared" in self.balancer.needs
        self.shared = shared_parameters(self.problem, module, str(self.trial.balancer)) if needed else None
        fused = all(parameter.is_floating_point() for parameter in module.parameters())  # not for complex ones
        optimizer = torch.optim.Adam(module.parameters(), lr=self.trial.learning_rate, fused=fused)
        self.network, self.optimizer = self.fabric.setup(module, optimizer)
        kind = SingleProcess if self.fabric.world_size == 1 else MultiProcess
        self.processes: SingleProcess | MultiProcess = kind(self.fabric, self.network, self.interrupt)
        self.best = copy_weights(self.network)
        # A single-task trial is not checked: its batches have targets of other tasks, which `check` would take for typos.
        if self.trial.only is None and order:
            check(self.problem, self.processes.module, *self.fabric.to_device(next(load(self.splits.train, order[:1]))))
        self.processes.prepare(self.network, self.batches(), self.trial.seed)

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        try:
            for weights in (state["network"], state["best"]):
                if reason := difference(weights, self.network):
                    raise ValueError(reason)
            self.network.load_state_dict(state["network"])
            self.best = state["best"]
            _checkpoint.check_optimizer(state["optimizer"], self.optimizer)
            self.optimizer.load_state_dict(state["optimizer"])
            self.balancer.load_state_dict(state["balancer"])
            self.processes.restore_random_state(state["rng"])
            self.position = Position.restored(
                state["position"], tasks=self.problem.task_names, epochs=self.trial.epochs, steps=self.steps
            )
        except (RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            raise InputError(
                f"The checkpoint does not fit this run: {_first_lines(error)}. It may be from another version of hardfirst "
                "or of the problem's code. Choose another --out, and leave out --resume to begin."
            ) from error

    def state(self) -> dict[str, Any]:
        """The state for a checkpoint; a collective of all ranks, complete on the first."""
        return {
            "settings": self.trial.describe(self.problem),
            "devices": self.processes.world_size,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "balancer": self.balancer.state_dict(),
            "best": self.best,
            "rng": self.processes.random_states(),
            "position": asdict(self.position),
        }

    def train(self, writer: records.Writer | None, checkpoint: Path | None, watcher: Watcher | None) -> None:
        """Train from the current position to the end; ranks other than the first have no writer."""
        try:
            with self.interrupt:
                while self.position.epoch < self.trial.epochs:
                    # The record gets the epoch's line before the checkpoint is saved. If the process dies in between, the
                    # resumed run drops the extra line; in the other order an epoch would be missing.
                    self._epoch(checkpoint, watcher)
                    lines = self._end_epoch(writer)
                    self._save(checkpoint)
                    if watcher is not None:
                        watcher.epoch(self.position.epoch, lines)
        except Diverged as reason:
            self._end(writer, "diverged", str(reason))
            return
        if not self.position.best_epoch:
            raise InputError(
                f"No KPI of problem {self.problem.name!r} on the validation split was defined in any epoch, so that none "
                "can be chosen: a KPI was NaN wherever its task has labels. Give the tasks KPIs that are defined for every "
                "output."
            )
        self.network.load_state_dict(self.best)
        if self.trial.test:
            results = self._evaluate(self.splits.test, "test", test=True)
            if writer is not None:
                writer.test(self.position.best_epoch, results)
        self._end(writer, "finished")

    def _end(self, writer: records.Writer | None, outcome: str, reason: str | None = None) -> None:
        memory = self.processes.all_sum(peak_memory(self.fabric.device))
        if writer is not None:
            writer.end(outcome, reason=reason, seconds=self.position.seconds, memory=memory)

    def _save(self, checkpoint: Path | None) -> None:
        if checkpoint is not None:
            state = self.state()
            if self.processes.is_main:
                _checkpoint.save(checkpoint, state)

    @property
    def steps(self) -> int:
        """Number of training steps in an epoch."""
        return len(self._epoch_order())

    def validate(self) -> dict[str, TaskResult]:
        """Evaluate each task on the validation split."""
        first = self.position.epoch == 0
        return self._evaluate(self.splits.validation, "validation" if first else None)

    def batches(self) -> Iterator[Any]:
        """The remaining training batches of the epoch."""
        return map(self.fabric.to_device, self.processes.load(self.splits.train, self._epoch_order()[self.position.step :]))

    def _epoch_order(self) -> list[list[int]]:
        epoch = self.position.epoch
        return epoch_order(self.problem, self.splits.train, self.trial.seed, epoch, join_single=self._join_single)

    def _evaluate(self, split: Split, warns_of: str | None, *, test: bool = False) -> dict[str, TaskResult]:
        order = evaluation_order(split, evaluation_batch(self.problem, split))
        batches = map(self.fabric.to_device, load(split, self.processes.shard(order)))
        evaluation = Evaluation(self.problem, self.fabric.device, test=test, name=warns_of)
        shares = evaluation.shares(self.problem, self.processes.module, batches)
        for share in self.processes.in_order(shares, order):
            evaluation.add(share)
        return self.processes.broadcast(evaluation.results() if self.processes.is_main else {})

    def _epoch(self, checkpoint: Path | None, watcher: Watcher | None) -> None:
        position, steps = self.position, self.steps
        self.network.train()
        self.balancer.train()
        start = time.perf_counter()
        for inputs, targets in self.batches():
            self.step(inputs, targets)
            position.step += 1
            if position.step == 1:
                self._check_shapes()
            if watcher is not None:
                watcher.step(position.epoch + 1, position.step, steps)
            if self.processes.stopped:
                position.epoch_seconds += time.perf_counter() - start
                self._save(checkpoint)
                raise Interrupted(position.epoch + 1, position.step, checkpoint)
        position.epoch_seconds += time.perf_counter() - start
        self._check_shapes()
        if not (position.epoch or position.sums.count):
            raise InputError(
                f"No task of problem {self.problem.name!r} has a label in the training split "
                f"({', '.join(self.problem.task_names):.200}), so that nothing is trained. Give it labels."
            )

    def step(self, inputs: Any, targets: Mapping[str, Tensor]) -> None:
        """Train on one batch."""
        measured = self.processes.measure(self.problem, self.network(inputs), targets)
        weights: dict[str, Tensor] = {}

        # The balancer calls this once with its total, or with a scalar whose gradient is its combined gradient. It raises
        # before the optimizer's step: a run that diverges leaves the weights of the last finite step.
        def backward(total: Tensor) -> None:
            if not total.isfinite():
                raise Diverged(self._divergence_reason(measured, targets))
            if isinstance(self.balancer, LossBalancer):
                # ∂total/∂loss is the effective weight of a task, also if the total is not linear in the losses
                weights.update(task_weights(total, measured.losses))
            self.processes.backward(total, measured.losses)

        self.optimizer.zero_grad()
        self.balancer.backward(measured.losses, measured.kpis, shared=self.shared, using=backward)
        self.optimizer.step()
        self.position.sums.add(self.problem, measured, weights or self.balancer.weights)

    def _end_epoch(self, writer: records.Writer | None) -> EpochLines:
        self.balancer.end_epoch()
        position = self.position
        start = time.perf_counter()
        results = self.validate()
        position.seconds += position.epoch_seconds + time.perf_counter() - start
        validated = [t.name for t in self.problem.tasks if t.kpi is not None and t.kpi_from == "validation"]
        kpis = {task: results[task]["kpi"] for task in validated}
        self.balancer.update(kpis)
        lines = {name: {**position.sums.means(name), **_validation(result)} for name, result in results.items()}
        for task, kpi in kpis.items():
            lines[task]["kpi"] = kpi
        for task in self.problem.auxiliary:
            del lines[task]["kpi"]
        position.epoch, position.step, position.sums = position.epoch + 1, 0, EpochSums()
        self._keep_best(results)
        if writer is not None:
            writer.epoch(
                position.epoch,
                seconds=position.epoch_seconds,
                learning_rate=float(self.optimizer.param_groups[0]["lr"]),
                tasks=lines,
            )
        position.epoch_seconds = 0.0
        return lines

    def _keep_best(self, results: Mapping[str, TaskResult]) -> None:
        """Keep a copy of the weights if this epoch is the best so far on the validation split."""
        undefined = sum(map(records.is_undefined, results.values()))
        kpis = [results[task]["kpi"] for task in self.problem.measured]
        score = records.score(kpis, self.trial.criterion, undefined=undefined)
        if score > self.position.best_kpi:
            self.position.best_kpi, self.position.best_epoch = score, self.position.epoch
            self.best = copy_weights(self.network)

    def _check_shapes(self) -> None:
        """Check that the weights of an earlier epoch still fit the network, before the best ones are needed at the end."""
        if reason := difference(self.best, self.network):
            raise InputError(
                f"Expected each buffer of the network of problem {self.problem.name!r} to keep its shape in training; "
                f"{reason}. Give it a fixed size, or keep it out of checkpoints by register_buffer(…, persistent=False)."
            )

    def _divergence_reason(self, measured: Measurements, targets: Mapping[str, Tensor]) -> str:
        tasks = [task for task, loss in measured.losses.items() if not loss.isfinite()]
        where = f"in epoch {self.position.epoch + 1}, step {self.position.step + 1}"
        if not tasks:
            return f"the total was not finite {where}"
        causes = [f"; {cause}" for task in tasks if (cause := not_finite(task, targets.get(task)))]
        return f"the loss of {', '.join(tasks)} was not finite {where}{''.join(causes)}"


def _first_lines(error: Exception) -> str:
    text = f"{' '.join(str(error).split()):.200}".rstrip(". ")
    return text if isinstance(error, ValueError) else f"{type(error).__name__}, {text}"


def _validation(result: TaskResult) -> dict[str, Any]:
    return {f"validation_{name}": value for name, value in result.items()}
