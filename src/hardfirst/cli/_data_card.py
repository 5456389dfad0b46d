"""The card of a table on the terminal."""

from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from hardfirst.records.table_card import TableCard

_SPLITS = ("train", "validation", "test")
_KINDS = {"number": "numbers", "words": "words", "date": "dates"}


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
