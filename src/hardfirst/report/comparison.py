"""A study's outcome: what the terminal, the page and the Python API show of it."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardfirst.errors import InputError
from hardfirst.records import write_atomically
from hardfirst.records.cost import read_costs
from hardfirst.records.names import OWN
from hardfirst.records.study_folder import Run, StudyFolder
from hardfirst.report import figures
from hardfirst.report.html.page import page, sections
from hardfirst.report.model import frames
from hardfirst.report.model.case import Case, arrange
from hardfirst.report.sections import networks, overview
from hardfirst.report.text.verdict import verdict

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


def _cases(runs: Sequence[Run]) -> list[Case]:
    """The cases of records that no study has described, such as those of other libraries' loops."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        trial = run.record.trial
        groups.setdefault((str(trial.get("problem")), trial.get("network", OWN)), []).append(run)
    return [arrange(group) for group in groups.values()]


class Comparison:
    r"""What a study found, one `Case` for each problem and network.

    Args:
        cases: at least one.
        title: the page's heading.
        command: what made the runs; None takes it from the records.
        plan: the study's settings, as a YAML file of it would hold them.
        missing: how many trials have not ended yet.
        damaged: what is wrong with each record that was left out.

    Raises:
        InputError: there is no case.

    Example:
        What a study in a folder came to::

            found = Comparison.read("runs/digits")
            print("\n".join(found.verdict))
            found.summary.to_csv("summary.csv")
    """

    def __init__(
        self,
        cases: Sequence[Case],
        *,
        title: str = "Balancing methods",
        command: str | None = None,
        plan: Mapping[str, Any] | None = None,
        missing: int = 0,
        damaged: Sequence[str] = (),
    ) -> None:
        if not cases:
            raise InputError("Expected at least one case to report on; got none.")
        self.cases, self.title, self.command = tuple(cases), title, command
        self.plan, self.missing, self.damaged = dict(plan or {}), missing, tuple(damaged)

    @classmethod
    def read(cls, folder: str | Path) -> "Comparison":
        """The outcome of the study in this folder, as far as it has come; or of the records in it, without a study.

        Raises:
            InputError: there is neither, no run to report on has ended, or a record is damaged.
        """
        store = StudyFolder(Path(folder))
        if not store.described and (found := store.all_runs()):
            return cls(_cases(found), title=f"Runs in {Path(folder).name}", damaged=list(store.damaged.values()))
        if not store.described and store.damaged:
            raise InputError(next(iter(store.damaged.values())))
        about, costs = store.about(), read_costs(store.cost_file)
        cases, missing = [], 0
        for trials in about.cases:
            runs = store.runs(trials)
            keys = {entry.key for entry in trials.trials} - store.damaged.keys()
            missing += sum(store.find(key) is None for key in keys)
            if any(not run.tuning and run.role not in ("single", "order") for run in runs):
                known = costs.get(f"{trials.problem}/{trials.network}")
                cases.append(arrange(runs, known, trials.baseline, trials.network))
        damaged = list(store.damaged.values())
        if not cases:
            why = (
                f"Of the records that there are, none can be read. {damaged[0]}"
                if damaged
                else "There is nothing to report."
            )
            raise InputError(f"No trial of the study in {folder} has ended yet. {why}")
        return cls(cases, title=about.title, command=about.command, plan=about.plan, missing=missing, damaged=damaged)

    @cached_property
    def verdict(self) -> list[str]:
        """What the runs say, in sentences; of several cases one for each, and what they say together."""
        if len(self.cases) == 1:
            return verdict(self.cases[0])
        return [*overview.sentences(self.cases), *networks.sentences(self.cases)]

    @cached_property
    def summary(self) -> "pd.DataFrame":
        """A row for each case, task (or worst task, mean, …) and method: see `frames.summaries`."""
        return frames.summaries(self.cases)

    @cached_property
    def runs(self) -> "pd.DataFrame":
        """A row for each run and task: see `frames.runs`."""
        return frames.runs(self.cases)

    @cached_property
    def tuning(self) -> "pd.DataFrame":
        """A row for each run that settings were chosen from: see `frames.tuning`."""
        return frames.tuning(self.cases)

    @cached_property
    def figures(self) -> "dict[str, go.Figure]":
        """The page's charts as plotly figures, by the id that they have on the page.

        Where there are several cases, a case's charts begin with its name.

        Example:
            In a notebook::

                found = Comparison.read("runs/digits")
                list(found.figures)  # ['intervals', 'validation', 'weights', ...]
                found.figures["intervals"].show()
                found.figures["weights"].write_image("weights.pdf")  # with kaleido installed
        """
        charts = {name: chart for section in sections(self.cases) for name, chart in section.all_charts().items()}
        return {name: figures.as_plotly(chart) for name, chart in charts.items()}

    def html(self) -> str:
        """The page."""
        return page(
            self.cases,
            title=self.title,
            command=self.command,
            plan=self.plan,
            missing=self.missing,
            damaged=self.damaged,
        )

    def save(self, path: str | Path) -> Path:
        """Write the page."""
        write_atomically(Path(path), self.html())
        return Path(path)
