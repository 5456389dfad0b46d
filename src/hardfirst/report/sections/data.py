"""The section on a table's data: its rows, inputs and targets, and what was guessed about them."""

from hardfirst.records.table_card import TableCard
from hardfirst.report.blocks import Block, Bullets, Paragraphs, Section, Table, TableCell, row, table

_SPLITS = ("train", "validation", "test")
_MOST_NAMED = 20  # columns in a sentence


def section(card: TableCard) -> Section:
    """How a table was read."""
    blocks: list[Block] = [Paragraphs((_rows(card), *_columns(card))), _targets(card)]
    if card.notes:
        blocks.append(Bullets(tuple(card.notes)))
    return Section("The data", tuple(blocks))


def _rows(card: TableCard) -> str:
    splits = ", ".join(f"{getattr(card.splits, split):,} for {split}" for split in _SPLITS)
    return f"{card.file} ({card.format}) has {card.rows:,} rows: {splits}. They are split {card.splits.how}."


def _columns(card: TableCard) -> list[str]:
    inputs = _listed([column.name for column in card.inputs])
    sentences = [f"{len(card.inputs)} columns are {card.width} inputs of the networks: {inputs}."]
    if card.left_out:
        left_out = _listed([f"{column.name} ({column.reason})" for column in card.left_out])
        sentences.append(f"Left out: {left_out}.")
    return [*sentences, *filter(None, [card.training])]


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _targets(card: TableCard) -> Table:
    caption = "What is predicted, how many rows of each split have a label, and what one answer for all rows reaches."
    rows = [
        row(
            TableCell(target.name, note="guessed" if target.guessed else ""),
            [
                target.kind,
                *(TableCell(f"{target.labels.get(split, 0):,}", value=target.labels.get(split, 0)) for split in _SPLITS),
                target.one_answer,
                TableCell(target.kpi, note="" if target.why in ("chosen", "the default") else target.why),
            ],
        )
        for target in card.targets
    ]
    head = ["Target", "Kind", *(f"Labels, {split}" for split in _SPLITS), "One answer for all", "KPI"]
    return table("Targets", caption, head, rows)
