"""The names that a recipe accepts, without importing torch, which would slow down shell completion."""

from typing import Any

from hardfirst._registry import Registry

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true")

CAN_BE_OFF = ("clip", "average")
"""The parts of a recipe that are a number or None."""

OFF = "none"
"""The word in a flag or a plan that switches off such a part of a problem's recipe."""

OPTIMIZERS: Registry[Any] = Registry(
    "optimizer",
    {name: f"hardfirst.recipes.optimizers:{name}" for name in ("adam", "adamw", "sgd")},
    group="hardfirst.optimizers",
)
"""The functions that build optimizers, by name. Plug-ins can add names."""

SCHEDULES: Registry[Any] = Registry(
    "schedule",
    {name: f"hardfirst.recipes.schedules:{name}" for name in ("constant", "cosine", "onecycle", "plateau", "step")},
    group="hardfirst.schedules",
)
"""The functions that build learning-rate schedules, by name. Plug-ins can add names."""


def from_text(value: Any) -> Any:
    """Convert the value of a part that can be off: None for "none", a number for its text; other values stay.

    >>> from_text("none"), from_text("0.5"), from_text("0.1..10"), from_text(2)
    (None, 0.5, '0.1..10', 2)
    """
    if not isinstance(value, str):
        return value
    if value.strip().lower() == OFF:
        return None
    try:
        return float(value)
    except ValueError:
        return value
