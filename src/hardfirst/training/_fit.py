"""The training loop."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from hardfirst import record
from hardfirst.balancers import Balancer, task_weights
from hardfirst.errors import InputError
from hardfirst.problems import Problem, Split, Splits
from hardfirst.training import _checkpoint
from hardfirst.training._batch import Measured, measure
from hardfirst.training._check import check
from hardfirst.training._evaluate import Figures, evaluate
from hardfirst.training._interrupt import Interrupt
from hardfirst.training._memory import peak_memory
from hardfirst.training._position import Position, Sums
from hardfirst.training._sampling import epoch_order, load, whole
from hardfirst.training._trial import Trial

if TYPE_CHECKING:
    from lightning.fabric import Fabric  # loaded by `fit`: it takes seconds, which a study's parent need not wait for

Line = dict[str, dict[str, Any]]


class Interrupted(KeyboardInterrupt):
    """The run was stopped by the user; its checkpoint is at `checkpoint`, if it has one."""

    def __init__(self, epoch: int, step: int, checkpoint: Path | None) -> None:
        super().__init__(f"Stopped in epoch {epoch} after step {step}.")
        self.checkpoint = checkpoint


class Watcher(Protocol):
    """Who wants to see a run go on."""

    def step(self, epoch: int, step: int, steps: int) -> None:
        """A training step is done; all three count from 1."""

    def epoch(self, epoch: int, tasks: Line) -> None:
        """An epoch is done; its line is as in the record."""


class Diverged(Exception):  # noqa: N818  # an outcome, not an error
    """A total was not finite; the text says of which tasks the loss was not."""


def fit(
    trial: Trial,
    *,
    record_file: Path,
    checkpoint: Path | None = None,
    resume: bool = False,
    watcher: Watcher | None = None,
    command: str | None = None,
    accelerator: str = "auto",
) -> record.Record:
    """Train a network as the trial says, and write the record.

    Validation comes after each epoch; the epoch with the best validation KPI, by the trial's criterion, is selected, and the
    test split is read once, with that epoch's weights; a trial whose `test` is false never reads it. A total that is not
    finite ends the run as "diverged", which is an outcome too.

    Args:
        trial: what to run.
        record_file: where the record goes, a line per epoch as the run goes on.
        checkpoint: where to save after every epoch and on Ctrl-C; None saves nothing.
        resume: go on from the checkpoint. On the CPU the final weights are those of an uninterrupted run, bit for bit.
        watcher: is told of steps and epochs.
        command: what the user typed, for the record.
        accelerator: as in Lightning Fabric: "auto", "cpu", "cuda", "mps".

    Returns:
        The record.

    Raises:
        InputError: the problem's parts do not fit together, or the checkpoint is not of this run.
        Interrupted: Ctrl-C; the state is saved.
    """
    from lightning.fabric import Fabric

    problem = trial.load()
    run = Training(trial, problem, Fabric(accelerator=accelerator, devices=1))
    with torch.random.fork_rng():
        run.begin()
        if resume and checkpoint is not None:
            run.restore(_checkpoint.load(checkpoint, trial.describe(problem)))
        writer = record.Writer(record_file, keep_epochs=run.position.epoch if resume else None)
        if writer.empty:
            writer.trial(trial.describe(problem), problem.task_names, command)
        run.train(writer, checkpoint, watcher)
    return record.read(record_file)


class Training:
    """A trial on its way: network, optimizer, balancer, data, and how far it has come."""

    def __init__(self, trial: Trial, problem: Problem, fabric: "Fabric") -> None:
        self.trial, self.problem, self.fabric = trial, problem, fabric
        self.position = Position()

    def begin(self) -> None:
        """Make everything from the seed."""
        torch.manual_seed(self.trial.seed)
        module = self.problem.network()
        if not isinstance(module, nn.Module):
            raise InputError(f"`network` of problem {self.problem.name!r} should return a torch.nn.Module.")
        self.balancer: Balancer = self.fabric.to_device(
            self.trial.balancer.build(self.problem.task_names, seed=self.trial.seed)
        )
        self.shared = self._shared(module)
        optimizer = torch.optim.Adam(module.parameters(), lr=self.trial.learning_rate, fused=True)
        self.network, self.optimizer = self.fabric.setup(module, optimizer)
        self.splits: Splits = self.problem.data()
        self.best = self._copy()
        if self.trial.only is None and self.steps:
            check(self.problem, self.network, *next(self.batches()))

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a checkpoint's state."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.balancer.load_state_dict(state["balancer"])
        self.best = state["best"]
        torch.set_rng_state(state["rng"])
        position = dict(state["position"])
        self.position = Position(**{**position, "sums": Sums(**position["sums"])})

    def state(self) -> dict[str, Any]:
        """What `restore` needs."""
        return {
            "settings": self.trial.describe(self.problem),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "balancer": self.balancer.state_dict(),
            "best": self.best,
            "rng": torch.get_rng_state(),
            "position": asdict(self.position),
        }

    def train(self, writer: record.Writer, checkpoint: Path | None, watcher: Watcher | None) -> None:
        """Train to the end, from wherever the run stands."""
        try:
            with Interrupt() as interrupt:
                while self.position.epoch < self.trial.epochs:
                    self._epoch(interrupt, checkpoint, watcher)
                    lines = self._end_epoch(writer)
                    if checkpoint is not None:
                        _checkpoint.save(checkpoint, self.state())
                    if watcher is not None:
                        watcher.epoch(self.position.epoch, lines)
        except Diverged as reason:
            memory = peak_memory(self.fabric.device)
            writer.end("diverged", reason=str(reason), seconds=self.position.seconds, memory=memory)
            return
        self.network.load_state_dict(self.best)
        if self.trial.test:
            writer.test(self.position.best_epoch, self._evaluate(self.splits.test))
        writer.end("finished", seconds=self.position.seconds, memory=peak_memory(self.fabric.device))

    @property
    def steps(self) -> int:
        """Training steps in an epoch."""
        return len(epoch_order(self.problem, self.splits.train, self.trial.seed, self.position.epoch))

    def validate(self) -> dict[str, Figures]:
        """Each task's figures on the validation split."""
        return self._evaluate(self.splits.validation)

    def batches(self) -> Iterator[Any]:
        """What is left of the epoch's training batches."""
        order = epoch_order(self.problem, self.splits.train, self.trial.seed, self.position.epoch)
        return map(self.fabric.to_device, load(self.splits.train, order[self.position.step :]))

    def _evaluate(self, split: Split) -> dict[str, Figures]:
        return evaluate(self.problem, self.network, map(self.fabric.to_device, load(split, whole(split))))

    def _epoch(self, interrupt: Interrupt, checkpoint: Path | None, watcher: Watcher | None) -> None:
        position, steps = self.position, self.steps
        self.network.train()
        self.balancer.train()
        start = time.perf_counter()
        for inputs, targets in self.batches():
            self.step(inputs, targets)
            position.step += 1
            if watcher is not None:
                watcher.step(position.epoch + 1, position.step, steps)
            if interrupt.wanted:
                position.epoch_seconds += time.perf_counter() - start
                if checkpoint is not None:
                    _checkpoint.save(checkpoint, self.state())
                raise Interrupted(position.epoch + 1, position.step, checkpoint)
        position.epoch_seconds += time.perf_counter() - start

    def step(self, inputs: Any, targets: Mapping[str, Tensor]) -> None:
        """One training step."""
        measured = measure(self.problem, self.network, inputs, targets)
        weights: dict[str, Tensor] = {}

        def backward(total: Tensor) -> None:
            if not total.isfinite():
                raise Diverged(self._broken(measured))
            weights.update(task_weights(total, measured.losses))
            self.fabric.backward(total)

        self.optimizer.zero_grad()
        self.balancer.backward(measured.losses, measured.kpis, shared=self.shared, using=backward)
        self.optimizer.step()
        self.position.sums.add(self.problem, measured, weights)

    def _end_epoch(self, writer: record.Writer) -> Line:
        self.balancer.end_epoch()
        position = self.position
        start = time.perf_counter()
        found = self.validate()
        position.seconds += position.epoch_seconds + time.perf_counter() - start
        self.balancer.update({t.name: found[t.name]["kpi"] for t in self.problem.tasks if t.kpi_from == "validation"})
        lines = {name: {**position.sums.means(name), **_validation(figures)} for name, figures in found.items()}
        for task in self.problem.tasks:
            if task.kpi_from == "validation":
                lines[task.name]["kpi"] = found[task.name]["kpi"]
        position.epoch, position.step, position.sums = position.epoch + 1, 0, Sums()
        self._select(found)
        writer.epoch(
            position.epoch,
            seconds=position.epoch_seconds,
            learning_rate=float(self.optimizer.param_groups[0]["lr"]),
            tasks=lines,
        )
        position.epoch_seconds = 0.0
        return lines

    def _select(self, found: Mapping[str, Figures]) -> None:
        """Keep the weights of the best epoch so far by the validation split."""
        reached = record.score([figures["kpi"] for figures in found.values()], self.trial.criterion)
        if reached > self.position.best_kpi:
            self.position.best_kpi, self.position.best_epoch = reached, self.position.epoch
            self.best = self._copy()

    def _copy(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}

    def _shared(self, module: nn.Module) -> list[nn.Parameter] | None:
        if "shared" not in self.balancer.needs:
            return None
        shared = getattr(module, "shared_parameters", None)
        if shared is None:
            raise InputError(
                f"Balancer {str(self.trial.balancer)!r} needs the shared parameters; give the network of problem "
                f"{self.problem.name!r} a method `shared_parameters()`, as hardfirst.networks have."
            )
        return list(shared())

    def _broken(self, measured: Measured) -> str:
        broken = [task for task, loss in measured.losses.items() if not loss.isfinite()]
        where = f"in epoch {self.position.epoch + 1}, step {self.position.step + 1}"
        return f"the loss of {', '.join(broken)} was not finite {where}" if broken else f"the total was not finite {where}"


def _validation(figures: Figures) -> dict[str, Any]:
    return {f"validation_{name}": value for name, value in figures.items()}
