"""The card of a table: how it was read, as plain data, and what was guessed, in sentences."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from torch import Tensor

from hardfirst.problems.tables._columns import WordColumn
from hardfirst.problems.tables._data import BATCH, epochs_of
from hardfirst.problems.tables._fit import UNIQUE
from hardfirst.problems.tables._guess import FittedTarget, word_among_numbers
from hardfirst.problems.tables._leaks import giveaways
from hardfirst.problems.tables._name import is_table
from hardfirst.problems.tables._problem import Prepared, prepare, rows_that_train
from hardfirst.problems.tables._reading import SEPARATORS, Sheet, suffix_of
from hardfirst.problems.tables._splits import SPLITS, how
from hardfirst.problems.tables._targets import CLASSIFICATION, REGRESSION
from hardfirst.records.table_card import InputCard, LeftOutCard, MajorityCard, SplitsCard, TableCard, TargetCard

_WORDS_FOR_MISSING = {"na", "n/a", "nan", "none", "null", "nil", "missing", "unknown"}
_FEW = 5  # rows of a class, on average, below which a guess is doubtful
_KPIS = {
    "r2": "R²",
    "within": "share within {tolerance:g}",
    "within_relative": "share within {tolerance:.0%}",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
    "auc": "AUC",
    "average_precision": "average precision",
    "within_one": "share within one class",
}


def data_card(problem: str) -> TableCard | None:
    """Say how a table was read, for the terminal, study.json and the page; None for another problem.

    Args:
        problem: a problem's name.

    Raises:
        InputError: as in `load_problem`.

    Example:
        >>> data_card("digits") is None
        True
    """
    return _card(prepare(problem)) if is_table(problem) else None


def data_cards(problems: Mapping[str, str]) -> dict[str, TableCard]:
    """The cards of the tables among problems, by the problems' own names.

    Args:
        problems: by its own name, what each was loaded by.
    """
    found = {name: data_card(problem) for name, problem in problems.items()}
    return {name: card for name, card in found.items() if card is not None}


@lru_cache(maxsize=4)
def _card(prepared: Prepared) -> TableCard:
    left_out = {name: found.reason for name, found in prepared.columns.items() if found.column is None}
    left_out |= dict.fromkeys(prepared.name.drop, "asked for")
    left_out |= {name: "it decides the splits" for name in (prepared.name.group, prepared.name.split) if name}
    inputs = prepared.data.transform.inputs
    return TableCard(
        file=prepared.name.path.name,
        format=_format(prepared),
        rows=len(prepared.sheet.frame),
        splits=SplitsCard(how=how(prepared.name), **{split: len(prepared.rows[split]) for split in SPLITS}),
        inputs=[InputCard(name=column.name, kind=column.kind, inputs=column.width) for column in inputs],
        width=prepared.data.transform.width,
        left_out=[LeftOutCard(name=name, reason=reason) for name, reason in left_out.items()],
        targets=[_target(found, prepared.rows) for found in prepared.targets.values()],
        notes=list(_notes(prepared)),
        epochs=epochs_of(rows_that_train(len(prepared.sheet.frame))),
        steps=-(-len(prepared.rows["train"]) // BATCH),
    )


def _format(prepared: Prepared) -> str:
    sheet = prepared.sheet
    if not sheet.separator:
        return suffix_of(prepared.name.path.name).removeprefix(".")
    return f"{sheet.encoding.removesuffix('-sig').upper()} with {SEPARATORS[sheet.separator]}"


def _target(found: FittedTarget, rows: Mapping[str, Tensor]) -> TargetCard:
    column = found.column
    labelled = found.labels >= 0 if found.counts else ~found.labels.isnan()
    labels = {split: int(labelled[index].sum()) for split, index in rows.items()}
    majority = None
    if found.counts:
        common = found.counts.index(max(found.counts))
        share = int((found.labels[rows["test"]] == common).sum()) / max(labels["test"], 1)
        majority = MajorityCard(label=column.classes[common], share=share)
    return TargetCard(
        name=column.name,
        kind=column.kind,
        guessed=found.guessed,
        kpi=_kpi(found),
        why=found.why,
        labels=labels,
        classes=list(column.classes),
        majority=majority,
        mean=column.mean,
        deviation=column.deviation,
        log=column.log,
        weights=found.choice.weights,
    )


def _kpi(found: FittedTarget) -> str:
    choice = found.choice
    text = _KPIS[choice.kpi].format(tolerance=choice.tolerance or 0.25)
    if choice.kpi in ("f1", "auc", "average_precision"):
        rare = found.column.classes[found.counts.index(min(found.counts))]
        text += f" of {rare!r}" if len(found.counts) == 2 else ", mean over classes"
    return f"{text} of the logarithm" if choice.log and choice.kpi == "r2" else text


def _notes(prepared: Prepared) -> Iterator[str]:
    targets = prepared.targets.values()
    yield from _encoding(prepared.sheet)
    yield from _equal_names(prepared.sheet)
    yield from _guessed([found for found in targets if found.guessed])
    yield from (note for found in targets for note in found.notes)
    yield from _missing(list(targets))
    yield from (note for found in prepared.columns.values() for note in found.notes)
    yield from _words(prepared)
    yield from _left_out(prepared)
    yield from _uneven(prepared.sheet)
    yield from _few_labels(prepared)
    yield from _why([found for found in targets if found.why not in ("chosen", "the default")])
    yield from giveaways(prepared)


def _encoding(sheet: Sheet) -> Iterator[str]:
    if sheet.encoding in ("cp1252", "latin-1"):
        example = next((word for word in sheet.text.split() if not word.isascii()), "") if sheet.text else ""
        yield f"The file is not UTF-8; it is read as {sheet.encoding}, by which it has {example!r:.40}."


def _equal_names(sheet: Sheet) -> Iterator[str]:
    for name in dict.fromkeys(name for name in sheet.header if sheet.header.count(name) > 1):
        yield f"{sheet.header.count(name)} columns are called {name!r}; all are inputs, the second as {f'{name}.1'!r}."


def _guessed(targets: Sequence[FittedTarget]) -> Iterator[str]:
    if targets:
        texts = [
            f"{found.column.name} is a regression"
            if found.column.kind == REGRESSION
            else f"{found.column.name} is a classification of {len(found.column.classes)} classes"
            for found in targets
        ]
        yield f"Guessed: {', '.join(texts)}. To say otherwise, write COLUMN:regression or COLUMN:classification."
    for found in targets:
        classes, rows = len(found.counts), sum(found.counts)
        if classes and rows < _FEW * classes:
            yield f"{found.column.name} has {classes} classes in {rows} training rows, few for each. Are they names?"


def _missing(targets: Sequence[FittedTarget]) -> Iterator[str]:
    counts = {
        found.column.name: int((found.labels < 0).sum() if found.column.outputs else found.labels.isnan().sum())
        for found in targets
    }
    if any(counts.values()):
        rows = len(targets[0].labels)
        texts = [f"{column} in {count} of {rows} rows" for column, count in counts.items() if count]
        yield f"Without a label: {', '.join(texts)}."
    for found in targets:
        words = [label for label in found.column.classes if label.lower() in _WORDS_FOR_MISSING]
        if words:
            listed = ", ".join(map(repr, words))
            yield f"In {found.column.name}, {listed} is a class; leave a cell empty where there is no label."


def _words(prepared: Prepared) -> Iterator[str]:
    """Inputs that are read as words, though most of their cells are numbers."""
    for name, found in prepared.columns.items():
        are_words = found.reason == UNIQUE or isinstance(found.column, WordColumn)
        if are_words and (word := word_among_numbers(prepared.sheet.column(name))) is not None:
            yield f"Most cells of {name} are numbers, but {word}: all are read as words. Write numbers as 1234.5."


def _left_out(prepared: Prepared) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for name, found in prepared.columns.items():
        if found.column is None:
            reasons.setdefault(found.reason, []).append(name)
    if reasons:
        texts = [f"{', '.join(names)} ({reason})" for reason, names in reasons.items()]
        yield f"No inputs: {'; '.join(texts)}."


def _uneven(sheet: Sheet) -> Iterator[str]:
    """Rows with fewer cells than the header, and a last row that looks like a footer."""
    rows = list(sheet.rows())
    if not rows:
        return
    columns = len(sheet.header)
    short = [number for number, row in enumerate(rows, start=1) if len(row) < columns]
    if short:
        yield (
            f"{len(short)} of the {len(rows)} rows have fewer cells than the header, row {short[0]} first; those that they "
            "lack count as empty."
        )
    filled = [sum(map(bool, row)) for row in (rows[-1], rows[len(rows) // 2])]
    if filled[0] <= columns / 2 < filled[1]:
        text = ", ".join(filter(None, rows[-1]))
        yield f"The last row is mostly empty ({text:.60}); if it is a footer, remove it."


def _few_labels(prepared: Prepared) -> Iterator[str]:
    """Rare classes that validation or test hardly has."""
    for found in prepared.targets.values():
        if found.column.kind == CLASSIFICATION and len(found.counts) == 2:
            code = found.counts.index(min(found.counts))
            counts = {split: int((found.labels[prepared.rows[split]] == code).sum()) for split in ("validation", "test")}
            if min(counts.values()) < _FEW:
                label, name = found.column.classes[code], found.column.name
                texts = [f"{count} in {split}" for split, count in counts.items()]
                yield f"Of class {label!r} of {name} there are {' and '.join(texts)}: figures of it say little."


def _why(targets: Sequence[FittedTarget]) -> Iterator[str]:
    for found in targets:
        yield f"The KPI of {found.column.name} is the {_kpi(found)}: {found.why}. To choose, write kpi=accuracy."
