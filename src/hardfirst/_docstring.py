"""Parse docstrings, for cards that agree with the code."""

import inspect
import re


def sentence(text: str) -> str:
    r"""Return the first paragraph as one line.

    >>> sentence("One thing.\n\nAnd another.")
    'One thing.'
    """
    return text.split("\n\n", maxsplit=1)[0].replace("\n", " ")


def paragraph(text: str, name: str) -> str:
    r"""Return the paragraph that begins with a name, without the name; "" if there is none.

    >>> paragraph("One thing.\n\nCost: none\nat all.\n", "Cost")
    'none at all.'
    """
    match = re.search(rf"^{name}: (.*?)(?=\n\n|\Z)", text, re.DOTALL | re.MULTILINE)
    return " ".join(match.group(1).split()) if match else ""


def section(text: str, name: str) -> str:
    """Return the text of a section, without its indentation; "" if there is none."""
    match = re.search(rf"^{name}:\n(.*?)(?=\n\n\S|\Z)", text, re.DOTALL | re.MULTILINE)
    return inspect.cleandoc(match.group(1)) if match else ""


def arguments(text: str, owner: type | None = None) -> dict[str, str]:
    r"""Return the description of each argument, as one line.

    Args:
        text: a docstring.
        owner: the class of a method, for arguments that refer to the class's: "see `Owner`."

    Example:
        >>> arguments("Do.\n\nArgs:\n    a: one\n        thing.\n    b: another.\n")
        {'a': 'one thing.', 'b': 'another.'}
    """
    pairs = re.findall(r"^(\w+): (.*?)(?=^\w+: |\Z)", section(text, "Args"), re.DOTALL | re.MULTILINE)
    texts = {name: " ".join(words.split()) for name, words in pairs}
    if owner is None:
        return texts
    classes = arguments(inspect.cleandoc(owner.__doc__ or ""))
    return {name: classes[name] if said == f"see `{owner.__name__}`." else said for name, said in texts.items()}
