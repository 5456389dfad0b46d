"""The training loop of a group of trials."""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hardfirst.balancers._stacked import trains_together
from hardfirst.problems import Split
from hardfirst.training._check import check, check_labels, load_splits
from hardfirst.training._devices import peak_memory
from hardfirst.training._divergence import divergence_reason
from hardfirst.training._evaluate import TaskResult, evaluation_batch
from hardfirst.training._interrupt import Interrupt, Interrupted
from hardfirst.training._lines import validation_kpis
from hardfirst.training._loading import load
from hardfirst.training._network import must_join
from hardfirst.training._sampling import evaluation_order
from hardfirst.training._updates import optimizer_steps, restart_epoch
from hardfirst.training.vectorized._balancers import Accumulating, balancers_of
from hardfirst.training.vectorized._data import Batches, stacked
from hardfirst.training.vectorized._evaluation import Evaluations
from hardfirst.training.vectorized._history import History
from hardfirst.training.vectorized._measure import Measures
from hardfirst.training.vectorized._refusal import NotVectorizable
from hardfirst.training.vectorized._rehearsal import build, rehearse, shared_names, single_step
from hardfirst.training.vectorized._rows import Rows
from hardfirst.training.vectorized._run import Run
from hardfirst.training.vectorized._stack import Stack
from hardfirst.training.vectorized._updates import StackedUpdates

if TYPE_CHECKING:
    from lightning.fabric import Fabric


class Group:
    """State of trials that are trained together.

    Args:
        rows: the trials, alike but for seed, learning rate, balancer and the only task that they train.
        fabric: of the device.
    """

    def __init__(self, rows: Rows, fabric: "Fabric") -> None:
        self.rows, self.trials, self.problem, self.fabric = rows, rows.trials, rows.problem, fabric
        self.first, self.seconds = rows.trials[0], 0.0  # of each trial
        self._measured_together: dict[Any, bool] = {}

    def begin(self) -> None:
        """Build networks, optimizer, balancers and data, each trial's as a single run does, and try a step.

        Raises:
            NotVectorizable: the trials cannot be trained together.
            InputError: the problem's parts do not fit together.
        """
        rows, problem, trials = self.rows, self.problem, self.trials
        self.splits = load_splits(problem, test=self.first.test)
        train, seeds = self.splits.train, [trial.seed for trial in trials]
        join_single, *others = {must_join(variant, train) for variant in rows.variants}
        if others:
            raise NotVectorizable("The last batch has one example more for some tasks than for others.")
        self.batches = Batches(rows, train, join_single=join_single)
        orders = self.batches.orders(0)
        firsts = [next(load(train, order[:1], draw=(seed, 0))) for order, seed in zip(orders, seeds, strict=True)]
        modules = [build(problem, seed, inputs) for seed, (inputs, _) in zip(seeds, firsts, strict=True)]
        if self.first.only is None:
            for module, batch in zip(modules, firsts, strict=True):
                check(problem, module, *batch)
        for variant in rows.variants:
            check_labels(variant, self.splits)
        balancers = [trial.balancer.build(problem.task_names, seed=trial.seed) for trial in trials]
        for trial, balancer in zip(trials, balancers, strict=True):
            if not trains_together(type(balancer)):
                raise NotVectorizable(f"The method {trial.balancer.name} works on gradients, which are trained singly.")
            balancer.plan_steps(optimizer_steps(problem.recipe, len(orders[0])) * self.first.epochs)
        if len({"shared" in balancer.needs for balancer in balancers}) > 1:
            raise NotVectorizable("GradNorm is trained together with itself alone.")
        on_device = [self.fabric.to_device(balancer) for balancer in balancers]
        trained, self.work = single_step(problem, modules[0], firsts[0])
        self.work.check(self.fabric.device.type)
        self.stack = Stack(modules, trained, self.fabric.device)
        norms = self._norms(modules[0], firsts[0]) if "shared" in on_device[0].needs else None
        self.balancers = balancers_of(on_device, accumulate=problem.recipe.accumulate, norms=norms)
        self.measures = Measures(rows, self.batches.tasks, self.batches.gaps, self.stack)
        batch = stacked([(inputs, {task: targets[task] for task in self.batches.tasks}) for inputs, targets in firsts])
        moved = self._moved(modules, firsts) if rows.mixed else None
        copies = [copy.deepcopy(module).to(self.fabric.device) for module in modules]
        rehearse(self.measures, copies, self.fabric.to_device(batch))
        self.updates = StackedUpdates(
            problem.recipe,
            self.fabric,
            self.stack,
            moved=moved,
            learning_rates=[trial.learning_rate for trial in trials],
            restarts=[balancer.restart_step for balancer in balancers],
            batches=len(orders[0]),
            epochs=self.first.epochs,
        )
        self.best = self.stack.copy()
        steps = self.updates.steps_in_epoch
        self.restarts = [(restart_epoch(balancer, steps), balancer.restart_step) for balancer in balancers]
        """By trial, the epoch in which its network goes back to step 0, and the steps before it."""

    def _norms(self, module: nn.Module, batch: Any) -> Callable[[Tensor], Tensor]:
        """What `NormBalancers` needs."""
        if self.problem.recipe.accumulate > 1:
            raise NotVectorizable("GradNorm is trained singly where an optimizer step has several batches.")
        names = shared_names(self.problem, module, str(self.first.balancer), batch)
        return partial(self.stack.gradient_norms, columns=self.stack.among([names])[0])

    def _moved(self, modules: Sequence[nn.Module], batches: Sequence[Any]) -> Tensor:
        """Whether a single run of a trial changes a parameter: [trials, parameters]."""
        names: list[list[str]] = []
        for variant in self.rows.variants:
            row = len(names)
            trained, _ = single_step(variant, modules[row], batches[row])
            names += [trained] * self.rows.count(variant.task_names[0])
        return self.stack.among(names)

    def train(self, runs: Sequence[Run], interrupt: Interrupt) -> None:
        """Train all trials to their end."""
        with interrupt:
            for epoch in range(self.first.epochs):
                self._epoch(epoch, runs, interrupt)
                if all(run.ended for run in runs):
                    return
        self.stack.restore(self.best)
        results = self._evaluate(self.splits.test, "test", runs, test=True) if self.first.test else None
        for row, run in enumerate(runs):
            if run.ended or not run.best_epoch:
                continue
            if results is not None:
                run.writer.test(run.best_epoch, results[row])
            run.end("finished", seconds=self.seconds, memory=self._memory())

    def _epoch(self, epoch: int, runs: Sequence[Run], interrupt: Interrupt) -> None:
        start = time.perf_counter()
        history = History(self.rows, self.batches.tasks)
        self.stack.template.train()
        for step, (batch, counts) in enumerate(self.batches.epoch(epoch)):
            self._restart(epoch, step)
            history.add(*self.step(step, *self.fabric.to_device(batch)), counts)
            if interrupt.requested:
                raise Interrupted(epoch + 1, step + 1, None)
        fatal, means = history.fatal(), history.means()
        seconds = (time.perf_counter() - start) / len(runs)
        self.seconds += seconds
        for row, (run, step_of) in enumerate(zip(runs, fatal, strict=True)):
            if step_of is not None and not run.ended:
                reason = self._reason(row, epoch, step_of, history.losses(step_of, row))
                run.end("diverged", reason, seconds=self.seconds, memory=self._memory())
        if not all(run.ended for run in runs):
            self._end_epoch(epoch, runs, means, seconds)

    def _end_epoch(self, epoch: int, runs: Sequence[Run], means: Sequence[Mapping[str, Any]], seconds: float) -> None:
        self.balancers.end_epoch()
        start = time.perf_counter()
        with self.updates.averaged():
            results = self._evaluate(self.splits.validation, None if epoch else "validation", runs)
            self.seconds += (time.perf_counter() - start) / len(runs)
            self.balancers.update(self._validated(results))
            rates = self.updates.learning_rates()
            scores = [
                run.epoch(epoch + 1, *figures, seconds=seconds, learning_rate=rate)
                for run, *figures, rate in zip(runs, means, results, rates, strict=True)
            ]
            better = [row for row, run in enumerate(runs) if run.best_epoch == epoch + 1]
            self.stack.keep(self.best, torch.tensor(better, dtype=torch.long, device=self.fabric.device))
        self.updates.end_epoch(scores)

    def _restart(self, epoch: int, number: int) -> None:
        """Put the networks back to step 0 whose methods do so before this batch. Until then, their best weights are the
        initial ones.
        """
        if self.updates.part(number).first:
            self.updates.restart(self.updates.steps_before(epoch, number), self.best)

    def step(self, number: int, inputs: Any, targets: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Train on a batch of each trial; return totals [trials], and losses, KPIs and weights [trials, tasks].

        A trial whose total is not finite gets weights that are not either, in its own row alone.

        Args:
            number: of the batch in its epoch, from 0.
            inputs: of the batches.
            targets: likewise.
        """
        part = self.updates.part(number)
        if isinstance(self.balancers, Accumulating):
            self.balancers.last = part.last
        losses, kpis = self.measures.measure(inputs, targets)
        totals, weights = self.balancers.step(losses, kpis)
        if part.first:
            self.updates.zero_grad()
        torch.autograd.backward(totals.sum() if part.batches == 1 else totals.sum() / part.batches)
        if part.last:
            self.updates.step()
        return totals, losses, kpis, weights

    def _validated(self, results: Sequence[Mapping[str, TaskResult]]) -> Tensor:
        """The KPIs that balancers get from the validation: [trials, tasks], NaN for the others."""
        names, pairs = self.problem.task_names, zip(self.rows.problems, results, strict=True)
        by_trial = [validation_kpis(problem, result) if result else {} for problem, result in pairs]
        rows = [[kpis.get(name, torch.nan) for name in names] for kpis in by_trial]
        return torch.tensor(rows, device=self.fabric.device)

    @torch.no_grad()
    def _evaluate(
        self, split: Split, warns_of: str | None, runs: Sequence[Run], *, test: bool = False
    ) -> list[dict[str, TaskResult]]:
        """Each trial's figures on a split; none of those that have ended."""
        problem, live = self.problem, [row for row, run in enumerate(runs) if not run.ended]
        evaluations = Evaluations(self.rows, self.fabric.device, live, self._measured_together, test=test, name=warns_of)
        self.stack.template.eval()
        # a batch has many examples, so that the arithmetic of convolutions outweighs all else
        convolves = self.work.convolutions and self.fabric.device.type == "cpu"
        run = self.stack.run_each if convolves else partial(self.stack.run, same=True)
        order = evaluation_order(split, evaluation_batch(problem, split))
        for inputs, targets in map(self.fabric.to_device, load(split, order)):
            evaluations.add(run(self._outputs, inputs), targets)
        return [evaluations.results(row) for row in range(len(runs))]

    def _outputs(self, network: Any, inputs: Any) -> dict[str, Tensor]:
        outputs = network(inputs)
        return {name: outputs[name] for name in self.problem.task_names}

    def _reason(self, row: int, epoch: int, step: int, losses: Mapping[str, float]) -> str:
        """Why a trial diverged, as a single run says it."""
        order = self.batches.orders(epoch)[row][step : step + 1]
        _, targets = next(load(self.splits.train, order, draw=(self.trials[row].seed, epoch)))
        return divergence_reason(epoch, step + 1, losses, targets)

    def _memory(self) -> int | None:
        peak = peak_memory(self.fabric.device)
        return None if peak is None else peak // len(self.trials)
