"""The card of a table, on the terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

_SPLITS = ("train", "validation", "test")


def card_sentences(card: Mapping[str, Any]) -> Iterator[str]:
    """What the table is, its splits and its inputs."""
    splits = card["splits"]
    rows = ", ".join(f"{splits[split]:,} {split}" for split in _SPLITS)
    yield f"{card['file']}: {card['rows']:,} rows, {card['format']}. Splits: {rows} ({splits['how']})."
    kinds = [column["kind"] for column in card["inputs"]]
    texts = [f"{kinds.count(kind)} of {word}" for kind, word in _KINDS.items() if kind in kinds]
    yield f"{card['file']}: {len(kinds)} columns ({', '.join(texts)}) are {card['width']} inputs."


_KINDS = {"number": "numbers", "words": "words", "date": "dates"}


def target_table(card: Mapping[str, Any]) -> Table:
    """The targets: their kind, labels, classes and KPI."""
    table = Table(title="Targets", title_justify="left")
    for column in ("target", "kind", "labels by split", "one answer for all", "KPI"):
        table.add_column(column, overflow="fold")
    for target in card["targets"]:
        labels = " / ".join(f"{target['labels'][split]:,}" for split in _SPLITS)
        kind = f"{target['kind']}{', guessed' if target['guessed'] else ''}"
        table.add_row(*map(escape, (target["name"], kind, labels, _simplest(target), target["kpi"])))
    return table


def _simplest(target: Mapping[str, Any]) -> str:
    """What an answer that is always the same reaches."""
    if "classes" not in target:
        log = " of the logarithm" if target.get("log") else ""
        return f"mean{log} {target['mean']:.4g}, off by {target['deviation']:.4g}"
    majority = target["majority"]
    return f"{majority['class']!r}, right in {majority['share']:.1%} of test; {len(target['classes'])} classes"
