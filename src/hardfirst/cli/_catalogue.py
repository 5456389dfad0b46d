"""Tables and cards for `hardfirst list` and `hardfirst data`."""

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hardfirst._docstring import arguments, paragraph, section, sentence
from hardfirst._spec import SpecBase, format_value
from hardfirst.balancers import BALANCERS, Spec, card
from hardfirst.errors import InputError, writing
from hardfirst.networks import NETWORKS
from hardfirst.problems import FIELDS, PROBLEMS, Source, fields, load_problem
from hardfirst.recipes import OptimizerSpec, ScheduleSpec

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
        "A task left out": shown.absence,
        "Micro-batches": "add up to one batch" if shown.linear else "do not add up to one batch",
        "torch.compile": "one graph" if shown.compiles else "refused: eager mode only",
        "Trials": shown.trials,
        "Departures": shown.departures or "none",
    }
    return _as_text(name, shown.sentence, lines)


def problems() -> Rows:
    """The problems by name."""
    rows = [[p.name, ", ".join(p.task_names), p.description] for p in (make() for make in PROBLEMS.values())]
    rows += [[name, field.tasks, f"{field.description} Needs --data."] for name, field in FIELDS.items()]
    return ["problem", "tasks", "what it is"], rows


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
    ] + [[name, "needs --data", field.size, "its source's", field.source] for name, field in FIELDS.items()]


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


def optimizers() -> Rows:
    """The optimizers that a recipe can name."""
    return _recipe_rows(OptimizerSpec)


def schedules() -> Rows:
    """The learning-rate schedules that a recipe can name."""
    return _recipe_rows(ScheduleSpec)


def optimizer(name: str) -> str:
    """The whole card of an optimizer, as text.

    Raises:
        InputError: there is no such optimizer.
    """
    return _recipe_card(OptimizerSpec(name))


def schedule(name: str) -> str:
    """The whole card of a schedule, as text.

    Raises:
        InputError: there is no such schedule.
    """
    return _recipe_card(ScheduleSpec(name))


def _recipe_rows(kind: type[SpecBase]) -> Rows:
    rows = []
    for spec in map(kind, kind.registry):
        options = [f"{name}={default}" if default else name for name, default in _recipe_options(spec).items()]
        rows.append([spec.name, _plain(sentence(_doc(spec))), ", ".join(options) or "–"])
    return [kind.kind, "what it is", "options"], rows


def _recipe_card(spec: SpecBase) -> str:
    texts = arguments(_doc(spec))
    options = {
        option: f"{texts.get(option, '')} {f'Default: {default}.' if default else 'It has to be given.'}".strip()
        for option, default in _recipe_options(spec).items()
    }
    return _as_text(spec.name, sentence(_doc(spec)), {"Options": _options(options)})


def _doc(spec: SpecBase) -> str:
    return inspect.getdoc(spec.maker()) or ""


def _recipe_options(spec: SpecBase) -> dict[str, str]:
    """Each option with its default as a spec has it; "" where it has to be given."""
    parameters = inspect.signature(spec.maker()).parameters.values()
    options = [parameter for parameter in parameters if parameter.name not in spec.from_caller]
    return {option.name: "" if option.default is option.empty else format_value(option.default) for option in options}


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
