"""What there is, as columns and rows for `hardfirst list`."""

import inspect
import re
from pathlib import Path
from typing import Any

from hardfirst.balancers import BALANCERS, card
from hardfirst.errors import InputError, unknown
from hardfirst.networks import NETWORKS
from hardfirst.problems import PROBLEMS, Source

Rows = tuple[list[str], list[list[str]]]


def balancers() -> Rows:
    """The methods with what they need and cost."""
    cards = [card(name) for name in sorted(BALANCERS)]
    columns = ["balancer", "method", "needs", "cost", "when to use"]
    return columns, [
        [c.name, c.title, ", ".join(c.needs) or "–", _plain(_first(c.cost)), _plain(_first(c.when))] for c in cards
    ]


def balancer(name: str) -> str:
    """A method's whole card, as text.

    Raises:
        InputError: there is no such method.
    """
    found = card(name)
    lines = {
        "When to use": found.when,
        "Cost": found.cost,
        "Needs": ", ".join(found.needs) or "nothing but losses",
        "State": "install TorchJD to see it" if found.state is None else ", ".join(found.state) or "none",
        "Micro-batches": "add up to one batch" if found.linear else "do not add up to one batch",
        "torch.compile": "one graph" if found.compiles else "refused: eager mode only",
        "Departures": found.departures or "none",
    }
    return _plain("\n".join([f"{name}: {found.sentence}", "", *(f"{what}: {text}" for what, text in lines.items())]))


def problems() -> Rows:
    """The built-in problems."""
    found = [make() for make in PROBLEMS.values()]
    return ["problem", "tasks", "what it is"], [[p.name, ", ".join(p.task_names), p.description] for p in found]


def data() -> Rows:
    """The built-in problems with what their data is, and whether it is there."""
    columns = ["problem", "data", "size", "licence", "source"]
    return columns, [
        [name, _state(source), source.size, source.licence, source.credit]
        for name, make in PROBLEMS.items()
        if (source := make().source)
    ]


def to_install() -> list[str]:
    """A sentence with the commands for each problem whose data is missing."""
    sources = {name: make().source for name, make in PROBLEMS.items()}
    return [f"To install {name}: {found.install}" for name, found in sources.items() if found and not found.ready]


def check_data(name: str) -> str:
    """Read all files of a problem against their checksums, and say what they are.

    Raises:
        InputError: there is no such problem, a file is missing, or is not the one that was published.
    """
    if name not in PROBLEMS:
        raise unknown("problem", name, PROBLEMS)
    source = PROBLEMS[name]().source
    if source is None:
        return f"{name} needs no data beside the packages of hardfirst[cli]."
    lines = [f"{path}: as published" for path in source.check()]
    return "\n".join([*lines, f"Licence: {source.licence}", f"Source: {source.credit}"])


def write_samples(name: str, page: Path) -> None:
    """Write a page of the problem's samples.

    Raises:
        InputError: the problem has no such page, or it cannot be written.
    """
    sheet = PROBLEMS[name]().sheet
    if sheet is None:
        raise InputError(f"There is no page of samples for {name}; there is for scenes and scenes:small.")
    try:
        sheet(page)
    except OSError as error:
        raise InputError(f"{page} cannot be written: {error.strerror}.") from error


def _state(source: Source) -> str:
    return "ready" if source.ready else "not installed"


def networks() -> Rows:
    """The networks that Python code can build on: from a problem's `Parts` by name, or from modules by class."""
    rows = []
    for name, made in NETWORKS.items():
        network: Any = made.__self__  # type: ignore[attr-defined]  # each is a class's from_parts
        text = inspect.getdoc(network) or ""
        rows.append([name, network.__name__, _plain(text.split("\n\n")[0].replace("\n", " "))])
    return ["network", "class", "what it is"], rows


def _first(text: str) -> str:
    """The first sentence."""
    return re.split(r"(?<=[.;:])\s", text)[0].rstrip(";:")


def _plain(text: str) -> str:
    """Without the docstring's markup."""
    return re.sub(r":math:`(.*?)`", r"\1", text).replace("`", "")
