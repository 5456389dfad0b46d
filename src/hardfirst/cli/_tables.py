"""The tables that commands print, and what stands with them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from hardfirst.records import Record, is_undefined
from hardfirst.records.table_card import TableCard

_SPLITS = ("train", "validation", "test")
_KINDS = {"number": "numbers", "words": "words", "date": "dates"}


def run_table(record: Record) -> Table:
    """A single run's figures on the test split."""
    averaged = record.test.get("averaged") if record.test else None
    where = f"mean over the last {averaged} epochs" if averaged else "at the best epoch on the validation split"
    table = Table(title=f"Test split, {where}", title_justify="left")
    for column in ("task", "KPI × 100", "metrics", "loss", "last weight"):
        table.add_column(column, justify="left" if column in ("task", "metrics") else "right")
    for task in (*record.tasks, *record.auxiliary):
        figures = record.test["tasks"][task] if record.test else {}
        metrics = ", ".join(f"{name} {value:.3g}" for name, value in figures.get("metrics", {}).items())
        values = (figures.get("loss", float("nan")), record.curve(task, "weight")[-1])
        table.add_row(task, kpi_text(figures), metrics, *(f"{value:.3f}" for value in values))
    return table


def kpi_text(figures: Mapping[str, Any], prefix: str = "") -> str:
    """A task's KPI in points: "undefined" where the task has labels and it is NaN, "–" for an auxiliary task."""
    if f"{prefix}kpi" not in figures:
        return "–"
    return "undefined" if is_undefined(figures, prefix) else f"{100 * figures.get(f'{prefix}kpi', float('nan')):.1f}"


def plan_table(counts: Mapping[str, tuple[int, int]], heads: Sequence[str]) -> Table:
    """The largest number of runs that a study can have, under the heads of its kind."""
    table = Table(title="Runs, at most", title_justify="left")
    for column in heads:
        table.add_column(column, justify="left" if column == heads[0] else "right")
    for method, (tuning, reported) in counts.items():
        table.add_row(method, str(tuning), str(reported))
    table.add_section()
    table.add_row("all", *(str(sum(column)) for column in zip(*counts.values(), strict=True)))
    return table


def card_sentences(card: TableCard) -> Iterator[str]:
    """What the table is, its splits and its inputs."""
    rows = ", ".join(f"{getattr(card.splits, split):,} {split}" for split in _SPLITS)
    yield f"{card.file}: {card.rows:,} rows, {card.format}. Splits: {rows} ({card.splits.how})."
    kinds = [column.kind for column in card.inputs]
    texts = [f"{kinds.count(kind)} of {word}" for kind, word in _KINDS.items() if kind in kinds]
    yield f"{card.file}: {len(kinds)} columns ({', '.join(texts)}) are {card.width} inputs. {card.training}"


def target_table(card: TableCard) -> Table:
    """The targets: their kind, labels, classes and KPI."""
    table = Table(title="Targets", title_justify="left")
    for column in ("target", "kind", "labels by split", "one answer for all", "KPI"):
        table.add_column(column, overflow="fold")
    for target in card.targets:
        labels = " / ".join(f"{target.labels[split]:,}" for split in _SPLITS)
        kind = f"{target.kind}{', guessed' if target.guessed else ''}"
        table.add_row(*map(escape, (target.name, kind, labels, target.one_answer, target.kpi)))
    return table
