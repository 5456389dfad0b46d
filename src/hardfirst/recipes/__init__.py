"""Training recipes: optimizer, learning-rate schedule, precision, clipping, accumulation, averaging and loading."""

from typing import TYPE_CHECKING

from hardfirst._registry import lazy_names
from hardfirst.recipes._names import OPTIMIZERS, PRECISIONS, SCHEDULES

if TYPE_CHECKING:
    from hardfirst.recipes._recipe import OptimizerSpec as OptimizerSpec
    from hardfirst.recipes._recipe import Recipe as Recipe
    from hardfirst.recipes._recipe import ScheduleSpec as ScheduleSpec
    from hardfirst.recipes.schedules import Schedule as Schedule

_HOMES = {"OptimizerSpec": "_recipe", "Recipe": "_recipe", "Schedule": "schedules", "ScheduleSpec": "_recipe"}

__all__ = ["OPTIMIZERS", "PRECISIONS", "SCHEDULES", *_HOMES]  # noqa: PLE0604  # the names of a table, all strings

__getattr__, __dir__ = lazy_names(__name__, {name: f"{__name__}.{module}:{name}" for name, module in _HOMES.items()})
