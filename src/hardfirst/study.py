"""A study from Python: `Study(...).run()`."""

from collections.abc import Callable
from pathlib import Path

try:
    from hardfirst.report import Comparison
    from hardfirst.studies import Event, Plan, Runner
except ModuleNotFoundError as error:
    raise ImportError(f'Studies need {error.name}, which is not installed: pip install "hardfirst[cli]"') from None


class Study(Plan):
    r"""A `Plan` that can be run; it takes the same settings.

    Example:
        A study with two methods and three seeds, and what it found::

            from hardfirst.study import Study

            if __name__ == "__main__":  # trials run in processes of their own, which import this file
                found = Study(problems="digits", balancers="equal,dtp", seeds=3).run("runs/mine")
                print("\n".join(found.verdict))
                found.summary  # a pandas frame, as are found.runs and found.tuning
                found.save("mine.html")
    """

    def run(self, folder: str | Path | None = None, *, tell: Callable[[Event], None] = lambda event: None) -> Comparison:
        """Run what the folder does not have yet, and sum up.

        Args:
            folder: the study's; `runs/` and the problems' names unless given. The same study goes on where it was stopped.
            tell: called with each `Event`.

        Raises:
            InputError: the folder cannot be written to, or no trial came to its end.
        """
        runner = Runner(self, None if folder is None else Path(folder))
        runner.run(tell)
        runner.measure_cost()
        return Comparison.read(runner.store.folder)
