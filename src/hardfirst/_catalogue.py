"""What there is, as columns and rows for `hardfirst list`."""

import inspect

from hardfirst import networks as _networks
from hardfirst.balancers import BALANCERS, card
from hardfirst.problems import PROBLEMS

Rows = tuple[list[str], list[list[str]]]


def balancers() -> Rows:
    """The methods with what they need and cost."""
    cards = [card(name) for name in sorted(BALANCERS)]
    columns = ["balancer", "method", "needs", "cost", "when to use"]
    return columns, [[c.name, c.title, ", ".join(c.needs) or "–", c.cost, c.when] for c in cards]


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
