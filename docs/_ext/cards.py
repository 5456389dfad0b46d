"""Pages made from docstrings before each build: a card for each balancer, and tables of networks and departures."""

import inspect
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from sphinx.application import Sphinx

from hardfirst import losses
from hardfirst._docstring import paragraph, section, sentence
from hardfirst.balancers import BALANCERS, Card, GradientBalancer, Spec, card
from hardfirst.networks import NETWORKS

ROW = "* - {}\n"
CELL = "  - {}\n"


def markdown(text: str) -> str:
    """A docstring's text in the pages' own markup, as one paragraph."""
    return re.sub(r":math:`(.*?)`", r"$\1$", " ".join(text.split()))


def table(columns: Sequence[str], rows: Iterable[Iterable[str]], widths: str) -> str:
    """A table whose cells may hold formulas and links."""
    lines = [f"```{{list-table}}\n:header-rows: {len(columns) and 1}\n:widths: {widths}\n\n"]
    for first, *others in [*([list(columns)] if columns else []), *map(list, rows)]:
        lines += [ROW.format(first), *(CELL.format(cell or "–") for cell in others)]
    return "".join([*lines, "```\n"])


def balancer_page(shown: Card) -> str:
    """The card of a method: its docstring, and facts of its class."""
    method = Spec(shown.name).method
    facts = [
        ["By name", f"`{shown.name}`, in `--balancers`, plans and `Spec.parse`"],
        ["Needs", ", ".join(f"`{need}`" for need in shown.needs) or "nothing but losses"],
        ["State", ", ".join(f"`{name}`" for name in shown.state or ()) or "none"],
        ["A task left out", shown.absence],
        ["Micro-batches", "add up to one batch" if shown.linear else "do not add up to one batch"],
        ["torch.compile", "one graph" if shown.compiles else "eager mode only"],
        ["Trials", shown.trials],
    ]
    variants = [maker.__name__ for maker in BALANCERS.values() if getattr(maker, "__self__", None) is method]
    members = f"   :members: {', '.join(variants)}\n" if variants else ""
    documented = f"```{{eval-rst}}\n.. autoclass:: hardfirst.balancers.{method.__name__}\n{members}```\n"
    return f"# {shown.name}\n\n{table([], facts, '20 80')}\n{documented}"


def balancer_table(cards: list[Card]) -> str:
    """All methods, with what they need and when to use them."""
    headings = {False: "Loss methods: one backward pass per step", True: "Gradient methods: one backward pass per task"}
    text = ""
    for gradients, heading in headings.items():
        group = [shown for shown in cards if issubclass(Spec(shown.name).method, GradientBalancer) == gradients]
        rows = [[f"[{c.name}](cards/{c.name}.md)", c.title, ", ".join(c.needs), markdown(c.when)] for c in group]
        text += f"## {heading}\n\n{table(['name', 'method', 'needs', 'when to use'], rows, '16 22 10 52')}\n"
    return text


def departures(cards: list[Card]) -> str:
    """The differences from the papers, by method."""
    texts = {f"[{c.name}](../methods/cards/{c.name}.md)": inspect.getdoc(Spec(c.name).method) or "" for c in cards}
    texts |= {f"`{name}`": inspect.getdoc(maker.__self__) or "" for name, maker in NETWORKS.items()}  # type: ignore[attr-defined]
    texts |= {f"`{loss.__name__}`": inspect.getdoc(loss) or "" for loss in losses_of_papers()}
    rows = [[name, markdown(section(text, "References")), markdown(section(text, "Note"))] for name, text in texts.items()]
    return table(["what", "paper", "departures"], [row for row in rows if row[1]], "14 30 56")


def losses_of_papers() -> list[type]:
    """The example-level losses."""
    return [losses.SoftmaxFocalLoss, losses.SigmoidFocalLoss, losses.RegressionFocalLoss]


def network_table() -> str:
    """All networks."""
    rows = []
    for name, maker in NETWORKS.items():
        text = inspect.getdoc(maker.__self__) or ""  # type: ignore[attr-defined]
        rows.append([f"`{name}`", markdown(sentence(text)), markdown(paragraph(text, "When to use"))])
    return table(["name", "what it is", "when to use"], rows, "16 34 50")


def write(app: Sphinx) -> None:
    """Write the pages. An unchanged one keeps its date, so that Sphinx does not build it again."""
    source = Path(app.srcdir)
    # a variant, such as dtp_paper, is on the card of its class
    cards = [card(name) for name, maker in sorted(BALANCERS.items()) if isinstance(maker, type)]
    pages = {f"methods/cards/{shown.name}.md": balancer_page(shown) for shown in cards} | {
        "_made/balancers.md": balancer_table(cards),
        "_made/departures.md": departures(cards),
        "_made/networks.md": network_table(),
    }
    for name, text in pages.items():
        path = source / name
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the pages before Sphinx looks for them."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
