"""The section on controls: variants of a method, each with one thing changed, that show why it works."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hardfirst.records.names import EASY, FROZEN, RAW
from hardfirst.report.blocks import Bullets, Paragraphs, Section, Table, TableRow, interval_cell, method_cell, row, table
from hardfirst.report.figures import Styles
from hardfirst.report.model.case import Case
from hardfirst.report.model.scopes import MEAN, WORST
from hardfirst.report.text.interval_text import bounds_text, negative, points_text
from hardfirst.statistics import Decision, Difference, Interval, paired_interval

_SCOPES = (WORST, MEAN)


class _Control(NamedTuple):
    """What a control is, the clause that its sentence begins with, and the conclusion from each outcome."""

    what: str
    clause: str
    conclusions: Mapping[Decision, str]


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


def section(case: Case, styles: Styles) -> Section | None:
    """A table of the controls, and a sentence on each; None without any, or without the method that they belong to."""
    method = controlled_method(case)
    controls = [control for control in case.controls if control in _CONTROLS]
    if not controls or method is None:
        return None
    changed = f"Each control is {method} with one thing changed; learning rate, other options and seeds are the same."
    blocks = (
        Paragraphs((changed,)),
        Bullets(tuple(f"{control}: {_CONTROLS[control].what}" for control in controls)),
        _table(case, method, controls, styles),
        Paragraphs(_sentences(case, method, controls)),
    )
    return Section("Is it the dynamics?", blocks)


def controlled_method(case: Case) -> str | None:
    """The method that the controls are variants of; None if it is not in the comparison."""
    return next((method for method in case.controls.values() if method in case.others), None)


# The table


def _table(case: Case, method: str, controls: Sequence[str], styles: Styles) -> Table:
    n = len(case.finished(method))
    own = [interval_cell(scope.interval(case, method), "z.1f") for scope in _SCOPES]
    rows = [row(method_cell(method, styles, f"n = {n}"), [*own, "", ""])]
    rows += [_row(case, method, control, n) for control in controls]
    spread = ": means over seeds with 95% intervals" if len(case.seeds) > 1 else ""
    caption = (
        f"Test KPI in points, and the difference {method} − control, paired by seed{spread}. Where the difference is above "
        f"0, {method} does better."
    )
    head = ["Run", "Worst task", "Mean over tasks", "Worst task: difference", "Mean: difference"]
    return table("Controls of DTP", caption, head, rows)


def _row(case: Case, method: str, control: str, n: int) -> TableRow:
    kpis = [interval_cell(scope.interval(case, control), "z.1f", n) for scope in _SCOPES]
    pairs = [paired_interval(scope.points(case, method), scope.points(case, control)) for scope in _SCOPES]
    return row(control, [*kpis, *(interval_cell(difference, "+z.1f", n) for difference in pairs)])


# The sentences


def _sentences(case: Case, method: str, controls: Sequence[str]) -> tuple[str, ...]:
    differences = WORST.differences(case, method, controls)
    sentences = [
        _sentence(method, control, difference) + _mean_sentence(case, method, control)
        for control, difference in differences.items()
    ]
    if any(difference.decision != "too few seeds" for difference in differences.values()):
        holm = f", Holm-corrected over {len(controls)} controls" if len(controls) > 1 else ""
        sentences.append(f"What counts as a difference is decided by a sign-flip permutation test at p ≤ 0.05{holm}.")
    return tuple(sentences)


def _sentence(method: str, control: str, difference: Difference) -> str:
    """How the control does on the worst task; `difference` is control − method."""
    _, clause, conclusions = _CONTROLS[control]
    interval = difference.interval
    if not interval.n:
        return f"No seed has a worst-task KPI of both {method} and {control}."
    size = negative(interval) if interval.mean < 0 else interval
    if difference.decision == "too few seeds":
        outcome = f"{_level(interval, method)} on the worst task{bounds_text(size)}, n = {interval.n}"
        return f"{clause} it {outcome}: too few seeds to judge."
    if difference.decision == "not told apart":
        distance = points_text(negative(interval), "+")
        outcome = f"cannot be told apart from {method} on the worst task: the difference is {distance}"
    else:
        outcome = f"does {difference.decision} than {method} on the worst task by {points_text(size)}"
    return f"{clause} it {outcome}, {conclusions[difference.decision]}."


def _mean_sentence(case: Case, method: str, control: str) -> str:
    difference = paired_interval(MEAN.points(case, control), MEAN.points(case, method))
    return f" Its mean over tasks differs by {points_text(difference, '+')}." if difference.n else ""


def _level(difference: Interval, method: str) -> str:
    if round(difference.mean, 1) == 0:
        return f"is level with {method}"
    return f"is {abs(difference.mean):.1f} points {'better' if difference.mean > 0 else 'worse'} than {method}"
