"""Parts of a docstring, for cards that cannot say other than the code."""

import inspect
import re


def sentence(text: str) -> str:
    r"""The first paragraph, as one line.

    >>> sentence("One thing.\n\nAnd another.")
    'One thing.'
    """
    return text.split("\n\n", maxsplit=1)[0].replace("\n", " ")


def paragraph(text: str, name: str) -> str:
    r"""The paragraph that begins with the name, without it; nothing where there is none.

    >>> paragraph("One thing.\n\nCost: none\nat all.\n", "Cost")
    'none at all.'
    """
    found = re.search(rf"^{name}: (.*?)(?=\n\n|\Z)", text, re.DOTALL | re.MULTILINE)
    return " ".join(found.group(1).split()) if found else ""


def section(text: str, name: str) -> str:
    """What stands below the name, indented; nothing where there is no such section."""
    found = re.search(rf"^{name}:\n(.*?)(?=\n\n\S|\Z)", text, re.DOTALL | re.MULTILINE)
    return inspect.cleandoc(found.group(1)) if found else ""


def arguments(text: str) -> dict[str, str]:
    r"""What the docstring says of each argument, as one line.

    >>> arguments("Do.\n\nArgs:\n    a: one\n        thing.\n    b: another.\n")
    {'a': 'one thing.', 'b': 'another.'}
    """
    found = re.findall(r"^(\w+): (.*?)(?=^\w+: |\Z)", section(text, "Args"), re.DOTALL | re.MULTILINE)
    return {name: " ".join(said.split()) for name, said in found}
