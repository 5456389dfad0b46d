"""The section on networks, where a problem was compared on several: each balancer on each of them."""

from collections.abc import Mapping, Sequence

import numpy as np

from hardfirst.records.names import OWN
from hardfirst.report.blocks import Section, count, paragraphs
from hardfirst.report.figures import Style
from hardfirst.report.model.case import Array, Case
from hardfirst.report.sections import overview, tables
from hardfirst.report.sections.overview import MEAN, WORST, Scope
from hardfirst.report.text.interval_text import points_of
from hardfirst.statistics import compare_to, fewest_seeds, mean_interval


def section(cases: Sequence[Case], looks: Mapping[str, Style]) -> Section | None:
    """Networks × balancers for each problem that has several networks; None where none has."""
    groups = [group for group in _groups(cases) if len(group) > 1 and overview.common(group)]
    if not groups:
        return None
    parts = tuple(Section(group[0].problem, _blocks(group, looks)) for group in groups)
    return Section("Networks", parts[0].blocks) if len(parts) == 1 else Section("Networks", (), parts=parts)


def sentences(cases: Sequence[Case]) -> list[str]:
    """For each problem with several networks, which differ from its first under the same balancer."""
    groups = [group for group in _groups(cases) if len(group) > 1 and overview.common(group)]
    return [
        f"{f'{group[0].problem}: ' if len(groups) > 1 else ''}{_sentence(group, scope)}"
        for group in groups
        for scope in (WORST, MEAN)
    ]


def _groups(cases: Sequence[Case]) -> list[list[Case]]:
    """The cases of each problem."""
    found: dict[str, list[Case]] = {}
    for case in cases:
        found.setdefault(case.problem, []).append(case)
    return list(found.values())


def _blocks(group: Sequence[Case], looks: Mapping[str, Style]) -> tuple[str, ...]:
    return tuple(
        block for scope in (WORST, MEAN) for block in (_table(group, scope, looks), paragraphs([_sentence(group, scope)]))
    )


def _named(case: Case) -> str:
    return "the problem's own" if case.network == OWN else case.network


def _base(case: Case) -> str:
    return f"{'' if case.network == OWN else 'the '}{_named(case)} network"


# The table


def _table(group: Sequence[Case], scope: Scope, looks: Mapping[str, Style]) -> str:
    methods, first = overview.common(group), group[0]
    caption = (
        f"Test KPI {scope.where}, in points: mean over seeds with its 95% interval; below it the difference to "
        f"{_base(first)} under the same balancer, paired by seed."
    )
    head = ["Network", *(tables.swatch(looks[method]) + tables.named(method) for method in methods)]
    rows = [("", tables.cells(_heading(case), [_cell(case, first, method, scope) for method in methods])) for case in group]
    return tables.table(f"Test KPI {scope.where} by network and balancer", caption, head, rows)


def _heading(case: Case) -> str:
    sizes = {record.parameters for record in case.runs.values() if record.parameters}
    size = f"<small>{next(iter(sizes)):,} parameters</small>" if len(sizes) == 1 else ""
    return f"{tables.named(_named(case))}{size}"


def _cell(case: Case, first: Case, method: str, scope: Scope) -> str:
    text = f"{mean_interval(scope.over_tasks(case.points(method))):z.1f}"
    if case is first:
        return text
    difference = mean_interval(_difference(case, first, method, scope, sorted({*case.seeds, *first.seeds})))
    return f"{text}<small>{difference:+z.1f}</small>"


def _difference(case: Case, first: Case, method: str, scope: Scope, seeds: Sequence[int]) -> Array:
    """[seeds]: what the one reached under a balancer less what the other did, NaN for a seed that either lacks."""
    ours, theirs = (dict(zip(one.seeds, scope.over_tasks(one.points(method)), strict=True)) for one in (case, first))
    return np.array([ours.get(seed, np.nan) - theirs.get(seed, np.nan) for seed in seeds])


# The sentences


def _sentence(group: Sequence[Case], scope: Scope) -> str:
    """What differs from the first network under the same balancer; all networks and balancers are one family of tests."""
    first, methods = group[0], overview.common(group)
    seeds = sorted({seed for case in group for seed in case.seeds})
    differences = {
        f"{_named(case)} under {method}": _difference(case, first, method, scope, seeds)
        for case in group[1:]
        for method in methods
    }
    found = compare_to(np.zeros(len(seeds)), differences)
    where, base = f"{scope.where[0].upper()}{scope.where[1:]}", _base(first)
    if all(difference.decision == "too few seeds" for difference in found.values()):
        n = max(difference.interval.n for difference in found.values())
        return (
            f"{where}, with {count(n, 'seed')} and {count(len(found), 'pair')} of network and balancer, no difference to "
            f"{base} can be called significant; it takes at least {fewest_seeds(len(found))}."
        )
    by: dict[str, list[str]] = {}
    for name, difference in found.items():
        told = difference.decision in ("better", "worse")
        by.setdefault(difference.decision, []).append(f"{name} ({points_of(difference.interval, '+')})" if told else name)
    words = {"better": "above it", "worse": "below it", "not told apart": "not told apart from it"}
    words["too few seeds"] = "with too few seeds"
    clauses = [f"{text}: {', '.join(by[decision])}" for decision, text in words.items() if decision in by]
    holm = f", Holm-corrected over {len(found)}" if len(found) > 1 else ""
    return f"{where}, against {base} under the same balancer{holm}: {'; '.join(clauses)}."
