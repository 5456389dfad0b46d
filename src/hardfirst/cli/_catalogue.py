"""What there is, as columns and rows for `hardfirst list`."""

import inspect
import re
from pathlib import Path
from typing import Any

from hardfirst._docstring import arguments, paragraph, section, sentence
from hardfirst.balancers import BALANCERS, Spec, card
from hardfirst.errors import InputError, unknown, writing
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
    said = arguments(inspect.getdoc(Spec(name).method) or "")
    options = {option: text for option, text in said.items() if option not in ("tasks", "process_group")}
    lines = {
        "When to use": found.when,
        "Cost": found.cost,
        "Options": "".join(f"\n  {option}: {text}" for option, text in options.items()) or "none",
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


def missing_problems() -> list[str]:
    """For each plug-in that is not installed, a sentence with its problems and the command that installs it."""
    names: dict[str, list[str]] = {}
    for name, package in PROBLEMS.missing.items():
        names.setdefault(package, []).append(name)
    return [f"{', '.join(group)} can be added: pip install {package}" for package, group in names.items()]


def data() -> Rows:
    """Each problem's data: its state, size, licence and source."""
    columns = ["problem", "data", "size", "licence", "source"]
    return columns, [
        [name, "ready" if source.ready else "not installed", source.size, source.licence, source.credit]
        for name, source in _sources().items()
    ]


def to_install() -> list[str]:
    """For each problem whose data is missing, and each missing plug-in, a sentence with the command to install it."""
    missing = [f"To install {name}: {source.install}" for name, source in _sources().items() if not source.ready]
    return missing + missing_problems()


def check_data(name: str) -> str:
    """Verify the checksums of a problem's files, and list the files with their licence and source.

    Raises:
        InputError: there is no such problem, or a file is missing or not the published one.
    """
    source = PROBLEMS[name]().source
    if source is None:
        return f"{name} needs no data other than the packages of hardfirst[cli]."
    lines = [f"{path}: as published" for path in source.check()]
    return "\n".join([*lines, f"Licence: {source.licence}", f"Source: {source.credit}"])


def write_samples(name: str, page: Path) -> None:
    """Write a page of samples of the problem.

    Raises:
        InputError: the problem has no such page, or the file cannot be written.
    """
    write_page = PROBLEMS[name]().sample_page
    if write_page is None:
        raise InputError(f"{name} has no page of samples.")
    with writing(page):
        write_page(page)


def _sources() -> dict[str, Source]:
    problems = {name: make() for name, make in PROBLEMS.items()}
    return {name: problem.source for name, problem in problems.items() if problem.source}


def networks() -> Rows:
    """The networks that can be made of a problem's `Parts`, beside those that a problem has of its own."""
    rows = []
    for name in NETWORKS:
        text = _network_text(name)
        rows.append([name, _plain(sentence(text)), _plain(_first(paragraph(text, "When to use")))])
    return ["network", "what it is", "when to use"], rows


def own_networks() -> str:
    """What to write for a network, and which problems have more than one of their own, as a sentence."""
    more = [f"{name} has {', '.join(found)}" for name, make in PROBLEMS.items() if (found := make().networks)]
    return (
        "Each can be made for every built-in problem, at about the size of hard_sharing: --network mmoe:experts=8, for "
        f"instance. A problem's first network of its own is called own; {'; '.join(more)} besides."
    )


def network(name: str) -> str:
    """A network's whole card, as text.

    Raises:
        InputError: there is no such network.
    """
    if name not in NETWORKS:
        raise unknown("network", name, NETWORKS)
    text = _network_text(name)
    lines = {
        "When to use": paragraph(text, "When to use"),
        "Cost": paragraph(text, "Cost"),
        "Options": "".join(f"\n  {option}: {said}" for option, said in _network_options(name).items()),
        "Departures": section(text, "Note"),
        "Paper": section(text, "References"),
    }
    return _plain("\n".join([f"{name}: {sentence(text)}", "", *(f"{what}: {said}" for what, said in lines.items())]))


def _network_text(name: str) -> str:
    made: Any = NETWORKS[name]  # each is a class's from_parts
    return inspect.getdoc(made.__self__) or ""


def _network_options(name: str) -> dict[str, str]:
    """Each option with its default and what is said of it."""
    options = inspect.signature(NETWORKS[name]).parameters
    said = arguments(inspect.getdoc(NETWORKS[name]) or "")
    classes = arguments(_network_text(name))
    texts = {option: classes.get(option, "") if said[option] == "see the class." else said[option] for option in options}
    return {
        option: f"{texts[option]} Default: {parameter.default}." if parameter.default is not None else texts[option]
        for option, parameter in options.items()
        if option != "parts"
    }


def _first(text: str) -> str:
    """The first sentence."""
    return re.split(r"(?<=[.;:])\s", text)[0].rstrip(";:")


def _plain(text: str) -> str:
    """Without the docstring's markup."""
    return re.sub(r":math:`(.*?)`", r"\1", text).replace("`", "")
