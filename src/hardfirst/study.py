"""Studies from Python: `Study(...).run()` and `Search(...).run()`."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

try:
    from hardfirst.report import Comparison
    from hardfirst.report.text.search import headline, paste
    from hardfirst.studies import Event, Plan, Runner
except ModuleNotFoundError as error:
    raise ImportError(f'Studies need {error.name}, which is not installed: pip install "hardfirst[cli]"') from None


class Study(Plan):
    r"""A `Plan` that can be run; it takes the same settings.

    Example:
        A study of two methods with three seeds, and its results::

            from hardfirst.study import Study

            if __name__ == "__main__":  # trials run in separate processes, which import this file
                comparison = Study(problems="digits", balancers="equal,dtp", seeds=3).run("runs/mine")
                print("\n".join(comparison.verdict))
                comparison.summary  # a pandas frame, as are comparison.runs and comparison.tuning
                comparison.save("mine.html")
    """

    def run(
        self,
        folder: str | Path | None = None,
        *,
        keep: bool = False,
        tell: Callable[[Event], None] = lambda event: None,
    ) -> Comparison:
        """Run what the folder does not have yet, and summarise the study.

        Args:
            folder: the study's. Default: `runs/` and the problems' names. A study that was stopped is resumed.
            keep: keep the trained network of each method's best run in `models/`, for `hardfirst.load`.
            tell: called with each `Event`.

        Raises:
            InputError: the folder cannot be written to, or no trial has finished.
        """
        return _run(self, folder, keep, tell)


@dataclass(frozen=True)
class Recommendation:
    """What a search recommends.

    Args:
        spec: the method to use: the winner's spec if fresh seeds confirm its gain, else "equal".
        winner: the spec of the candidate that was best on the search seeds; None if none was better than equal weights.
        verdict: the answer, in sentences.
        lines: what to paste to train with the winner, by what it is, such as "Python"; empty for equal weights.
        comparison: the runs on fresh seeds, as a comparison with equal weights.
    """

    spec: str
    winner: str | None
    verdict: list[str]
    lines: dict[str, str]
    comparison: Comparison


class Search(Plan):
    r"""A search that can be run: a `Plan` of the kind "search".

    Args:
        maximise: the objective, such as "mean", "worst", "hard", "a,b" or "0.7*a+0.3*b" with names of tasks. Default: the
            plan's setting `search`.
        **settings: those of `Plan`, such as `problems`, `keep` and `candidates`.

    Raises:
        InputError: a setting is wrong.

    Example:
        ::

            from hardfirst.study import Search

            if __name__ == "__main__":  # trials run in separate processes, which import this file
                found = Search(problems="digits", maximise="worst", keep=["mean:0.5"]).run("runs/mine")
                print("\n".join(found.verdict))
                found.spec  # "dtp:uniform=0.8" or "equal"
                found.comparison.save("mine.html")
    """

    def __init__(self, /, maximise: Any = None, **settings: Any) -> None:
        super().__init__(**{"kind": "search", **settings, **({} if maximise is None else {"search": maximise})})

    def run(
        self,
        folder: str | Path | None = None,
        *,
        keep_networks: bool = False,
        tell: Callable[[Event], None] = lambda event: None,
    ) -> Recommendation:
        """Run what the folder does not have yet, and say what to use.

        Args:
            folder: the study's. Default: `runs/` and the problem's name. A search that was stopped is resumed.
            keep_networks: keep the trained network of each method's best fresh run in `models/`, for `hardfirst.load`.
            tell: called with each `Event`.

        Raises:
            InputError: the folder cannot be written to, or no trial has finished.
        """
        comparison = _run(self, folder, keep_networks, tell)
        found = comparison.cases[0].search
        assert found is not None  # a search that has run
        lines = {each.what: each.text for each in paste(found, comparison.plan)}
        return Recommendation(comparison.recommended, found.spec, list(headline(found).sentences), lines, comparison)


def _run(plan: Plan, folder: str | Path | None, keep: bool, tell: Callable[[Event], None]) -> Comparison:
    runner = Runner(plan, None if folder is None else Path(folder), keep=keep)
    if runner.stale:
        warnings.warn(
            f"{runner.stale} records in {runner.store.folder} are of other data than now: these runs begin again, and "
            "the records are set aside.",
            stacklevel=3,
        )
    runner.run(tell)
    runner.measure_trees()
    runner.measure_cost()
    return Comparison.read(runner.store.folder)
