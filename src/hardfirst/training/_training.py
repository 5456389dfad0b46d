"""The training loop of a trial."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from hardfirst import records
from hardfirst.balancers import Balancer, LossBalancer, task_weights
from hardfirst.errors import InputError
from hardfirst.problems import Problem, Split
from hardfirst.training import _checkpoint
from hardfirst.training._batch import Measurements
from hardfirst.training._check import build_network, check, load_splits
from hardfirst.training._evaluate import TaskResult, predict, task_results
from hardfirst.training._interrupt import Interrupt, Interrupted, RemoteInterrupt
from hardfirst.training._memory import peak_memory
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
        self.balancer: Balancer = self.fabric.to_device(
            self.trial.balancer.build(self.problem.task_names, seed=self.trial.seed)
        )
        self.shared = self._shared_parameters(module)
        optimizer = torch.optim.Adam(module.parameters(), lr=self.trial.learning_rate, fused=True)
        self.network, self.optimizer = self.fabric.setup(module, optimizer)
        kind = SingleProcess if self.fabric.world_size == 1 else MultiProcess
        self.processes: SingleProcess | MultiProcess = kind(self.fabric, self.network, self.interrupt)
        self.splits = load_splits(self.problem, test=self.trial.test)
        self.best = self._copy_weights()  # the initial weights, in case no epoch has a validation KPI
        # A single-task trial is not checked: its batches have targets of other tasks, which `check` would take for typos.
        if self.trial.only is None and (order := self._epoch_order()):
            check(self.problem, self.processes.module, *self.fabric.to_device(next(load(self.splits.train, order[:1]))))
        self.processes.prepare(self.network, self.batches(), self.trial.seed)

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        try:
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.balancer.load_state_dict(state["balancer"])
            self.best = state["best"]
            self.processes.restore_random_state(state["rng"])
            position = dict(state["position"])
            self.position = Position(**{**position, "sums": EpochSums(**position["sums"])})
        except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
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
        self.network.load_state_dict(self.best)
        if self.trial.test:
            results = self._evaluate(self.splits.test, test=True)
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
        return self._evaluate(self.splits.validation)

    def batches(self) -> Iterator[Any]:
        """The remaining training batches of the epoch."""
        return map(self.fabric.to_device, self.processes.load(self.splits.train, self._epoch_order()[self.position.step :]))

    def _epoch_order(self) -> list[list[int]]:
        return epoch_order(self.problem, self.splits.train, self.trial.seed, self.position.epoch)

    def _evaluate(self, split: Split, *, test: bool = False) -> dict[str, TaskResult]:
        batches = map(self.fabric.to_device, load(split, self.processes.shard(evaluation_order(split))))
        return self.processes.gather_then(
            predict(self.problem, self.processes.module, batches), partial(task_results, self.problem, test=test)
        )

    def _epoch(self, checkpoint: Path | None, watcher: Watcher | None) -> None:
        position, steps = self.position, self.steps
        self.network.train()
        self.balancer.train()
        start = time.perf_counter()
        for inputs, targets in self.batches():
            self.step(inputs, targets)
            position.step += 1
            if watcher is not None:
                watcher.step(position.epoch + 1, position.step, steps)
            if self.processes.stopped:
                position.epoch_seconds += time.perf_counter() - start
                self._save(checkpoint)
                raise Interrupted(position.epoch + 1, position.step, checkpoint)
        position.epoch_seconds += time.perf_counter() - start

    def step(self, inputs: Any, targets: Mapping[str, Tensor]) -> None:
        """Train on one batch."""
        measured = self.processes.measure(self.problem, self.network(inputs), targets)
        weights: dict[str, Tensor] = {}

        # The balancer calls this once with its total, or with a scalar whose gradient is its combined gradient. It raises
        # before the optimizer's step: a run that diverges leaves the weights of the last finite step.
        def backward(total: Tensor) -> None:
            if not total.isfinite():
                raise Diverged(self._divergence_reason(measured))
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
        self.balancer.update({t.name: results[t.name]["kpi"] for t in self.problem.tasks if t.kpi_from == "validation"})
        lines = {name: {**position.sums.means(name), **_validation(result)} for name, result in results.items()}
        for task in self.problem.tasks:
            if task.kpi_from == "validation":
                lines[task.name]["kpi"] = results[task.name]["kpi"]
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
        score = records.score([result["kpi"] for result in results.values()], self.trial.criterion)
        if score > self.position.best_kpi:
            self.position.best_kpi, self.position.best_epoch = score, self.position.epoch
            self.best = self._copy_weights()

    def _copy_weights(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}

    def _shared_parameters(self, module: nn.Module) -> list[nn.Parameter] | None:
        if "shared" not in self.balancer.needs:
            return None
        shared = getattr(module, "shared_parameters", None)
        if shared is None:
            raise InputError(
                f"Balancer {str(self.trial.balancer)!r} needs the shared parameters; give the network of problem "
                f"{self.problem.name!r} a method `shared_parameters()`, as hardfirst.networks have."
            )
        return list(shared())

    def _divergence_reason(self, measured: Measurements) -> str:
        tasks = [task for task, loss in measured.losses.items() if not loss.isfinite()]
        where = f"in epoch {self.position.epoch + 1}, step {self.position.step + 1}"
        return f"the loss of {', '.join(tasks)} was not finite {where}" if tasks else f"the total was not finite {where}"


def _first_lines(error: Exception) -> str:
    return f"{type(error).__name__}, {' '.join(str(error).split()):.200}".rstrip(". ")


def _validation(result: TaskResult) -> dict[str, Any]:
    return {f"validation_{name}": value for name, value in result.items()}
