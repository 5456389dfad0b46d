"""The section on published figures: a reference next to the study's own, which no test or verdict counts."""

from hardfirst.report.blocks import Content, Section, interval_cell, method_cell, number_cell, row, table
from hardfirst.report.figures import Styles
from hardfirst.report.model.case import Case
from hardfirst.report.model.published import PublishedTable, published_table


def section(case: Case, styles: Styles) -> Section | None:
    """The methods' metrics, and below them those that are published; None if none are."""
    found = published_table(case)
    if found is None:
        return None
    head: list[Content] = ["Method", *found.columns, "Source"]
    rows = [
        row(method_cell(method, styles), [*map(interval_cell, cells, found.specs), "this study"])
        for method, cells in found.own.items()
    ]
    as_published = [spec.replace("#", "") for spec in found.specs]  # no zeros that nobody published
    rows += [
        row(each.method, [*map(number_cell, numbers, as_published), f"{each.network}; {each.source}"], "published")
        for each, numbers in found.published
    ]
    return Section("Published figures", (table("Published figures", _caption(case, found), head, rows),))


def _caption(case: Case, found: PublishedTable) -> str:
    whose = "the published" if case.reference == "published" else "its own"
    caption = (
        "Grey rows are published, and stand here as a reference: they are from other code, often from one seed, and no test "
        f"or verdict counts them. Δm is over metrics, and lower is better; that of this study is relative to {whose} "
        "single-task networks, that of a grey row to the published ones."
    )
    return " ".join([caption, *(f"Another code's Δm: {text}." for text in found.reruns)])
