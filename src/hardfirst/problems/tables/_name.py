"""The name of a table as a problem: its file, the columns to predict, and how its rows are split."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from hardfirst.errors import InputError, check_names, number
from hardfirst.problems.tables._reading import OTHERS, SUFFIXES, suffix_of
from hardfirst.problems.tables._targets import KINDS, ORDINAL, REGRESSION

KPIS = {
    "regression": ("r2", "within", "within_relative"),
    "classification": ("accuracy", "balanced_accuracy", "f1", "auc", "average_precision"),
    "ordinal": ("accuracy", "within_one"),
}
"""By kind of target the KPIs to choose from, the default first."""
_OPTIONS = ("kpi", "tolerance", "weights", "order")
_SETTINGS = ("drop", "group", "time", "split", "validation", "test")


@dataclass(frozen=True)
class TargetChoice:
    """What the user says of a column to predict.

    Args:
        column: its name.
        kind: "" to be guessed.
        log: whether the logarithm is learned.
        kpi: "" for the default.
        tolerance: of the KPIs `within` and `within_relative`.
        weights: "balanced" for classes that count alike in the loss, or "".
        order: the classes of an ordinal target from the lowest to the highest.
    """

    column: str
    kind: str = ""
    log: bool = False
    kpi: str = ""
    tolerance: float | None = None
    weights: str = ""
    order: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableName:
    """What a table's name holds.

    Args:
        path: the file.
        targets: by column, the text behind its name, such as "regression:kpi=r2".
        drop: columns that are no inputs.
        group: the column whose values stay in one split each.
        time: the column by which the latest rows are the test split.
        split: the column that says each row's split.
        validation: a file of validation rows.
        test: a file of test rows.
    """

    path: Path
    targets: tuple[tuple[str, str], ...] = ()
    drop: tuple[str, ...] = ()
    group: str | None = None
    time: str | None = None
    split: str | None = None
    validation: Path | None = None
    test: Path | None = None

    @classmethod
    def parse(cls, name: str) -> "TableName":
        """Read a name that `table_name` has written, or a user.

        Raises:
            InputError: it has a setting that does not exist, or several ways to split the rows.
        """
        file, _, query = name.partition("?")
        pairs = parse_qsl(query, keep_blank_values=True)
        targets = [(key[key.startswith("@@") :], value) for key, value in pairs if _is_target(key)]
        settings = [(key[1:], value) for key, value in pairs if not _is_target(key)]
        check_names("setting of a table:", [key for key, _ in settings], _SETTINGS)
        last = dict(settings)
        ways = [key for key in ("group", "time", "split") if key in last]
        files = [key for key in ("validation", "test") if key in last]
        if len(ways) > 1 or (ways and files and ways != ["group"]):
            raise InputError(f"Rows are split in one way; got {' and '.join(f'--{key}' for key in [*ways, *files])}.")
        return cls(
            Path(file),
            tuple(targets),
            tuple(value for key, value in settings if key == "drop"),
            group=last.get("group"),
            time=last.get("time"),
            split=last.get("split"),
            validation=Path(last["validation"]) if "validation" in last else None,
            test=Path(last["test"]) if "test" in last else None,
        )

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that it reads."""
        return (self.path, *(path for path in (self.validation, self.test) if path is not None))

    def resolved(self, columns: list[str]) -> list[tuple[str, list[str]]]:
        """The column of each target, and what is said of it."""
        return [_resolved(key, text, columns) for key, text in self.targets]

    def choices(self, columns: Iterable[str]) -> dict[str, TargetChoice]:
        """What the user says of each target, by column.

        Raises:
            InputError: there is no target, one is named twice, or a column, kind or option is unknown.
        """
        columns, found = list(columns), dict[str, TargetChoice]()
        for column, options in self.resolved(columns):
            if column in found:
                raise InputError(f"Column {column!r} of {self.path} is named twice among the targets; name it once.")
            found[column] = _choice(column, options)
        if not found:
            raise InputError(
                f"Which columns of {self.path} are to be predicted? Add --targets COLUMN:regression or "
                f"COLUMN:classification, joined by commas; there are {', '.join(columns)}."
            )
        self._check_columns(columns, found)
        return found

    def _check_columns(self, columns: list[str], targets: Mapping[str, TargetChoice]) -> None:
        single = {"group": self.group, "time": self.time, "split": self.split}
        named = {"target": list(targets), "drop": list(self.drop)}
        named |= {what: [name] for what, name in single.items() if name is not None}
        try:
            for names in named.values():
                check_names(f"column of {self.path}:", names, columns)
        except InputError as error:
            if any("," in column for column in columns):
                raise InputError(
                    f"{error} Put a name with a comma in double quotes, and the whole option in single ones."
                ) from None
            raise
        for what, names in named.items():
            if what != "target" and (both := [name for name in names if name in targets]):
                raise InputError(f"Column {both[0]!r} of {self.path} is a target; it cannot be that of --{what} as well.")


def is_table(problem: str) -> bool:
    """Return whether a problem's name is that of a table."""
    file = problem.partition("?")[0]
    return suffix_of(file) in SUFFIXES or file.lower().endswith(".csv.gz")


def check_format(problem: str) -> None:
    """Raise `InputError` if a problem's name is that of a table in another format."""
    file = problem.partition("?")[0]
    if suffix_of(file) in OTHERS:
        raise InputError(
            f"Expected a table as {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}, with .gz or without; got {file}. Save it as "
            "CSV or .parquet."
        )


def table_name(
    path: str,
    targets: str,
    *,
    drop: str = "",
    group: str | None = None,
    time: str | None = None,
    split: str | None = None,
    validation: str | None = None,
    test: str | None = None,
) -> str:
    """Return the name under which `load_problem` loads a table.

    Args:
        path: the file.
        targets: as on the command line: columns with or without a kind and options, joined by commas, e.g.
            "price:regression:log,sold". A column whose name has a comma stands in double quotes.
        drop: columns that are no inputs, likewise.
        group: the column whose values stay in one split each, such as a person.
        time: the column by which the earliest rows train and the latest test.
        split: the column that says each row's split: train, validation or test.
        validation: a file of validation rows.
        test: a file of test rows.

    >>> table_name("homes.csv", "price:regression,sold")
    'homes.csv?price=regression&sold='
    >>> table_name("homes.csv", '"price, EUR":regression:log', drop="id", time="day")
    'homes.csv?price%2C+EUR=regression%3Alog&%40drop=id&%40time=day'
    """
    pairs = [_pair(item) for item in listed(targets)]
    settings = {"group": group, "time": time, "split": split, "validation": validation, "test": test}
    pairs += [("@drop", column) for column in listed(drop)]
    pairs += [(f"@{key}", value) for key, value in settings.items() if value is not None]
    return f"{path}?{urlencode(pairs)}"


def relocated(problem: str, moved: Mapping[Path, Path]) -> str:
    """A table's name with its files at other paths."""
    file, mark, query = problem.partition("?")
    pairs = [
        (key, str(moved.get(Path(value), value)) if key in ("@validation", "@test") else value)
        for key, value in parse_qsl(query, keep_blank_values=True)
    ]
    return f"{moved.get(Path(file), file)}{mark}{urlencode(pairs)}"


def listed(text: str) -> list[str]:
    """The parts of a text with commas; double quotes keep a part together, as in CSV."""
    return [item.strip() for item in next(csv.reader([text], skipinitialspace=True), []) if item.strip()]


def _is_target(key: str) -> bool:
    return not key.startswith("@") or key.startswith("@@")


def _pair(item: str) -> tuple[str, str]:
    """A target's column, and what is said of it."""
    parts = item.split(":")
    cut = len(parts)
    while cut > 1 and _is_option(parts[cut - 1].strip()):
        cut -= 1
    column = ":".join(parts[:cut]).strip()
    return (f"@{column}" if column.startswith("@") else column, ":".join(part.strip() for part in parts[cut:]))


def _is_option(text: str) -> bool:
    return text in (*KINDS, "log") or text.partition("=")[0] in _OPTIONS


def _resolved(key: str, text: str, columns: list[str]) -> tuple[str, list[str]]:
    """The column and the options, where a column's name may end like an option, or an option may be misspelled."""
    options = text.split(":") if text else []
    if key in columns:
        return key, options
    parts = [*key.split(":"), *options]
    for cut in range(len(parts), 0, -1):
        if (column := ":".join(parts[:cut])) in columns:
            return column, [part.strip() for part in parts[cut:]]
    return key, options


def _choice(column: str, options: list[str]) -> TargetChoice:
    kinds = [option for option in options if "=" not in option and option != "log"]
    check_names(f"kind of target {column!r}:", kinds, KINDS)
    known = {key: value for key, equals, value in (option.partition("=") for option in options) if equals}
    check_names(f"option of target {column!r}:", known, _OPTIONS)
    if len(kinds) > 1:
        raise InputError(f"Target {column!r} is of one kind; got {' and '.join(kinds)}.")
    choice = TargetChoice(
        column,
        kinds[0] if kinds else "",
        "log" in options,
        known.get("kpi", ""),
        _tolerance(column, known["tolerance"]) if "tolerance" in known else None,
        known.get("weights", ""),
        tuple(part.strip() for part in known.get("order", "").split("<") if part.strip()),
    )
    check_names(f"weights of target {column!r}:", [choice.weights] * bool(choice.weights), ["balanced"])
    return choice


def _tolerance(column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"Expected the tolerance of target {column!r} to be a number; got {text!r}.") from None
    return number(f"tolerance of target {column}", value, above=0)


def checked(choice: TargetChoice, kind: str) -> TargetChoice:
    """The choice, if its options fit the kind of its target.

    Raises:
        InputError: one does not.
    """
    column = choice.column
    if choice.kpi:
        check_names(f"KPI of the {kind} {column!r}:", [choice.kpi], KPIS[kind])
    if choice.log and kind != REGRESSION:
        raise InputError(f"log is for a regression; target {column!r} is a {kind}.")
    if choice.order and kind != ORDINAL:
        raise InputError(f"order= is for an ordinal target; write {column}:ordinal:order={'<'.join(choice.order)}.")
    if choice.weights and kind != "classification":
        raise InputError(f"weights= is for a classification; target {column!r} is a {kind}.")
    if (choice.kpi == "within") > (choice.tolerance is not None) or (choice.tolerance and "within" not in choice.kpi):
        raise InputError(
            f"kpi=within and tolerance= go together, in the unit of the column: write "
            f"{column}:regression:kpi=within:tolerance=10."
        )
    return choice
