"""Lists for `hardfirst list` and `hardfirst data`."""

import re
import textwrap
from itertools import groupby
from pathlib import Path

from hardfirst._docstring import paragraph, sentence
from hardfirst._spec import SpecBase
from hardfirst.balancers import BALANCERS, GradientBalancer, Spec, card
from hardfirst.cli._about import doc, network_text, occasion, recipe_options
from hardfirst.cli._formula import plain
from hardfirst.cli._listing import Group, listing, wrapped
from hardfirst.errors import InputError, writing
from hardfirst.networks import NETWORKS
from hardfirst.problems import FIELDS, PROBLEMS, Source, fields, load_problem
from hardfirst.recipes import OptimizerSpec, ScheduleSpec

_TASKS = 17  # characters in the column of tasks


def balancers(width: int) -> str:
    """The methods, with what they need and when to use them."""
    groups: dict[bool, list[tuple[str, str, str]]] = {False: [], True: []}
    for name in sorted(BALANCERS):
        shown = card(name)
        row = (name, ", ".join(shown.needs) or "–", _first(occasion(plain(shown.when))))
        groups[issubclass(Spec(name).method, GradientBalancer)].append(row)
    return listing(
        ["balancer", "needs", "when to use"],
        [
            Group("Loss methods: one backward pass per step", groups[False]),
            Group("Gradient methods: one backward pass per task and step", groups[True]),
        ],
        "A method's card: hardfirst list balancers NAME",
        width,
    )


def problems(width: int) -> str:
    """The problems, with their tasks."""
    built_in = [(p.name, _some(", ".join(p.task_names)), p.description) for p in (make() for make in PROBLEMS.values())]
    with_data = [(name, _some(field.tasks), field.description) for name, field in FIELDS.items()]
    groups = [Group("With their data", built_in), Group("With --data DIR, a folder that you have", with_data)]
    return listing(
        ["problem", "tasks", "what it is"], groups, "A problem with all its tasks: hardfirst list problems NAME", width
    )


def networks(width: int) -> str:
    """The networks that can be made of a problem's `Parts`."""
    rows = [
        (name, f"{plain(sentence(text))} When to use: {_first(occasion(plain(paragraph(text, 'When to use'))))}.")
        for name, text in ((name, network_text(name)) for name in NETWORKS)
    ]
    return listing(["network", "what it is"], [Group("", rows)], "A network's card: hardfirst list networks NAME", width)


def optimizers(width: int) -> str:
    """The optimizers that a recipe can name."""
    return _recipe_parts(OptimizerSpec, width)


def schedules(width: int) -> str:
    """The learning-rate schedules that a recipe can name."""
    return _recipe_parts(ScheduleSpec, width)


def _recipe_parts(kind: type[SpecBase], width: int) -> str:
    rows = []
    for spec in map(kind, kind.registry):
        options = [f"{name}={default}" if default else name for name, default in recipe_options(spec).items()]
        rows.append((spec.name, " ".join([plain(sentence(doc(spec))), f"Options: {', '.join(options) or 'none'}."])))
    closing = f"With its options explained: hardfirst list {kind.kind}s NAME"
    return listing([kind.kind, "what it is"], [Group("", rows)], closing, width)


def own_networks() -> str:
    """How to choose a network, and which problems define more than one."""
    more = [f"{name} has {', '.join(networks)}" for name, make in PROBLEMS.items() if (networks := make().networks)]
    return (
        "Each can be made for every built-in problem, at about the size of hard_sharing: for example --network "
        f"mmoe:experts=8. A problem's default network is called own; in addition, {'; '.join(more)}."
    )


def missing_problems() -> list[str]:
    """For each plug-in that is not installed, a sentence with its problems and the command that installs it."""
    names: dict[str, list[str]] = {}
    for name, package in PROBLEMS.missing.items():
        names.setdefault(package, []).append(name)
    return [f"{', '.join(group)} can be added: pip install {package}" for package, group in names.items()]


def data(width: int) -> str:
    """The data of each problem: whether it is installed, its size, licence and source."""
    rows = [
        ("Installed" if source.ready else "Not installed", name, source.size, f"{source.licence}. {source.credit}")
        for name, source in _sources().items()
    ]
    rows += [("With --data DIR", name, field.size, f"From {field.source}.") for name, field in FIELDS.items()]
    lines = []
    for state, group in groupby(sorted(rows, key=lambda row: row[0] != "Installed"), key=lambda row: row[0]):
        lines.append(f"{state}:")
        for about, alike in groupby(group, key=lambda row: row[2:]):
            size, text = about
            names = ", ".join(name for _, name, *_ in alike)
            lines += [f"  {line}" for line in wrapped(f"{names}{f' ({size})' if size != '–' else ''}: {text}", width - 2)]
    return "\n".join(lines)


def to_install() -> list[str]:
    """For each problem whose data is missing, and each missing plug-in, a sentence with the command to install it."""
    missing = [f"To install {name}: {source.install}" for name, source in _sources().items() if not source.ready]
    return missing + missing_problems()


def check_data(name: str) -> str:
    """Verify the checksums of a problem's files, and list the files with their licence and source; or check its folder.

    Raises:
        InputError: there is no such problem, or a file is missing or not the published one.
    """
    if fields.is_folder_problem(name):
        return "\n".join(fields.check(name))
    source = load_problem(name).source
    if source is None:
        return f"{name} needs no data other than the packages of hardfirst[cli]."
    lines = [f"{path}: as published" for path in source.check()]
    return "\n".join([*lines, f"Licence: {source.licence}", f"Source: {source.credit}"])


def write_samples(name: str, page: Path) -> None:
    """Write a page of samples of the problem.

    Raises:
        InputError: the problem has no such page, or the file cannot be written.
    """
    write_page = load_problem(name).sample_page
    if write_page is None:
        raise InputError(f"{name} has no page of samples.")
    with writing(page):
        write_page(page)


def _sources() -> dict[str, Source]:
    problems = {name: make() for name, make in PROBLEMS.items()}
    return {name: problem.source for name, problem in problems.items() if problem.source}


def _some(tasks: str) -> str:
    """The tasks, or how many there are if a column cannot hold them."""
    if len(tasks) <= _TASKS:
        return tasks
    return f"{tasks.count(',') + 1} tasks" if "," in tasks else textwrap.shorten(tasks, _TASKS, placeholder=" …")


def _first(text: str) -> str:
    """The first sentence."""
    return re.split(r"(?<=\.)\s", text)[0].rstrip(".")
