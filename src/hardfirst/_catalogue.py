"""What there is, as columns and rows for `hardfirst list`."""

import inspect
import re

from hardfirst import networks as _networks
from hardfirst.balancers import BALANCERS, card
from hardfirst.problems import PROBLEMS

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
        "State": ", ".join(found.state) or "none",
        "Micro-batches": "add up to one batch" if found.linear else "do not add up to one batch",
        "torch.compile": "one graph" if found.compiles else "refused: eager mode only",
        "Departures": found.departures or "none",
    }
    return _plain("\n".join([f"{name}: {found.sentence}", "", *(f"{what}: {text}" for what, text in lines.items())]))


def problems() -> Rows:
    """The built-in problems."""
    found = [make() for make in PROBLEMS.values()]
    return ["problem", "tasks", "what it is"], [[p.name, ", ".join(p.task_names), p.description] for p in found]


def networks() -> Rows:
    """The networks that Python code can build on."""
    names = _networks.__all__
    texts = [inspect.getdoc(getattr(_networks, name)) or "" for name in names]
    return ["network", "what it is"], [
        [name, text.split("\n\n")[0].replace("\n", " ")] for name, text in zip(names, texts, strict=True)
    ]


def _first(text: str) -> str:
    """The first sentence."""
    return re.split(r"(?<=[.;:])\s", text)[0].rstrip(";:")


def _plain(text: str) -> str:
    """Without the docstring's markup."""
    return re.sub(r":math:`(.*?)`", r"\1", text).replace("`", "")
