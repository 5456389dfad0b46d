"""Studies from Python: `Study(...).run()` and `Search(...).run()`."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

try:
    from hardfirst.report import Comparison
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
            keep: keep the trained networks of the best runs in `models/`, for `hardfirst.load`.
            tell: called with each `Event`.

        Raises:
            InputError: the folder cannot be written to, or no trial has finished.
        """
        runner = Runner(self, None if folder is None else Path(folder), keep=keep)
        if runner.stale:
            warnings.warn(
                f"{runner.stale} records in {runner.store.folder} are of other data than now: these runs begin again, and "
                "the records are set aside.",
                stacklevel=2,
            )
        runner.run(tell)
        runner.measure_trees()
        runner.measure_cost()
        return Comparison.read(runner.store.folder)


class Search(Study):
    r"""A `Study` of the kind "search".

    Args:
        maximise: the objective, such as "mean", "worst", "hard", "a,b" or "0.7*a+0.3*b" with names of tasks. Default: the
            setting `search`.
        **settings: those of `Plan`, such as `problems`, `keep` and `candidates`.

    Raises:
        InputError: a setting is wrong.

    Example:
        A search, and the method that it recommends::

            from hardfirst.study import Search

            if __name__ == "__main__":  # trials run in separate processes, which import this file
                found = Search(problems="digits", maximise="worst", keep=["mean:0.5"]).run("runs/mine")
                print("\n".join(found.verdict))
                found.recommended  # a spec such as "dtp:uniform=0.8", or "equal"
                found.save("mine.html")
    """

    def __init__(self, /, maximise: str | None = None, **settings: Any) -> None:
        objective = {} if maximise is None else {"search": maximise}
        super().__init__(**{"kind": "search", **settings, **objective})
