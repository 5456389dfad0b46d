"""The training loop of a trial."""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardfirst import records
from hardfirst.balancers import Balancer
from hardfirst.problems import Problem, Split
from hardfirst.training import _checkpoint
from hardfirst.training._balance import Balancing
from hardfirst.training._batch import Batch
from hardfirst.training._batches import TrainingBatches
from hardfirst.training._check import check, load_splits, nothing_to_select, nothing_to_train
from hardfirst.training._devices import peak_memory
from hardfirst.training._divergence import Diverged, divergence_reason
from hardfirst.training._evaluate import Evaluation, TaskResult, evaluation_batch
from hardfirst.training._interrupt import Interrupt, Interrupted, RemoteInterrupt
from hardfirst.training._lines import EpochLines, Watcher, epoch_lines, validation_kpis
from hardfirst.training._loading import Loading, load
from hardfirst.training._network import (
    build_network,
    check_shapes,
    copy_weights,
    difference,
    has_lazy,
    initialize_lazy,
    shared_parameters,
)
from hardfirst.training._position import EpochSums, Position
from hardfirst.training._precision import in_precision
from hardfirst.training._protocol import check_one_split
from hardfirst.training._randomness import seed_randomness
from hardfirst.training._ranks import MultiProcess, SingleProcess
from hardfirst.training._sampling import evaluation_order
from hardfirst.training._steps import StepLog
from hardfirst.training._trial import Trial
from hardfirst.training._updates import Updates, restart_epoch

if TYPE_CHECKING:
    from lightning.fabric import Fabric  # imported by `fit`: it takes seconds, which a study's parent does not need


class Training:
    """State of a running trial: network, optimizer, balancer, data and progress."""

    def __init__(
        self, trial: Trial, problem: Problem, fabric: "Fabric", interrupt: Interrupt | RemoteInterrupt | None = None
    ) -> None:
        self.trial, self.problem, self.fabric = trial, problem, fabric
        self.published = trial.published_of(problem)
        self.last = self.published and self.published.last  # epochs over which test figures are averaged; None selects one
        self.interrupt = interrupt or Interrupt()
        self.position = Position()
        self.loading = Loading(problem.recipe.loaders, fabric.device.type == "cuda" and problem.recipe.loaders > 0)
        self.log = StepLog()

    def begin(self) -> None:
        """Build network, optimizer, balancer and data from the trial's seed."""
        seed_randomness(self.trial.seed)
        module = build_network(self.problem)
        self.splits = load_splits(self.problem, test=self.trial.test)
        if self.last:
            check_one_split(self.problem, self.splits)
        self._train = TrainingBatches(self.problem, self.splits.train, self.trial.seed, self.fabric, self.loading)
        self.steps = self._train.count  # batches in an epoch
        if has_lazy(module):
            initialize_lazy(self.problem, module, self._train.loaded(0, 0)[0])
        self.balancer: Balancer = self.fabric.to_device(
            self.trial.balancer.build(self.problem.task_names, seed=self.trial.seed)
        )
        needed = "shared" in self.balancer.needs
        self.shared = shared_parameters(self.problem, module, str(self.trial.balancer)) if needed else None
        self.updates = Updates(
            self.problem.recipe,
            self.fabric,
            module,
            learning_rate=self.trial.learning_rate,
            batches=self.steps,
            epochs=self.trial.epochs,
        )
        self.balancer.plan_steps(self.updates.steps)
        self.restart_epoch = restart_epoch(self.balancer, self.updates.steps_in_epoch)
        self.balancing = Balancing(self.balancer, self.shared, self.updates)
        self.network, self.optimizer = self.updates.network, self.updates.optimizer
        kind = SingleProcess if self.fabric.world_size == 1 else MultiProcess
        self.processes: SingleProcess | MultiProcess = kind(self.fabric, self.network, self.interrupt)
        self.trained = in_precision(self.network, self.problem.recipe.precision, self.fabric.device)
        self.evaluated = in_precision(self.processes.module, self.problem.recipe.precision, self.fabric.device)
        self.best = copy_weights(self.network)
        # A single-task trial is not checked: its batches have targets of other tasks, which `check` would take for typos.
        if self.trial.only is None and self.steps:
            check(self.problem, self.evaluated, *self.fabric.to_device(self._train.loaded(0, 0)))
        self.processes.prepare(self.trained, self.batches(), self.trial.seed)

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        with _checkpoint.must_fit():
            for weights in (state["network"], state["best"]):
                if reason := difference(weights, self.network):
                    raise ValueError(reason)
            self.position = Position.restored(
                state["position"], tasks=self.problem.task_names, epochs=self.trial.epochs, steps=self.steps
            )
            if (step := self.balancer.restart_step) is not None and self._steps_done() > step:
                self.updates.restart(step)
            self.network.load_state_dict(state["network"])
            self.best = state["best"]
            self.updates.load_state_dict(state)
            self.balancer.load_state_dict(state["balancer"])
            self.processes.restore_random_state(state["rng"])

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint; a collective of all ranks, complete on the first.

        Raises:
            Diverged: the total of a step was not finite.
        """
        self.read_log()
        return {
            "settings": self.trial.describe(self.problem),
            "devices": self.processes.world_size,
            "network": self.network.state_dict(),
            **self.updates.state_dict(),
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
            raise nothing_to_select(self.problem)
        self.network.load_state_dict(self.best)
        if self.trial.test:
            results = {} if self.last else self._evaluate(self.splits.test, "test", test=True)
            if writer is not None and self.last:
                writer.test_means(self.last)
            elif writer is not None:
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

    def validate(self) -> dict[str, TaskResult]:
        """Evaluate each task on the validation split."""
        with self.updates.averaged():  # the first validation warns of measures that say little
            warns_of = None if self.position.epoch else "validation"
            return self._evaluate(self.splits.validation, warns_of, test=bool(self.last))

    def batches(self) -> Iterator[Batch]:
        """Yield the remaining training batches of the epoch, on the device."""
        return self._train.epoch(self.position.epoch, self.position.step, self.processes)

    def _evaluate(self, split: Split, warns_of: str | None, *, test: bool = False) -> dict[str, TaskResult]:
        size = self.published and self.published.evaluation_batch
        order = evaluation_order(split, size or evaluation_batch(self.problem, split))
        batches = map(self.fabric.to_device, load(split, self.processes.shard(order), self.loading))
        evaluation = Evaluation(self.problem, self.fabric.device, test=test, name=warns_of)
        shares = evaluation.shares(self.problem, self.evaluated, batches)
        for share in self.processes.in_order(shares, order):
            evaluation.add(share)
        return self.processes.broadcast(evaluation.results() if self.processes.is_main else {})

    def _epoch(self, checkpoint: Path | None, watcher: Watcher | None) -> None:
        position, steps = self.position, self.steps
        self.network.train()
        self.balancer.train()
        start = time.perf_counter()
        for batch in self.batches():
            try:
                self.step(batch)
            except Exception:
                self.read_log()  # an earlier step may not have been finite, and then this is not the user's error
                raise
            position.step += 1
            if self.log.is_full:
                self.read_log()
            if position.step == 1:
                check_shapes(self.problem, self.best, self.network)
            if watcher is not None:
                watcher.step(position.epoch + 1, position.step, steps)
            # not between the batches of an optimizer step, whose gradients are not in a checkpoint
            if self.processes.stopped and self.updates.part(position.step - 1).last:
                position.epoch_seconds += time.perf_counter() - start
                self._save(checkpoint)
                raise Interrupted(position.epoch + 1, position.step, checkpoint)
        self.read_log()
        position.epoch_seconds += time.perf_counter() - start
        check_shapes(self.problem, self.best, self.network)
        if not (position.epoch or position.sums.count):
            raise nothing_to_train(self.problem)

    def step(self, batch: Batch) -> None:
        """Train on one batch; the weights change after the last one of an optimizer step.

        In a single process nothing here waits for the device; the step's measurements go to the log. So a step whose total
        is not finite is found when the log is read, and the weights may no longer be those of the last finite step.
        """
        part = self.updates.part(self.position.step)
        if part.first and self._steps_done() == self.balancer.restart_step:
            self._restart()
        measured = self.processes.measure(self.problem, self.trained(batch.inputs), batch)
        if part.first:
            self.optimizer.zero_grad()
        total, weights = self.balancing.backward(
            measured, part, lambda scaled: self.processes.backward(scaled, measured.losses)
        )
        self.log.add(self.position.step + 1, total, measured, weights)
        if part.last:
            self.updates.step()

    def _steps_done(self) -> int:
        return self.updates.steps_before(self.position.epoch, self.position.step)

    def _restart(self) -> None:
        """Put network and optimizer back to step 0. Until then, the best weights are the initial ones.

        A checkpoint between the last step of the search and the next one is from before the restart.
        """
        self.network.load_state_dict(self.best)
        self.updates.restart(self._steps_done())

    def read_log(self) -> None:
        """Add the steps in the log to the epoch's sums. Waits for the device.

        Raises:
            Diverged: the total of a step was not finite; the message is about the first such step.
        """
        for numbers in self.log.read():
            if not math.isfinite(numbers.total):
                epoch, step = self.position.epoch, numbers.step
                raise Diverged(divergence_reason(epoch, step, numbers.losses, self._train.loaded(epoch, step - 1)[1]))
            self.position.sums.add(self.problem, numbers)

    def _end_epoch(self, writer: records.Writer | None) -> EpochLines:
        self.balancer.end_epoch()
        position = self.position
        start = time.perf_counter()
        results = self.validate()
        position.seconds += position.epoch_seconds + time.perf_counter() - start
        self.balancer.update(validation_kpis(self.problem, results))
        lines = epoch_lines(self.problem, {name: position.sums.means(name) for name in results}, results)
        position.epoch, position.step, position.sums = position.epoch + 1, 0, EpochSums()
        score = self._keep_best(results)
        if writer is not None:
            writer.epoch(
                position.epoch,
                seconds=position.epoch_seconds,
                learning_rate=self.updates.learning_rate,
                tasks=lines,
                restarted=self.balancer.restart_step if position.epoch == self.restart_epoch else None,
            )
        self.updates.end_epoch(score)
        position.epoch_seconds = 0.0
        return lines

    def _keep_best(self, results: Mapping[str, TaskResult]) -> float:
        """Copy the weights if this epoch is the best so far, or if the last one counts; return its score.

        Epochs before a restart do not count: their network is not the one that the method trains.
        """
        score = records.score({task: results[task] for task in self.problem.measured}, self.trial.criterion)
        better = (not math.isnan(score)) if self.last else score > self.position.best_kpi
        if better and self.position.epoch >= self.restart_epoch:
            self.position.best_kpi, self.position.best_epoch = score, self.position.epoch
            with self.updates.averaged():
                self.best = copy_weights(self.network)
        return score
