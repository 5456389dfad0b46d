"""The section on controls: variants of DTP, each with one thing changed, that tell why it does what it does."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from hardfirst.balancers import Spec
from hardfirst.records.names import EASY, FROZEN, RAW
from hardfirst.report.case import Array, Case
from hardfirst.report.figures import Style
from hardfirst.report.section import Section, items, paragraphs
from hardfirst.report.summary import mean_task
from hardfirst.report.tables import cells, named, swatch, table, with_n
from hardfirst.report.words import bounds, negative, points_of
from hardfirst.statistics import (
    Decision,
    Difference,
    Interval,
    compare_to,
    mean_interval,
    paired_interval,
    worst_task,
)

_OVER_TASKS: tuple[Callable[[Array], Array], ...] = (worst_task, mean_task)


class _Control(NamedTuple):
    """What a control is, the clause that a sentence on it begins with, and what its outcome means."""

    what: str
    clause: str
    means: Mapping[Decision, str]


_CONTROLS = {
    EASY: _Control(
        "priority to the easy tasks instead of the hard ones, which is the paper's own control.",
        "With priority to the easy tasks",
        {
            "worse": "so it matters to whom the weight goes",
            "not told apart": "so it is not shown to matter to whom the weight goes",
            "better": "so priority to the hard tasks is the wrong way round here",
        },
    ),
    RAW: _Control(
        "the weights not normalised, so that their sum falls as KPIs rise; nor mixed with equal ones, as mixing takes it.",
        "With raw weights",
        {
            "worse": "so normalising helps the worst task",
            "not told apart": "so normalising is not shown to matter to the worst task",
            "better": "so normalising holds the worst task back here",
        },
    ),
    FROZEN: _Control(
        "each run's weights, averaged over its epochs, as constants in a new run with the same seed.",
        "With its average weights frozen",
        {
            "worse": "so their change over time helps",
            "not told apart": "so their change over time is not shown to matter",
            "better": "so their change over time does harm here",
        },
    ),
}


def section(case: Case, looks: Mapping[str, Style]) -> Section | None:
    """A table of the controls, and a sentence on each; None without any, or without the DTP that they belong to."""
    controls = [control for control in case.controls if control in _CONTROLS]
    dtp = controlled(case)
    if not controls or dtp is None:
        return None
    changed = f"Each control is {dtp} with one thing changed; learning rate, other options and seeds are the same."
    what = [f"{control}: {_CONTROLS[control].what}" for control in controls]
    blocks = (
        paragraphs([changed]),
        items(what),
        _table(case, dtp, controls, looks),
        paragraphs(_sentences(case, dtp, controls)),
    )
    return Section("Is it the dynamics?", blocks)


def controlled(case: Case) -> str | None:
    """The DTP that the controls belong to: of several, the first whose settings they share."""
    found = [method for method in case.others if method.partition(":")[0] == "dtp"]
    if len(found) < 2:
        return found[0] if found else None
    return next((method for method in found if _shares_settings(case, method)), found[0])


def _shares_settings(case: Case, method: str) -> bool:
    """Whether the controls differ from the method in what they change, and in nothing else."""
    changes = {EASY: ("priority",), RAW: ("normalize", "uniform")}
    pairs = [
        (case.runs[method, seed].trial, case.runs[control, seed].trial, changed)
        for control, changed in changes.items()
        for seed in case.seeds
        if (method, seed) in case.runs and (control, seed) in case.runs
    ]
    return all(
        one["balancer"] != other["balancer"] and _without(one, changed) == _without(other, changed)
        for one, other, changed in pairs
    )


def _without(trial: Mapping[str, Any], options: Sequence[str]) -> tuple[Spec, float]:
    return Spec.read(trial["balancer"]).replace(dict.fromkeys(options)), trial["learning_rate"]


# The table


def _table(case: Case, dtp: str, controls: Sequence[str], looks: Mapping[str, Style]) -> str:
    head = ["Run", "Worst task", "Mean over tasks", "Worst task: difference", "Mean: difference"]
    own = [f"{mean_interval(over(case.points(dtp))):z.1f}" for over in _OVER_TASKS]
    heading = f"{swatch(looks[dtp])}{named(dtp)}<small>n = {len(case.finished(dtp))}</small>"
    rows = [("", cells(heading, [*own, "", ""]))]
    rows += [("", cells(escape(control), _values(case, dtp, control))) for control in controls]
    return table("Controls of DTP", _caption(case, dtp), head, rows)


def _caption(case: Case, dtp: str) -> str:
    kpis = "Test KPI in points, and the difference "
    spread = ": means over seeds with 95% intervals" if len(case.seeds) > 1 else ""
    return f"{kpis}{dtp} − control, paired by seed{spread}. Where the difference is above 0, {dtp} does better."


def _values(case: Case, dtp: str, control: str) -> list[str]:
    pairs = [(over(case.points(dtp)), over(case.points(control))) for over in _OVER_TASKS]
    kpis = [mean_interval(values) for _, values in pairs]
    differences = [paired_interval(ours, theirs) for ours, theirs in pairs]
    n = len(case.finished(dtp))
    return [with_n(found, "z.1f", n) for found in kpis] + [with_n(found, "+z.1f", n) for found in differences]


# The sentences


def _sentences(case: Case, dtp: str, controls: Sequence[str]) -> list[str]:
    worst = {control: worst_task(case.points(control)) for control in controls}
    found = compare_to(worst_task(case.points(dtp)), worst)
    sentences = [_sentence(dtp, control, found[control]) + _on_the_mean(case, dtp, control) for control in controls]
    if any(difference.decision != "too few seeds" for difference in found.values()):
        holm = f", Holm-corrected over {len(controls)} controls" if len(controls) > 1 else ""
        sentences.append(f"What counts as a difference is decided by a sign-flip permutation test at p ≤ 0.05{holm}.")
    return sentences


def _sentence(dtp: str, control: str, difference: Difference) -> str:
    """How the DTP's worst task fares with the control's change; `difference` is what the control is above it."""
    clause, means, found = _CONTROLS[control].clause, _CONTROLS[control].means, difference.interval
    if not found.n:
        return f"No seed has a worst-task KPI of both {dtp} and {control}."
    if difference.decision == "too few seeds":
        told = f"{_fares(found, dtp)} on the worst task{bounds(_size(found))}, n = {found.n}"
        return f"{clause} it {told}: too few seeds to judge."
    if difference.decision == "not told apart":
        told = f"cannot be told apart from {dtp} on the worst task: the difference is {points_of(negative(found), '+')}"
    else:
        told = f"does {difference.decision} than {dtp} on the worst task by {points_of(_size(found))}"
    return f"{clause} it {told}, {means[difference.decision]}."


def _on_the_mean(case: Case, dtp: str, control: str) -> str:
    """What the change does to the mean over tasks, which the worst task does not tell."""
    difference = paired_interval(mean_task(case.points(control)), mean_task(case.points(dtp)))
    return f" Its mean over tasks differs by {points_of(difference, '+')}." if difference.n else ""


def _fares(found: Interval, dtp: str) -> str:
    if round(found.mean, 1) == 0:
        return f"is level with {dtp}"
    return f"is {abs(found.mean):.1f} points {'better' if found.mean > 0 else 'worse'} than {dtp}"


def _size(found: Interval) -> Interval:
    """The interval of the distance in the direction of its mean."""
    return negative(found) if found.mean < 0 else found
