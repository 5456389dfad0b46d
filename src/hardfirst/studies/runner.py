"""A study on its way: its folder, and what is still to be run in it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from hardfirst.records.cost import read_costs
from hardfirst.records.study_folder import CaseTrials, Description
from hardfirst.studies import cost
from hardfirst.studies.executors.local import Event, run_alone, run_locally
from hardfirst.studies.executors.ray import run_on_ray
from hardfirst.studies.kinds.balancers import Job
from hardfirst.studies.kinds.base import schedules
from hardfirst.studies.plan import Plan
from hardfirst.studies.store import Store
from hardfirst.training import Trial, check_devices


class Runner:
    """Runs what a plan asks for and its folder does not have yet.

    Args:
        plan: the study.
        folder: where it lives; None for `runs/` and the problems' names.
        command: what the user typed, for the records.

    Raises:
        InputError: the folder cannot be written to, or this machine has not the devices.
    """

    def __init__(self, plan: Plan, folder: Path | None = None, command: str | None = None) -> None:
        if plan.engine == "local":
            check_devices(1, "auto", plan.accelerator)
        self.plan, self.command = plan, command
        names = list(dict.fromkeys(problem.name for _, problem in plan.cases))
        what = "Orders of tasks" if plan.orders else "Losses" if plan.losses else "Balancing methods"
        self.title = f"{what} on {', '.join(names)}"
        suffix = ["order"] * plan.orders + ["losses"] * bool(plan.losses)
        self.store = Store(folder or Path("runs") / "-".join([*names, *suffix]))
        self.store.begin()
        self.schedules = schedules(plan, self.store.find)
        self.wanted: dict[str, list[Job]] = {}
        self._by_trial: dict[Trial, list[Job]] = {}
        self._described: list[CaseTrials] = []
        self._describe()

    def jobs(self) -> dict[str, list[Job]]:
        """What is known to be needed so far, by key; one trial may serve several methods."""
        found: dict[str, list[Job]] = {}
        for schedule in self.schedules:
            for job in schedule.jobs():
                found.setdefault(schedule.key(job.trial), []).append(job)
        return found

    def run(self, tell: Callable[[Event], None] = lambda event: None) -> None:
        """Run to the end; on Ctrl-C what has ended stays, and the same call goes on from there."""
        plan = self.plan
        run: Callable[..., None] = run_locally
        if plan.engine == "ray":
            run = partial(run_on_ray, address=plan.address, cpus=plan.trial_cpus, gpus=plan.trial_gpus)
        run(self._wanted, self.store, workers=plan.workers, command=self.command, accelerator=plan.accelerator, tell=tell)
        self._describe()

    def serves(self, trial: Trial) -> list[Job]:
        """What a trial is wanted for."""
        return self._by_trial.get(trial, [])

    def measure_cost(self) -> None:
        """Measure what a step of each method costs, in a process with nothing beside it, unless that has been done."""
        base = self.schedules[0].baseline
        known, wanted = read_costs(self.store.cost_file), {s.name: s.first_trials() for s in self.schedules}
        if any(base not in trials for trials in wanted.values()):
            return
        if all(set(known.get(name, {})) == set(trials) for name, trials in wanted.items()):
            return
        with self.store.claim("cost") as mine:  # another process with the same folder may be at it
            if mine:
                run_alone(partial(cost.measure_all, wanted, base, self.store.cost_file, self.plan.accelerator))

    def _wanted(self) -> dict[str, Trial]:
        self._describe()
        self.wanted = self.jobs()
        self._by_trial = {jobs[0].trial: jobs for jobs in self.wanted.values()}
        return {key: jobs[0].trial for key, jobs in self.wanted.items()}

    def _describe(self) -> None:
        """Bring study.json up to date."""
        cases = [schedule.entries() for schedule in self.schedules]
        if cases != self._described:
            plan = self.plan.model_dump(mode="json", exclude_defaults=True)
            self.store.describe(Description(title=self.title, command=self.command, cases=cases, plan=plan))
            self._described = cases
