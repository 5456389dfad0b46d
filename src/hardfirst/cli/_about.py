"""Cards for `hardfirst list WHAT NAME`."""

import inspect
import re
from typing import Any

from hardfirst._docstring import arguments, paragraph, section, sentence
from hardfirst._spec import SpecBase, format_value
from hardfirst.balancers import Spec
from hardfirst.balancers import card as card_of
from hardfirst.cli import _listing
from hardfirst.cli._formula import plain
from hardfirst.networks import NETWORKS
from hardfirst.problems import FIELDS, load_problem
from hardfirst.recipes import OptimizerSpec, ScheduleSpec

Parts = dict[str, str | dict[str, str]]


def balancer(name: str, width: int) -> str:
    """The card of a method.

    Raises:
        InputError: there is no such method.
    """
    shown = card_of(name)
    texts = arguments(inspect.cleandoc(Spec(name).method.__doc__ or ""))
    parts: Parts = {
        "When to use": occasion(shown.when),
        "Cost": shown.cost,
        "Options": {option: text for option, text in texts.items() if option not in ("tasks", "process_group")},
        "Needs": ", ".join(shown.needs) or "nothing but losses",
        "State": "install TorchJD to see it" if shown.state is None else ", ".join(shown.state) or "none",
        "A task left out": shown.absence,
        "Micro-batches": "add up to one batch" if shown.linear else "do not add up to one batch",
        "torch.compile": "one graph" if shown.compiles else "refused: eager mode only",
        "Trials": shown.trials,
        "Departures": shown.departures or "none",
    }
    return _card(name, shown.sentence, parts, width)


def problem(name: str, width: int) -> str:
    """The card of a problem.

    Raises:
        InputError: there is no such problem.
    """
    if name in FIELDS:
        field = FIELDS[name]
        folder: Parts = {"Tasks": field.tasks, "Files": field.layout, "Size": field.size, "Source": field.source}
        folder["To train it"] = f"hardfirst compare {name} --data DIR"
        return _card(name, field.description, folder, width)
    loaded = load_problem(name)
    networks = ["own", *loaded.networks]
    parts: Parts = {
        "Tasks": ", ".join(loaded.task_names),
        "Networks": ", ".join(networks) + ("" if loaded.parts is None else ", and those of `hardfirst list networks`"),
        "Recipe": f"{loaded.epochs} epochs, batches of {loaded.batch_size}, learning rate {loaded.learning_rate}",
        **({"Data": f"{s.size}. {s.licence}. {s.credit}"} if (s := loaded.source) else {}),
    }
    return _card(name, loaded.description, parts, width)


def network(name: str, width: int) -> str:
    """The card of a network.

    Raises:
        InputError: there is no such network.
    """
    text = network_text(name)
    parts: Parts = {
        "When to use": occasion(paragraph(text, "When to use")),
        "Cost": paragraph(text, "Cost"),
        "Options": _network_options(name),
        "Departures": section(text, "Note"),
        "Paper": section(text, "References"),
    }
    return _card(name, sentence(text), parts, width)


def optimizer(name: str, width: int) -> str:
    """The card of an optimizer.

    Raises:
        InputError: there is no such optimizer.
    """
    return _recipe_part(OptimizerSpec(name), width)


def schedule(name: str, width: int) -> str:
    """The card of a schedule.

    Raises:
        InputError: there is no such schedule.
    """
    return _recipe_part(ScheduleSpec(name), width)


def _recipe_part(spec: SpecBase, width: int) -> str:
    texts = arguments(doc(spec))
    options = {
        option: f"{texts.get(option, '')} {f'Default: {default}.' if default else 'Required.'}".strip()
        for option, default in recipe_options(spec).items()
    }
    return _card(spec.name, sentence(doc(spec)), {"Options": options}, width)


def _card(name: str, first: str, parts: Parts, width: int) -> str:
    shown = {
        heading: plain(part) if isinstance(part, str) else {option: plain(text) for option, text in part.items()}
        for heading, part in parts.items()
    }
    return _listing.card(name, plain(first), shown, width)


def occasion(text: str) -> str:
    """A sentence that begins with "Use when", as it stands under the heading "When to use".

    >>> occasion("Use when tasks conflict."), occasion("Use it as a control."), occasion("Start here.")
    ('tasks conflict.', 'as a control.', 'Start here.')
    """
    return re.sub(r"^Use (it )?((when|if) )?", "", text)


def doc(spec: SpecBase) -> str:
    """The docstring of what a spec makes."""
    return inspect.getdoc(spec.maker()) or ""


def recipe_options(spec: SpecBase) -> dict[str, str]:
    """Each option with its default as a spec has it; "" where it is required."""
    parameters = inspect.signature(spec.maker()).parameters.values()
    options = [parameter for parameter in parameters if parameter.name not in spec.from_caller]
    return {option.name: "" if option.default is option.empty else format_value(option.default) for option in options}


def network_text(name: str) -> str:
    """The docstring of a network's class."""
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
