"""A study's outcome, for the terminal, the page and the Python API."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardfirst.errors import InputError
from hardfirst.records import write_atomically
from hardfirst.records.cost import read_costs
from hardfirst.records.description import Run
from hardfirst.records.names import EQUAL, OWN
from hardfirst.records.study_folder import StudyFolder
from hardfirst.records.trees import read_trees
from hardfirst.report import exports
from hardfirst.report.html.notebook import notebook
from hardfirst.report.html.page import Live, Study, page, sections
from hardfirst.report.model import frames
from hardfirst.report.model.case import Case, arrange
from hardfirst.report.model.search import search_of
from hardfirst.report.plotly_figure import plotly_figure
from hardfirst.report.text import networks, overview, protocol, search
from hardfirst.report.text.verdict import verdict

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


class Comparison:
    r"""What a study found: one `Case` for each problem and network.

    Args:
        cases: at least one.
        title: the page's heading.
        command: the command that started the runs. Default: those in the records.
        plan: the study's settings, as a YAML file of it would hold them.
        missing: the number of trials that have not ended yet.
        damaged: what is wrong with each record that was left out.

    Raises:
        InputError: there is no case.

    Example:
        The outcome of a study in a folder::

            comparison = Comparison.read("runs/digits")
            comparison  # in a notebook: the answer, its figure and the leaderboard
            print("\n".join(comparison.verdict))
            comparison.summary.to_csv("summary.csv")
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
        """Read the study in this folder, which need not be complete, or the records of a folder without a study.

        Raises:
            InputError: there is neither, no run to report on has ended, or a record is damaged.
        """
        store = StudyFolder(Path(folder))
        if not store.described and (runs := store.all_runs()):
            return cls(_cases(runs), title=f"Runs in {Path(folder).name}", damaged=list(store.damaged.values()))
        if not store.described and store.damaged:
            raise InputError(next(iter(store.damaged.values())))
        about, costs, trees = store.about(), read_costs(store.cost_file), read_trees(store.trees_file)
        cases, missing = [], 0
        for trials in about.cases:
            runs = store.runs(trials)
            keys = {entry.key for entry in trials.trials} - store.damaged.keys()
            missing += sum(store.find(key) is None for key in keys)
            if any(run.entry.shown for run in runs):
                case_costs = costs.get(f"{trials.problem}/{trials.network}")
                reference = str(about.plan.get("reference", "own"))
                case = arrange(runs, case_costs, trials.baseline, trials.network, reference)
                case = replace(case, search=search_of(case, trials.trials, runs, about.plan))
                name = trials.problem  # which tells problems of one name apart
                kpis = trees[name].kpis if name in trees else {}
                cases.append(replace(case, problem=name, trees=kpis, table=about.tables.get(name)))
        damaged = list(store.damaged.values())
        if not cases:
            why = (
                f"Of the records that there are, none can be read. {damaged[0]}"
                if damaged
                else "There is nothing to report."
            )
            raise InputError(f"No run of a method of the study in {folder} has ended yet. {why}")
        return cls(cases, title=about.title, command=about.command, plan=about.plan, missing=missing, damaged=damaged)

    @cached_property
    def verdict(self) -> list[str]:
        """What the runs say, in sentences; with several cases one for each, and what they say together."""
        first = protocol.sentences(self.cases)
        if len(self.cases) == 1:
            (case,) = self.cases
            found = search.headline(case.search).sentences if case.search else ()
            return [*first, *found, *(verdict(case) if case.methods else ())]
        return [*first, *overview.sentences(self.cases), *networks.sentences(self.cases)]

    @property
    def recommended(self) -> str:
        """The spec that a search recommends: that of its winner, or "equal" if fresh seeds do not confirm it.

        Raises:
            InputError: the study is no search, has not ended, or has no answer, since no run of equal weights finished.
        """
        found = self.cases[0].search
        if found is None:
            raise InputError("Expected a search, which recommends a method; this study compares methods.")
        if not found.decided or (found.winner and not found.verdict):
            raise InputError("Expected a search that has ended; this one has runs to go: the same command continues.")
        if not found.comparable:
            raise InputError("Expected a search with a finished run of equal weights, which candidates are compared with.")
        return str(found.spec) if found.verdict and found.verdict.recommended else EQUAL

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
        """The page's charts as plotly figures, by their ids on the page.

        With several cases, the id of a case's chart begins with the case's name.

        Example:
            In a notebook::

                comparison = Comparison.read("runs/digits")
                list(comparison.figures)  # ['tradeoff', 'starvation', 'curves', ...]
                comparison.figures["tradeoff"].show()
                comparison.figures["curves"].write_image("curves.pdf")  # with kaleido installed
        """
        parts = sections(self.cases, Study(self.title))
        charts = {name: figure for section in parts for name, figure in section.charts.items()}
        return {name: plotly_figure(figure) for name, figure in charts.items()}

    def html(self, live: Live | None = None) -> str:
        """The page; with `live`, one that reloads itself when its folder changes."""
        return page(
            self.cases,
            title=self.title,
            command=self.command,
            plan=self.plan,
            missing=self.missing,
            damaged=self.damaged,
            exports={form: getattr(exports, form)(self) for form in ("csv", "md", "tex", "json")},
            live=live,
        )

    def _repr_html_(self) -> str:
        """What a notebook shows: the answer, its figure and the leaderboard, without a script."""
        return notebook(self.cases, Study(self.title, self.command, self.plan, self.missing, self.damaged))

    def save(self, path: str | Path) -> Path:
        """Write the page to a file."""
        write_atomically(Path(path), self.html())
        return Path(path)


def _cases(runs: Sequence[Run]) -> list[Case]:
    """The cases of records without a study, such as those of other libraries' loops."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        trial = run.record.trial
        groups.setdefault((str(trial.get("problem")), trial.get("network", OWN)), []).append(run)
    return [arrange(group) for group in groups.values()]
