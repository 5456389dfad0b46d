"""What a comparison on several problems and networks says as a whole."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from hardfirst.report.blocks import Section, count, paragraphs, place
from hardfirst.report.figures import Style
from hardfirst.report.model import ranks
from hardfirst.report.model.case import EQUAL, Array, Case
from hardfirst.report.model.ranks import Ranks
from hardfirst.report.model.summary import mean_task
from hardfirst.report.sections import tables
from hardfirst.report.text.verdict import verdict
from hardfirst.statistics import Difference, Interval, compare_to, fewest_seeds, mean_interval, worst_task


class Scope(NamedTuple):
    """What is taken over the tasks of a run."""

    name: str
    where: str
    over_tasks: Callable[[Array], Array]


WORST = Scope("worst", "on the worst task", worst_task)
MEAN = Scope("mean", "on the mean over tasks", mean_task)


def sentences(cases: Sequence[Case]) -> list[str]:
    """One for each case on how its methods stand to equal weights, then what their ranks over the cases say."""
    found = _ranks(cases, WORST)
    together = [found.sentence() + _dependent(cases)] if found else []
    return [*(f"{case.name}: {headline(case)}" for case in cases), *together]


def common(cases: Sequence[Case]) -> tuple[str, ...]:
    """The methods that all cases have, in the first one's order."""
    return tuple(method for method in cases[0].methods if all(method in case.methods for case in cases))


def _dependent(cases: Sequence[Case]) -> str:
    problems = len({case.problem for case in cases})
    if problems == len(cases):
        return ""
    return f" They are of {count(problems, 'problem')}, and cases on one problem are not independent, as the test supposes."


# One case


def headline(case: Case) -> str:
    """The verdict on a case in short; it decides over the same methods as the verdict itself."""
    return " ".join([*found, *_left_out(case)]) if (found := in_short(case)) else verdict(case)[0]


def in_short(case: Case) -> list[str]:
    """What is decided of all methods together; nothing where there is nothing to decide."""
    rivals = [method for method in case.others if not (method == case.static and _all_equal(case, method))]
    return _decisions(case, rivals) if case.compares and rivals else []


def _all_equal(case: Case, method: str) -> bool:
    return all(record.trial["balancer"] == EQUAL for record in case.of(method))


def _decisions(case: Case, rivals: Sequence[str]) -> list[str]:
    worst, mean = _against_baseline(case, rivals, WORST), _against_baseline(case, rivals, MEAN)
    if all(difference.decision == "too few seeds" for difference in worst.values()):
        seeds = count(max(difference.interval.n for difference in worst.values()), "seed")
        return [
            f"With {seeds} and {count(len(rivals), 'method')} no difference to {case.against} can be called significant; it "
            f"takes at least {fewest_seeds(len(rivals))}."
        ]
    found = [*worst.values(), *mean.values()]
    counts = {difference.interval.n for difference in found}
    sentences = [_decision(case, scope, by, len(counts) > 1) for scope, by in ((WORST, worst), (MEAN, mean))]
    return [*sentences, _units(counts)] if any(_told(difference) for difference in found) else sentences


def _against_baseline(case: Case, rivals: Sequence[str], scope: Scope) -> dict[str, Difference]:
    values = {method: scope.over_tasks(case.points(method)) for method in rivals}
    return compare_to(scope.over_tasks(case.points(case.baseline)), values)


def _told(difference: Difference) -> bool:
    return difference.decision in ("better", "worse")


def _decision(case: Case, scope: Scope, differences: Mapping[str, Difference], with_n: bool) -> str:
    by: dict[str, list[str]] = {}
    for method, difference in differences.items():
        n = f", n = {difference.interval.n}" if with_n else ""
        size = f" ({difference.interval:+z.1f}{n})" if _told(difference) else ""
        by.setdefault(difference.decision, []).append(method + size)
    better = f"beaten by {', '.join(by['better'])}" if "better" in by else "not beaten"
    rest = {"worse": "below it", "not told apart": "not told apart from it", "too few seeds": "with too few seeds"}
    clauses = [f"{words}: {', '.join(by[decision])}" for decision, words in rest.items() if decision in by]
    return "; ".join([f"{scope.where[0].upper()}{scope.where[1:]} {case.against} was {better}", *clauses]) + "."


def _units(counts: set[int]) -> str:
    n = f", n = {next(iter(counts))}" if len(counts) == 1 else ""
    return f"Differences are in points with 95% intervals{n}."


def _left_out(case: Case) -> list[str]:
    runs = [record for method in case.methods for record in case.of(method)]
    lost = sum(record.outcome != "finished" for record in runs)
    return [f"{lost} of {count(len(runs), 'run')} did not finish; test figures leave them out."] if lost else []


# The section


def section(cases: Sequence[Case], looks: Mapping[str, Style]) -> Section:
    """Cases × methods on the worst task and on the mean over tasks, with ranks over cases."""
    if not common(cases):
        return Section("Overview", ("<p>No method is common to all cases.</p>",))
    blocks, charts = [paragraphs(_partial(cases))], {}
    for scope in (WORST, MEAN):
        found = _ranks(cases, scope)
        blocks += [_table(cases, scope, found, looks), paragraphs(_said(cases, found))]
        if found and found.known:
            name = f"ranks-{scope.name}"
            blocks.append(place(name, f"Mean ranks {scope.where}", _caption(found)))
            charts[name] = ranks.diagram(found, looks)
    return Section("Overview", tuple(blocks), charts)


def _partial(cases: Sequence[Case]) -> list[str]:
    methods = dict.fromkeys(method for case in cases for method in case.methods)
    left = [method for method in methods if method not in common(cases)]
    return [f"Not part of the overview, since not in every case: {', '.join(left)}."] if left else []


def _said(cases: Sequence[Case], found: Ranks | None) -> list[str]:
    if found is None:
        return [f"Ranks over cases are compared from 3 methods on; {len(common(cases))} here."]
    return [found.sentence() + _dependent(cases)]


def _ranks(cases: Sequence[Case], scope: Scope) -> Ranks | None:
    methods = common(cases)
    if len(methods) < 3:
        return None
    values = [[_interval(case, method, scope).mean for method in methods] for case in cases]
    return Ranks(methods, np.array(values), scope.where)


def _interval(case: Case, method: str, scope: Scope) -> Interval:
    return mean_interval(scope.over_tasks(case.points(method)))


def _table(cases: Sequence[Case], scope: Scope, found: Ranks | None, looks: Mapping[str, Style]) -> str:
    methods = common(cases)
    caption = f"Test KPI {scope.where}, in points (KPI × 100): mean over seeds with its 95% interval."
    rows = [("", _row(case, methods, scope)) for case in cases]
    if found and found.known:
        caption += " The mean rank is taken over the cases in which every method has a value."
        means = [f"{rank:.2f}" for rank in found.critical.mean_ranks]
        rows.append(("over-tasks", tables.cells("mean rank (1 is best)", means)))
    head = ["Case", *(tables.swatch(looks[method]) + tables.named(method) for method in methods)]
    return tables.table(f"Test KPI {scope.where} by case and method", caption, head, rows)


def _row(case: Case, methods: Sequence[str], scope: Scope) -> str:
    found = [_interval(case, method, scope) for method in methods]
    most = max(interval.n for interval in found)
    values = [f"{interval:z.1f}" + ("" if interval.n == most else f", n = {interval.n}") for interval in found]
    return tables.cells(f"{tables.named(case.name)}<small>n = {most}</small>", values)


def _caption(found: Ranks) -> str:
    return (
        f"Each method's rank, 1 is best, averaged over {found.critical.n} cases. Methods below the same bar are not told "
        f"apart; the critical difference is {found.critical.difference:.2f}."
    )
