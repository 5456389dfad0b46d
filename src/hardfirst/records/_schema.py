"""Whether the lines of a record are what they should be: whoever reads one may then rely on it."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

TEXTS = ("problem", "balancer", "network", "only", "loss", "criterion")
Holds = Callable[[Any], bool]


def loads(text: str) -> Any:
    """A line's content.

    Raises:
        ValueError: it is not JSON, or has what no record has.
    """
    try:
        found = json.loads(text, parse_constant=_no_number)
        if "\\ud" in text.lower():  # half of a pair of surrogates can be read, and never written
            json.dumps(found, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise ValueError(error.msg) from None
    except RecursionError:
        raise ValueError("nested too deep") from None
    return found


def unsound(line: Mapping[str, Any]) -> str | None:
    """What in a line, a known kind's, is not as it should be; None where all is."""
    fields = FIELDS[line["kind"]]
    missing = (name for name in fields if name not in line and name not in LATER)
    return next(missing, next((name for name, holds in fields.items() if not holds(line.get(name))), None))


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number in JSON")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _number(value: Any) -> bool:
    """A finite number; or NaN, which null has become."""
    return (isinstance(value, float) and not math.isinf(value)) or (isinstance(value, int) and abs(value) < 2**63)


def _optional(holds: Holds) -> Holds:
    return lambda value: value is None or holds(value)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _each(holds: Holds) -> Holds:
    return lambda value: isinstance(value, dict) and all(map(holds, value.values()))


def _names(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value)) and 0 < len(set(value)) == len(value)


def _settings(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    texts = all(map(_optional(_text), (value.get(name) for name in TEXTS)))
    return texts and _optional(_whole)(value.get("seed")) and _optional(_number)(value.get("learning_rate"))


def _made_with(value: Any) -> bool:
    return isinstance(value, dict) and _optional(_text)(value.get("command")) and _each(_text)(value.get("versions", {}))


def _figures(value: Any) -> bool:
    """A task's figures by name; those that end in "metrics" by name again."""
    by_name = _each(_number)
    return isinstance(value, dict) and all(
        by_name(figure) if name.endswith("metrics") else _number(figure) for name, figure in value.items()
    )


LATER = {"parameters", "memory"}
"""What the first records had not."""

FIELDS: Mapping[str, Mapping[str, Holds]] = {
    "trial": {
        "schema": _whole,
        "trial": _settings,
        "tasks": _names,
        "parameters": _optional(_whole),
        "made_with": _made_with,
    },
    "epoch": {
        "epoch": _whole,
        "seconds": _optional(_number),
        "learning_rate": _optional(_number),
        "tasks": _each(_figures),
    },
    "test": {"epoch": _whole, "tasks": _each(_figures)},
    "end": {
        "outcome": ("finished", "diverged", "failed").__contains__,
        "reason": _optional(_text),
        "seconds": _optional(_number),
        "memory": _optional(_number),
    },
}
