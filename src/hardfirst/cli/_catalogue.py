"""Tables and cards for `hardfirst list` and `hardfirst data`."""

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hardfirst._docstring import arguments, paragraph, section, sentence
from hardfirst.balancers import BALANCERS, Spec, card
from hardfirst.errors import InputError, writing
from hardfirst.networks import NETWORKS
from hardfirst.problems import PROBLEMS, Source

Rows = tuple[list[str], list[list[str]]]


def balancers() -> Rows:
    """The methods, with what they need and cost."""
    cards = [card(name) for name in sorted(BALANCERS)]
    columns = ["balancer", "method", "needs", "cost", "when to use"]
    return columns, [
        [c.name, c.title, ", ".join(c.needs) or "–", _plain(_first(c.cost)), _plain(_first(c.when))] for c in cards
    ]


def balancer(name: str) -> str:
    """The whole card of a method, as text.

    Raises:
        InputError: there is no such method.
    """
    shown = card(name)
    texts = arguments(inspect.cleandoc(Spec(name).method.__doc__ or ""))
    options = {option: text for option, text in texts.items() if option not in ("tasks", "process_group")}
    lines = {
        "When to use": shown.when,
        "Cost": shown.cost,
        "Options": _options(options),
        "Needs": ", ".join(shown.needs) or "nothing but losses",
        "State": "install TorchJD to see it" if shown.state is None else ", ".join(shown.state) or "none",
        "Micro-batches": "add up to one batch" if shown.linear else "do not add up to one batch",
        "torch.compile": "one graph" if shown.compiles else "refused: eager mode only",
        "Departures": shown.departures or "none",
    }
    return _as_text(name, shown.sentence, lines)


def problems() -> Rows:
    """The problems by name."""
    rows = [[p.name, ", ".join(p.task_names), p.description] for p in (make() for make in PROBLEMS.values())]
    return ["problem", "tasks", "what it is"], rows


def data() -> Rows:
    """The problems' data: source, size, licence, and whether it is installed."""
    columns = ["problem", "data", "size", "licence", "source"]
    return columns, [
        [name, _state(source), source.size, source.licence, source.credit]
        for name, make in PROBLEMS.items()
        if (source := make().source)
    ]


def to_install() -> list[str]:
    """The commands that install the data of each problem whose data is missing."""
    sources = {name: make().source for name, make in PROBLEMS.items()}
    return [f"To install {name}: {source.install}" for name, source in sources.items() if source and not source.ready]


def check_data(name: str) -> str:
    """Check all files of a problem by their checksums, and describe the data.

    Raises:
        InputError: there is no such problem, a file is missing, or is not the one that was published.
    """
    source = PROBLEMS[name]().source
    if source is None:
        return f"{name} needs no data other than the packages of hardfirst[cli]."
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
    with writing(page):
        sheet(page)


def _state(source: Source) -> str:
    return "ready" if source.ready else "not installed"


def networks() -> Rows:
    """The networks that can be made of a problem's `Parts`; a problem has networks of its own as well."""
    rows = []
    for name in NETWORKS:
        text = _network_text(name)
        rows.append([name, _plain(sentence(text)), _plain(_first(paragraph(text, "When to use")))])
    return ["network", "what it is", "when to use"], rows


def own_networks() -> str:
    """How to choose a network, and which problems define more than one."""
    more = [f"{name} has {', '.join(networks)}" for name, make in PROBLEMS.items() if (networks := make().networks)]
    return (
        "Each can be made for every built-in problem, at about the size of hard_sharing: for example --network "
        f"mmoe:experts=8. A problem's default network is called own; in addition, {'; '.join(more)}."
    )


def network(name: str) -> str:
    """The whole card of a network, as text.

    Raises:
        InputError: there is no such network.
    """
    text = _network_text(name)
    lines = {
        "When to use": paragraph(text, "When to use"),
        "Cost": paragraph(text, "Cost"),
        "Options": _options(_network_options(name)),
        "Departures": section(text, "Note"),
        "Paper": section(text, "References"),
    }
    return _as_text(name, sentence(text), lines)


def _network_text(name: str) -> str:
    maker: Any = NETWORKS[name]  # the `from_parts` of a class
    return inspect.cleandoc(getattr(maker, "__self__", maker).__doc__ or "")


def _network_options(name: str) -> dict[str, str]:
    """Each option with its description and default."""
    maker = NETWORKS[name]
    texts = arguments(inspect.getdoc(maker) or "", getattr(maker, "__self__", None))
    return {
        option: texts.get(option, "") + (f" Default: {parameter.default}." if parameter.default is not None else "")
        for option, parameter in inspect.signature(maker).parameters.items()
        if option != "parts"
    }


def _options(texts: Mapping[str, str]) -> str:
    return "".join(f"\n  {option}: {text}" for option, text in texts.items()) or "none"


def _as_text(name: str, first: str, lines: Mapping[str, str]) -> str:
    return _plain("\n".join([f"{name}: {first}", "", *(f"{what}: {text}" for what, text in lines.items() if text)]))


def _first(text: str) -> str:
    """The first sentence."""
    return re.split(r"(?<=[.;:])\s", text)[0].rstrip(";:")


def _plain(text: str) -> str:
    """The text without the docstring's markup."""
    return re.sub(r":math:`(.*?)`", r"\1", text).replace("`", "")
