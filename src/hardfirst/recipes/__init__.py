"""Training recipes: optimizer, learning-rate schedule, precision, clipping, accumulation, averaging and loading."""

from hardfirst.recipes._recipe import OPTIMIZERS, PRECISIONS, SCHEDULES, OptimizerSpec, Recipe, ScheduleSpec
from hardfirst.recipes.schedules import Schedule

__all__ = ["OPTIMIZERS", "PRECISIONS", "SCHEDULES", "OptimizerSpec", "Recipe", "Schedule", "ScheduleSpec"]
