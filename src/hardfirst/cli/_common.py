"""What commands share: the terminal, and what flags say about problems."""

import os
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from hardfirst._text import printable
from hardfirst.cli._flags import TABLE
from hardfirst.cli._listing import wrapped
from hardfirst.errors import InputError


class _Console(Console):
    """A console whose output may be closed, as by `| head`: printing then ends, and nothing else."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())  # for what is still to be flushed


console = _Console()


def say(text: str) -> None:
    """Print a text without markup and control characters.

    A terminal gets lines that break between words. An indented line, such as a command, is never broken.
    """
    lines = printable(text).splitlines() or [""]
    if console.is_terminal:
        lines = [part for line in lines for part in ([line] if line.startswith(" ") else wrapped(line, console.width, "  "))]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def typed() -> str:
    """The command line that started this process."""
    return shlex.join(["hardfirst", *sys.argv[1:]])


def full_names(problems: list[str], flags: dict[str, Any]) -> list[str]:
    """The problems under names that include what the flags of `DATA` say, which are taken out of `flags`.

    Raises:
        InputError: a flag is for a table or a folder, and there is none.
    """
    table = {name: value for name in TABLE if (value := flags.pop(name)) is not None}
    return with_data(_with_table(problems, table) if table else problems, flags.pop("data"))


def _with_table(problems: list[str], given: dict[str, str]) -> list[str]:
    from hardfirst.problems.tables import check_format, is_table, table_name

    for problem in problems:
        check_format(problem)
    if not any(map(is_table, problems)):
        raise InputError(f"--{next(iter(given))} is for a table, such as homes.csv; there is none.")
    targets = given.pop("targets", "")
    names = []
    for problem in problems:
        query = table_name("", targets, **given)[1:]
        names.append(f"{problem}{'&' if '?' in problem else '?'}{query}" if is_table(problem) else problem)
    return names


def with_data(problems: list[str], folder: Path | None) -> list[str]:
    """The problems, with the folder in the name of the one that reads it.

    Raises:
        InputError: none of them needs a folder, or several do.
    """
    if folder is None:
        return problems
    from hardfirst.problems import FIELDS, folder_name, load_problem

    named = [problem for problem in problems if problem.partition("?")[0] in FIELDS]
    if not named:
        for problem in problems:
            if not problem.endswith((".yaml", ".yml")):
                load_problem(problem)  # an unknown name is the nearer error
        raise InputError(
            f"--data is the folder of a problem that reads one ({', '.join(FIELDS)}); {', '.join(problems)} needs none."
        )
    if len(named) > 1 or "?" in named[0]:
        written = " ".join(f"{problem.partition('?')[0]}?data=DIR" for problem in named)
        raise InputError(
            f"--data is the folder of one problem that does not name its own; got {', '.join(named)}. Write {written} "
            "instead."
        )
    return [folder_name(problem, folder) if problem in named else problem for problem in problems]


def say_tables(problems: Iterable[str]) -> None:
    """Print the card of each table among the problems."""
    from hardfirst.cli._tables import card_sentences, target_table
    from hardfirst.problems import data_card

    for problem in problems:
        if (card := data_card(problem)) is not None:
            for sentence in card_sentences(card):
                say(sentence)
            console.print(target_table(card))
            for sentence in card.notes:
                say(f"{problem.partition('?')[0]}: {sentence}")


def say_recipe(recipes: Mapping[str, Mapping[str, Any]]) -> None:
    """Print what is not the default in the recipe of each problem."""
    for problem, settings in recipes.items():
        if settings:
            say(f"The recipe of {problem}: {', '.join(f'{name} {value}' for name, value in settings.items())}.")


def with_order(networks: str, order: str) -> str:
    """The networks with this order of tasks for every task hierarchy."""
    from hardfirst.networks import MEASURED, NetworkSpec

    texts = NetworkSpec.split(networks) if networks else []
    if not any(text.partition(":")[0] == "task_hierarchy" for text in texts):
        raise InputError("--order is for the task hierarchy: add task_hierarchy to the networks.")
    tasks = order if order in MEASURED else tuple(task.strip() for task in order.split(","))
    return ",".join(
        str(NetworkSpec.parse(text).replace({"order": tasks})) if text.partition(":")[0] == "task_hierarchy" else text
        for text in texts
    )
