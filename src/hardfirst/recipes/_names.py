"""The names that a recipe can have, without torch, which shell completion could not wait for."""

from typing import Any

from hardfirst._registry import Registry

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true")

OPTIMIZERS: Registry[Any] = Registry(
    "optimizer",
    {name: f"hardfirst.recipes.optimizers:{name}" for name in ("adam", "adamw", "sgd")},
    group="hardfirst.optimizers",
)
"""By name, the functions that make optimizers. Plug-ins add names."""

SCHEDULES: Registry[Any] = Registry(
    "schedule",
    {name: f"hardfirst.recipes.schedules:{name}" for name in ("constant", "cosine", "onecycle", "plateau", "step")},
    group="hardfirst.schedules",
)
"""By name, the functions that make learning-rate schedules. Plug-ins add names."""
