"""Tasks × methods: the change of each task's KPI against the baseline, as a heat table."""

from collections.abc import Sequence

from hardfirst.records.names import SINGLE
from hardfirst.report.blocks import Content, Section, Table, TableCell, TableRow, method_cell, row, table
from hardfirst.report.figures import Styles
from hardfirst.report.model.answer import Answer
from hardfirst.report.model.leaderboard import Standing, effect
from hardfirst.report.model.summary import summary
from hardfirst.report.sections.heat import VIEWS, change_cell, kpi_cell, largest_change
from hardfirst.report.sections.kpis import kpi_table
from hardfirst.report.text.tables import ordered_tasks
from hardfirst.statistics import Interval, number_text


def section(facts: Answer, styles: Styles) -> Section:
    """A row for each task, those that lose most by sharing first."""
    base = facts.board.baseline
    others = [each for each in facts.board.rows if each is not base and each.finished]
    if base is None or not others or not facts.paired:
        block = kpi_table(summary(facts.case), styles)
    else:
        block = _heat_table(facts, base, others, styles)
    return Section("By task", (block,), anchor="tasks", short="By task")


def _heat_table(facts: Answer, base: Standing, others: Sequence[Standing], styles: Styles) -> Table:
    references = [each.name for each in facts.board.references]
    gap = ["Gap"] if facts.gaps else []
    methods = [method_cell(each.name, styles, names=each.names) for each in others]
    baseline = method_cell(base.name, styles, names=base.names)
    largest = largest_change(cell.difference for each in others for cell in each.tasks.values())
    rows = [_row(facts, task, base, others, largest) for task in _order(facts, base)]
    head: list[Content] = ["Task", *references, baseline, *gap, *methods]
    return table("Change of each task by method", _caption(facts), head, rows, VIEWS, "by-task")


def _order(facts: Answer, base: Standing) -> list[str]:
    """By starvation gap, the largest first, or without single-task networks by the baseline's KPI, the lowest first."""
    if facts.gaps:
        return ordered_tasks(facts)
    return sorted(facts.case.tasks, key=lambda task: base.tasks[task].kpi.mean)


def _kpi_names(facts: Answer) -> dict[str, str]:
    """By task, the name of its KPI; empty for older records."""
    return {task: name for record in facts.case.method_runs for task, name in record.kpis.items()}


def _caption(facts: Answer) -> str:
    order = "Tasks that lose most by sharing come first" if facts.gaps else "The tasks with the lowest KPI come first"
    gap = f": the gap is {SINGLE} − {facts.board.against}" if facts.gaps else ""
    marks = " ▲ and ▼ mark changes whose 95% interval excludes 0, uncorrected." if facts.paired >= 3 else ""
    names = _kpi_names(facts)
    kpi = f" ({next(iter(names.values()))})" if len(set(names.values())) == 1 else ""
    return f"Test KPI{kpi} in points, and each method's change against {facts.board.against}. {order}{gap}.{marks}"


def _row(facts: Answer, task: str, base: Standing, others: Sequence[Standing], largest: float) -> TableRow:
    cells = [*(kpi_cell(each.tasks[task]) for each in facts.board.references), kpi_cell(base.tasks[task].kpi)]
    if facts.gaps:
        cells.append(_gap_cell(facts.gaps.get(task)))
    changes, names = [each.tasks[task] for each in others], _kpi_names(facts)
    heading = f"{task} ({names[task]})" if task in names and len(set(names.values())) > 1 else task
    return row(
        heading,
        [*cells, *(change_cell(cell, effect(cell.difference), largest) for cell in changes)],
    )


def _gap_cell(gap: Interval | None) -> TableCell:
    if gap is None:
        return TableCell("–")
    mean = number_text(gap.mean, "+z.1f")
    return TableCell(mean, value=gap.mean, views=(mean, mean, f"{gap:+z.1f}"))
