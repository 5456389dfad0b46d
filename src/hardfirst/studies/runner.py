"""Runs a study in its folder."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from hardfirst.errors import InputError
from hardfirst.problems import explained
from hardfirst.problems.tables import is_table, prepared_in
from hardfirst.problems.tables._card import data_cards
from hardfirst.records.cost import read_costs
from hardfirst.records.description import CaseTrials, Description
from hardfirst.studies import cost, trees
from hardfirst.studies.executors._together import Together
from hardfirst.studies.executors.drive import Drive, Event
from hardfirst.studies.executors.local import cores, run_alone
from hardfirst.studies.forecast import counts
from hardfirst.studies.kept import Kept, keep_best
from hardfirst.studies.kinds import KINDS
from hardfirst.studies.plan import Plan
from hardfirst.studies.store import Store
from hardfirst.studies.trials import StudyTrial
from hardfirst.training import fingerprint, load_splits, same_data


class Runner:
    """Runs what a plan asks for and its folder does not have yet.

    Args:
        plan: the study.
        folder: the study's; None for `runs/` and the problems' names.
        command: what the user typed, for the records.
        keep: whether the trained networks of the best runs are kept, for `hardfirst.load`.

    Raises:
        InputError: the folder cannot be written to, this machine lacks what the plan's engine needs, or the engine cannot
            keep networks.
    """

    def __init__(self, plan: Plan, folder: Path | None = None, command: str | None = None, *, keep: bool = False) -> None:
        self.executor = plan.engine_spec.build()
        self.executor.check(plan.accelerator)
        if keep and not self.executor.shares_folder:
            raise InputError(
                f"The engine {plan.engine_spec.name} trains where the study's folder may not be, so that networks cannot be "
                "kept; keep none, or use --engine local."
            )
        self.plan, self.command, self.keep = plan, command, keep
        kind = KINDS[plan.kind]
        names = list(dict.fromkeys(problem.name for _, problem in plan.cases))
        self.title = f"{kind.title} on {', '.join(names)}"
        self.store = Store(folder or Path("runs") / "-".join(filter(None, [*names, kind.suffix])))
        self.store.begin()
        self.stale = self._set_aside_stale()
        """The number of records that are not taken up, since they are of other data than the problem's file returns now."""
        self.cases = [kind(plan, case, self.store.find) for case in plan.cases]
        self.wanted: dict[str, list[StudyTrial]] = {}
        """By key, the trials that were known to be needed when the runner last asked."""
        self.kept: list[Kept] = []
        """Once the study has run, the trained networks of the best runs, if it keeps them."""
        self._described: list[CaseTrials] = []
        self._named = {problem.name: trial.problem for trial, problem in plan.cases}
        self._cards = data_cards(self._named)
        self._describe()

    def trials(self) -> dict[str, list[StudyTrial]]:
        """The trials that are known to be needed so far, by key; several may share one, which then runs once."""
        trials: dict[str, list[StudyTrial]] = {}
        for case in self.cases:
            for trial in case.trials():
                trials.setdefault(trial.key, []).append(trial)
        return trials

    @property
    def ended(self) -> int:
        """How many of the runs that `counts` tells of have ended; those that share a record count each."""
        counted = counts(self.plan)
        return sum(
            trial.row in counted for key, trials in self.trials().items() if self.store.ended(key) for trial in trials
        )

    def _set_aside_stale(self) -> int:
        """Set aside the records of runs whose data is not what a user's file returns now, and return their number.

        A key holds the user's files, but not what they read. The data is loaded only if there are records to compare with.
        """
        stale = 0
        for trial, problem in {case.trial.problem: case for case in self.plan.cases}.values():
            own = {name: setting for name, setting in trial.describe(problem).items() if name.startswith("problem")}
            recorded = {
                key: data
                for key, record in self.store.records()
                if (data := record.made_with.get("data")) is not None and own.items() <= record.trial.items()
            }
            if recorded:
                now = fingerprint(explained(trial.problem, partial(load_splits, problem, test=False)))
                keys = [key for key, data in recorded.items() if not same_data(data, now)]
                for key in keys:
                    self.store.set_aside(key)
                stale += len(keys)
        return stale

    def run(self, tell: Callable[[Event], None] = lambda event: None) -> None:
        """Run the study to its end. On Ctrl-C records of ended trials stay, and the same call resumes."""
        plan = self.plan

        def singly(trial: StudyTrial, reason: str) -> None:
            tell(Event(trial.trial, "singly", trial.key, reason))

        drive = Drive(
            self.executor,
            self.store,
            workers=plan.workers,
            command=self.command,
            accelerator=plan.accelerator,
            tell=tell,
            together=Together(plan.workers or cores(), plan.accelerator, singly),
            kept=lambda trial: self.keep and not all(each.tuning for each in self.wanted[trial.key]),
        )
        with self._tables():
            drive.run(self._wanted)
        self._describe()
        if self.keep:
            with self.store.claim("models") as mine:  # else another process with the same folder keeps them
                self.kept = keep_best(self.store, self.cases) if mine else []

    @property
    def any_finished(self) -> bool:
        """Whether any reported run has finished, rather than diverged or failed."""
        reported = [key for key, trials in self.trials().items() if not all(trial.tuning for trial in trials)]
        return any(self._outcome(key) == "finished" for key in reported)

    @property
    def failed(self) -> list[StudyTrial]:
        """The runs that an error has ended; a divergence is none."""
        return [trials[0] for key, trials in self.trials().items() if self._outcome(key) == "failed"]

    def _outcome(self, key: str) -> str | None:
        record = self.store.find(key)
        return None if record is None else record.outcome

    def measure_cost(self, tell: Callable[[float], None] = lambda share: None) -> None:
        """Measure what a step of each method costs, in a process that runs alone, unless the folder has it.

        Args:
            tell: called with the share of the work that is done, in [0, 1]; never if there is nothing to measure.
        """
        if not self.plan.cost:
            return
        baseline = self.cases[0].baseline
        measured, wanted = read_costs(self.store.cost_file), {case.name: case.first_trials() for case in self.cases}
        if any(baseline not in trials for trials in wanted.values()):
            return
        if all(set(measured.get(name, {})) == set(trials) for name, trials in wanted.items()):
            return
        with self.store.claim("cost") as mine:  # else another process with the same folder measures it
            if mine:
                work = partial(cost.measure_all, wanted, baseline, self.store.cost_file, self.plan.accelerator)
                with self._tables():
                    run_alone(work, "the cost of a training step", tell, self.store.tables)

    def measure_trees(self, tell: Callable[[float], None] = lambda share: None) -> None:
        """Train gradient-boosted trees for the targets of the plan's tables, unless the folder has them.

        They are a reference like the single-task networks, in a process that runs alone.

        Args:
            tell: as in `measure_cost`.
        """
        if not (self.plan.baselines and KINDS[self.plan.kind].has_baselines):
            return
        tables = {name: problem for name, problem in self._named.items() if is_table(problem)}
        if not trees.missing(tables, self.store.trees_file):
            return
        with self.store.claim("trees") as mine:
            if mine:
                work = partial(trees.measure_all, tables, self.store.trees_file)
                with self._tables():
                    run_alone(work, "gradient-boosted trees", tell, self.store.tables)

    def _tables(self) -> AbstractContextManager[None]:
        """Keeps the study's tables prepared for its workers, where they see its folder."""
        return prepared_in(self.store.tables, self._named.values() if self.executor.shares_folder else ())

    def _wanted(self) -> dict[str, StudyTrial]:
        self._describe()
        self.wanted = self.trials()
        return {key: trials[0] for key, trials in self.wanted.items()}

    def _describe(self) -> None:
        """Bring study.json up to date."""
        cases = [case.entries() for case in self.cases]
        if cases != self._described:
            self.store.describe(
                Description(
                    title=self.title,
                    command=self.command,
                    cases=cases,
                    plan=self.plan.settings(),
                    kind=self.plan.kind,
                    tables=self._cards,
                )
            )
            self._described = cases
