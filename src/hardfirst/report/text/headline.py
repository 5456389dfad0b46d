"""The answer of a report in words: its question, the sentence that weighs gains against costs, and what qualifies it.

Names of methods and tasks stand between backticks.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from hardfirst.report.model.answer import AgainstStatic, Answer, worst_task_name
from hardfirst.report.model.case import Case
from hardfirst.report.model.leaderboard import Standing
from hardfirst.report.model.scopes import MEAN, WORST, Scope
from hardfirst.report.text import protocol
from hardfirst.report.text.interval_text import capitalized, count_text, listed, plural


class Headline(NamedTuple):
    """The sentence that answers, and those after it."""

    lead: str
    rest: tuple[str, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """All of them."""
        return self.lead, *self.rest


def question(cases: Sequence[Case]) -> str:
    """What the runs are to answer; "" if they compare nothing.

    Example:
        "Does balancing help on digits?"
    """
    if not any(case.compares or case.search for case in cases):
        return ""
    names = list(dict.fromkeys(case.problem for case in cases))
    where = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    if len(names) > 3:
        where = f"{len(names)} problems"
    if len(cases) == 1:
        where = case_name(cases[0])
    if any(case.search for case in cases):
        return f"What should I use on {where}?"
    nouns = {case.noun for case in cases}
    if "order" in nouns:
        return f"Does the order of tasks matter on {cases[0].problem if len(cases) == 1 else where}?"
    return f"Which loss is best on {where}?" if "loss" in nouns else f"Does balancing help on {where}?"


def case_name(case: Case) -> str:
    """The problem, and the network unless it is the problem's own, as in a sentence."""
    return case.problem if case.name == case.problem else f"{case.problem} with the {case.network} network"


def headline(answer: Answer) -> Headline:
    """Weigh what is gained on the worst task against what is lost in the mean, in words."""
    return Headline(_lead(answer), (*_rest(answer), *_circumstances(answer)))


def _lead(answer: Answer) -> str:
    board = answer.board
    if not answer.finished:
        return _nothing_finished(answer)
    if board.baseline is None or not board.methods:
        return _no_comparison(answer)
    if not answer.paired:
        noun = "an order" if answer.case.orders else f"a {answer.case.noun}"
        return f"No seed has finished under both {noun} and {board.against}."
    if answer.paired < 3:
        return _few_seeds(answer)
    if answer.lead is None:
        return _none_better(answer)
    return _gain(answer, answer.lead)


# Without an answer


def _nothing_finished(answer: Answer) -> str:
    lost = ", ".join(f"{number} {outcome}" for outcome, number in answer.lost.items())
    return f"No run has finished{f': {lost}' if lost else ' yet'}."


def _no_comparison(answer: Answer) -> str:
    best = next(row for row in answer.board.rows if row.finished)
    reached = _reached(answer, best)
    if answer.board.baseline is None:
        if len(answer.case.runs) == 1:
            return f"`{best.name}` reaches {reached}, in one run."
        if len(answer.board.rows) > 1:
            return f"Of these {plural(answer.case.noun)} `{best.name}` reaches the most, {reached}."
        return f"`{best.name}` reaches {reached}."
    others = [name for row in answer.board.rows for name in row.names if name != answer.case.baseline]
    static = [name for row in answer.board.rows if row.role == "static" for name in row.names]
    if set(others) - set(static):
        return f"{capitalized(listed(others))} gave the same results as {answer.board.against}."
    noun = answer.case.noun
    ending = f"no {noun} has finished yet" if answer.missing else f"there is no {noun} to compare with"
    return f"{capitalized(answer.board.against)} reach {reached}; {ending}."


def _reached(answer: Answer, row: Standing) -> str:
    if len(row.tasks) == 1:
        return f"{row.mean.kpi.mean:.1f} points on `{next(iter(row.tasks))}`"
    name = worst_task_name(answer.case, row.name)
    worst = f"{row.worst.kpi.mean:.1f} points on the worst task" + (f" (`{name}`)" if name else "")
    return f"{worst} and {row.mean.kpi.mean:.1f} on the mean"


def _few_seeds(answer: Answer) -> str:
    """One or two seeds show no spread, so nothing is more than a difference."""
    best = max(answer.board.methods, key=lambda row: row.change(WORST))
    seeds = count_text(answer.paired, "seed")
    if len(best.tasks) == 1:
        return f"With {seeds}, `{best.name}` is {_distance(best, WORST)} {answer.board.against}{_change(answer, best)}."
    return (
        f"With {seeds}, `{best.name}` is {_distance(best, WORST)} {answer.board.against} on the worst task"
        f"{_change(answer, best)} and {_distance(best, MEAN, unit='')} on the mean."
    )


def _distance(row: Standing, scope: Scope, unit: str = " points") -> str:
    change = row.change(scope)
    if round(change, 1) == 0:
        return "level with" if unit else "level with them"
    return f"{abs(change):.1f}{unit} {'above' if change > 0 else 'below'}"


# With an answer


def _gain(answer: Answer, lead: Standing) -> str:
    """What the leading method gains, and at what cost."""
    worst, mean = lead.effect(WORST), lead.effect(MEAN)
    if len(lead.tasks) == 1:
        return f"`{lead.name}` raises `{next(iter(lead.tasks))}` by {_points(lead, WORST)}{_change(answer, lead)}."
    lifts = f"`{lead.name}` lifts the worst task{_change(answer, lead)}"
    raises = f"`{lead.name}` raises the mean by {_points(lead, MEAN)}"
    if worst == "better":
        costs = {
            "better": f" and raises the mean by {_points(lead, MEAN)}",
            "worse": f" and costs {_points(lead, MEAN)} of the mean",
        }
        return f"{lifts}{costs.get(mean, ' at no measurable cost of the mean')}."
    if worst == "worse":
        return f"{raises} and costs {_points(lead, WORST)} of the worst task{_change(answer, lead)}."
    return f"{raises}, and its effect on the worst task is unclear."


def _points(row: Standing, scope: Scope) -> str:
    return f"{abs(row.change(scope)):.1f} points"


def _change(answer: Answer, row: Standing) -> str:
    """The worst task's KPI under the baseline and under the method, over the seeds that have both.

    The tasks' names are with it if all seeds agree on them.
    """
    points = np.stack([WORST.points(answer.case, method) for method in (answer.case.baseline, row.name)])
    before, after = (f"{mean:.1f}" for mean in points[:, ~np.isnan(points).any(axis=0)].mean(axis=1))
    name, other = answer.worst_task, worst_task_name(answer.case, row.name)
    if name is None or other is None:
        return f" ({before} → {after})"
    return f" (`{name}`, {before} → {after})" if name == other else f" (`{name}` {before} → `{other}` {after})"


def _none_better(answer: Answer) -> str:
    board, methods, noun = answer.board, answer.board.methods, answer.case.noun
    scopes = (WORST, MEAN) if len(methods[0].tasks) > 1 else (WORST,)
    effects = {row.effect(scope) for row in methods for scope in scopes}
    who = (
        f"`{methods[0].name}`"
        if len(methods) == 1
        else f"Both {plural(noun)}"
        if len(methods) == 2
        else f"All {len(methods)} {plural(noun)}"
    )
    on = "on the worst task and on the mean" if len(scopes) > 1 else f"on `{next(iter(methods[0].tasks))}`"
    if effects == {"worse"}:
        return f"{who} {'is' if len(methods) == 1 else 'are'} worse than {board.against} {on}."
    none = f"`{methods[0].name}` is not better than" if len(methods) == 1 else f"No {noun} is better than"
    if effects == {"unclear"}:
        none = f"`{methods[0].name}` cannot be told apart from" if len(methods) == 1 else f"No {noun} can be told apart from"
        return f"{none} {board.against} {on.replace(' and ', ' or ')}."
    return f"{none} {board.against}."


# What qualifies it


def _rest(answer: Answer) -> Iterator[str]:
    board, lead = answer.board, answer.lead
    if not answer.paired:
        return
    if answer.paired < 3:
        yield "One seed shows no spread." if answer.paired == 1 else "Two seeds are too few for an interval."
    if answer.alternative and lead:
        kept, full = (row.change(WORST) for row in (answer.alternative, lead))
        yield f"`{answer.alternative.name}` keeps {kept:.1f} of these {full:.1f} points at no measurable cost of the mean."
    yield from _static(answer)
    if answer.paired >= 3:
        yield from _harm(answer)
    if not board.can_test:
        yield f"Not yet tested: {answer.paired} of {board.fewest} seeds."


def _static(answer: Answer) -> Iterator[str]:
    found = answer.static
    if found is None or found.difference is None or not found.difference.n:
        return
    what = "the worst task" if found.scope is WORST else "the mean"
    static = capitalized(f"static weights chosen for {what}")
    size = f"{abs(found.difference.mean):.1f} points"
    words = {
        "better": f"It is {size} above static weights chosen for {what}.",
        "worse": f"{static} do better still, by {size}{_cost_of_static(answer, found)}.",
    }
    yield words.get(found.effect, f"{static} do as well{_cost_of_static(answer, found)}.")


def _cost_of_static(answer: Answer, found: AgainstStatic) -> str:
    """What the static weights lose on the other measure, if they do."""
    scope, what = (MEAN, "the mean") if found.scope is WORST else (WORST, "the worst task")
    row = next(row for row in answer.board.rows if found.name in row.names)
    if len(row.tasks) == 1 or row.effect(scope) != "worse":
        return ""
    return f", and cost {_points(row, scope)} of {what}"


def _harm(answer: Answer) -> Iterator[str]:
    """The methods that are worse than the baseline, unless the first sentence says so of all."""
    several = len(answer.case.tasks) > 1
    methods = [row for row in answer.board.methods if row not in (answer.lead, answer.alternative)]
    worse = {row.name: [scope for scope in (WORST, MEAN) if row.effect(scope) == "worse"] for row in methods}
    both = [name for name, scopes in worse.items() if len(scopes) == 2]
    if answer.lead is None and len(both) == len(methods):
        return
    if both:
        on = " on both measures" if several else ""
        yield f"{listed(both)} {_is(both)} worse than {answer.board.against}{on}."
    for scope, what in ((WORST, "the worst task"), (MEAN, "the mean")):
        only = [name for name, scopes in worse.items() if scopes == [scope]]
        if only and answer.lead is None:
            yield f"{listed(only)} {_is(only)} worse on {what}."


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _circumstances(answer: Answer) -> Iterator[str]:
    if answer.missing:
        yield f"{answer.ended} of {answer.ended + answer.missing} runs have finished; these are the results so far."
    if text := protocol.sentence(answer.case):
        yield text
