"""Schema validation for the lines of a run record."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from hardfirst._text import printable_json

LARGEST_NUMBER = 1e100
"""The largest size of a number; sums of squares of such numbers are finite. A larger measurement counts as infinite."""

TEXT_SETTINGS = ("problem", "balancer", "network", "only", "loss", "criterion", "protocol")
Check = Callable[[Any], bool]


def parse_line(text: str) -> Any:
    """Parse one line of JSON.

    Raises:
        ValueError: it is not JSON, or contains something that a record never does.
    """
    try:
        content = json.loads(text, parse_constant=_refuse_constant)
        if "\\ud" in text.lower():  # half a surrogate pair parses, but cannot be encoded again
            json.dumps(content, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise ValueError(error.msg) from None
    except RecursionError:
        raise ValueError("nested too deep") from None
    return printable_json(text, content)


def invalid_field(line: Mapping[str, Any]) -> str | None:
    """Return the first field that is missing or invalid in a line of a known kind; None if the line is valid."""
    checks = FIELDS[line["kind"]]
    missing = (name for name in checks if name not in line and name not in OPTIONAL_FIELDS)
    return next(missing, next((name for name, is_valid in checks.items() if not is_valid(line.get(name))), None))


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is not a number in JSON")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_number(value: Any) -> bool:
    """Return whether the value is a number small enough to compute with, or NaN, which is how null is read."""
    if isinstance(value, float):
        return math.isnan(value) or abs(value) <= LARGEST_NUMBER
    return isinstance(value, int) and abs(value) < 2**63


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _optional(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _by_name(check: Check) -> Check:
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value)) and 0 < len(set(value)) == len(value)


def _are_settings(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    texts = all(map(_optional(_is_text), (value.get(name) for name in TEXT_SETTINGS)))
    counts = all(map(_optional(_is_count), (value.get(name) for name in ("seed", "last_epochs"))))
    return texts and counts and _optional(_is_number)(value.get("learning_rate"))


def _is_provenance(value: Any) -> bool:
    commands_and_versions = isinstance(value, dict) and _by_name(_is_text)(value.get("versions", {}))
    return commands_and_versions and _optional(_is_text)(value.get("command"))


def _is_loss_share(value: Any) -> bool:
    return _fits(value, {"hardest": _is_number, "kind": _is_text, "under": _optional(_is_text)})


def _are_measures(value: Any) -> bool:
    checks = {"name": _is_text, "higher_is_better": _is_bool, "single_task": _optional(_is_number)}
    return isinstance(value, list) and all(_fits(each, checks) and set(each) == set(checks) for each in value)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _fits(value: Any, checks: Mapping[str, Check]) -> bool:
    return isinstance(value, dict) and set(value) <= set(checks) and all(checks[name](value.get(name)) for name in checks)


def _are_figures(value: Any) -> bool:
    """Return whether the value has a task's figures by name; a name that ends in "metrics" has several by name."""
    return isinstance(value, dict) and all(
        _by_name(_is_number)(figure) if name.endswith("metrics") else _is_number(figure) for name, figure in value.items()
    )


OPTIONAL_FIELDS = {"parameters", "memory", "loss_shares", "measures", "kpis", "auxiliary", "averaged", "restarted"}
"""Fields that are missing in records of earlier versions, or optional."""

FIELDS: Mapping[str, Mapping[str, Check]] = {
    "trial": {
        "schema": _is_count,
        "trial": _are_settings,
        "tasks": _are_names,
        "parameters": _optional(_is_count),
        "loss_shares": _optional(_by_name(_by_name(_is_loss_share))),
        "measures": _optional(_by_name(_are_measures)),
        "kpis": _optional(_by_name(_is_text)),
        "auxiliary": _optional(_are_names),
        "made_with": _is_provenance,
    },
    "epoch": {
        "epoch": _is_count,
        "seconds": _optional(_is_number),
        "learning_rate": _optional(_is_number),
        "tasks": _by_name(_are_figures),
        "restarted": _optional(_is_count),
    },
    "test": {"epoch": _is_count, "tasks": _by_name(_are_figures), "averaged": _optional(_is_count)},
    "end": {
        "outcome": ("finished", "diverged", "failed").__contains__,
        "reason": _optional(_is_text),
        "seconds": _optional(_is_number),
        "memory": _optional(_is_number),
    },
}
