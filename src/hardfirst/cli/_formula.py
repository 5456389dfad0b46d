"""Formulas of docstrings as plain text, for terminals."""

import re
import unicodedata

_SYMBOLS = {
    **{"lambda": "λ", "varepsilon": "ε", "varrho": "ϱ", "sum": "Σ", "prod": "Π", "nabla": "∇", "sqrt": "√", "top": "ᵀ"},
    **{"propto": "∝", "leftarrow": "←", "cdot": "·", "le": "≤", "ge": "≥", "sim": "~", "in": "∈", "tfrac12": "½"},
    **{"lVert": "‖", "rVert": "‖", "log": "log ", "mathbf": "", "mathrm": "", "text": "", ",": " ", "{": "{", "}": "}"},
}
_ACCENTS = {"bar": "\N{COMBINING MACRON}", "hat": "\N{COMBINING CIRCUMFLEX ACCENT}", "tilde": "\N{COMBINING TILDE}"}
_RAISED = str.maketrans("0123456789-+Tᵀ", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ᵀᵀ")


def plain(text: str) -> str:
    r"""Return a text of a docstring without markup: formulas in Unicode, and no backquotes.

    >>> plain(r"weights :math:`w_t \propto -(1-\bar\kappa_t)^{\gamma_t}\log\bar\kappa_t` and `alpha`")
    'weights w_t ∝ −(1−κ̄_t)^γ_t log κ̄_t and alpha'
    >>> plain(r":math:`\lVert J^\top w \rVert^2`, :math:`w^{-1/\alpha}`")
    '‖Jᵀ w‖², w^(−1/α)'
    """
    return re.sub(r":math:`(.*?)`", lambda match: _formula(match[1]), text, flags=re.DOTALL).replace("`", "")


def _formula(text: str) -> str:
    text = re.sub(r"\\(bar|hat|tilde)\s*(\\[a-zA-Z]+|\w)", lambda match: _symbols(match[2]) + _ACCENTS[match[1]], text)
    text = re.sub(r"\\(?:mathrm|text|mathbf)\s*\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"\^(?:\{([^{}]*)\}|(\\top|.))", lambda match: _raised(_symbols(match[1] or match[2])), text)
    text = re.sub(r"(?<!\\)_\{([^{}]*)\}", lambda match: f"_{_symbols(match[1])}", text)
    text = _symbols(text)
    text = re.sub(r"‖ *(.*?) *‖", r"‖\1‖", re.sub(r"√ +", "√", text))
    return " ".join(re.sub(r"(?<=\w)(?=log )", " ", text).split()).replace("-", "−")


def _symbols(text: str) -> str:
    """The text with each command as its symbol, or as its name."""
    return re.sub(r"\\([a-zA-Z]+\d*|[,{}])", lambda match: _symbol(match[1]), text)


def _symbol(command: str) -> str:
    if command in _SYMBOLS:
        return _SYMBOLS[command]
    size = "CAPITAL" if command[0].isupper() else "SMALL"
    try:
        return unicodedata.lookup(f"GREEK {size} LETTER {command}")
    except KeyError:
        return command


def _raised(exponent: str) -> str:
    if set(exponent) <= set("0123456789-+Tᵀ"):
        return exponent.translate(_RAISED)
    return f"^({exponent})" if re.search(r"[ /+-]", exponent) else f"^{exponent}"
