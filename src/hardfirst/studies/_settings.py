"""Helpers that check the settings of a plan."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from functools import partial
from typing import Any

from pydantic import ValidationError

from hardfirst._spec import has_range
from hardfirst.balancers import Spec
from hardfirst.errors import InputError, short
from hardfirst.networks import NetworkSpec
from hardfirst.problems import Problem
from hardfirst.recipes import Recipe
from hardfirst.recipes._names import CAN_BE_OFF, OFF, from_text
from hardfirst.studies.executors import EngineSpec
from hardfirst.studies.kinds import SEARCH
from hardfirst.studies.ranges import checked, middle
from hardfirst.studies.tuning import STL
from hardfirst.training import check_precision, check_published, nothing_held_out, published_of

RECIPE = tuple(field.name for field in fields(Recipe))
"""The settings of a plan that change the problems' recipes."""


def joined(what: str, value: Any) -> str:
    """A text as it is, or texts in a list as one with commas.

    Raises:
        InputError: it is neither.
    """
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise InputError(f"Expected {what}, as a list or joined by commas; got {short(value)}.")
    return ",".join(items)


def listed(value: Any) -> Any:
    """A text with commas as a list; anything else as it is."""
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


def without_repeats(kind: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names.

    Raises:
        InputError: there is none, or one is given twice.
    """
    if not names:
        raise InputError(f"Expected at least one {kind}; got none.")
    for position, name in enumerate(names):
        if name in names[:position]:
            raise InputError(f"The {kind} {name!r} is given twice.")
    return names


def check_each(checks: Iterable[Callable[[], object]]) -> None:
    """Run all checks and raise their errors as one, a line each.

    Raises:
        InputError: a check raised one.
    """
    messages: dict[str, None] = {}
    for check in checks:
        try:
            check()
        except InputError as error:
            messages[str(error)] = None
    if messages:
        raise InputError("\n".join(messages))


def as_input_error(error: ValidationError, names: list[str], typed: Mapping[str, str]) -> InputError:
    """All errors of a plan as one error, a line each.

    Args:
        error: pydantic's.
        names: those of all settings, for the nearest one to a name that is unknown.
        typed: by field, the setting by which the user set it, where that has another name.
    """
    lines = [f"{_location(detail, typed)}: {text}" for detail in error.errors() for text in _texts(detail, names)]
    return InputError(lines[0] if len(lines) == 1 else "\n  ".join([f"The study has {len(lines)} errors:", *lines]))


def _location(detail: Any, typed: Mapping[str, str]) -> str:
    first, *rest = detail["loc"]
    return typed.get(first, str(first)) + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in rest)


def _texts(detail: Any, names: list[str]) -> list[str]:
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"]).splitlines()
    if detail["type"] == "extra_forbidden":
        near = get_close_matches(str(detail["loc"][0]), names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "`hardfirst compare --help` lists them."
        if str(detail["loc"][0]) in ("maximise", "maximize"):  # the flag of `hardfirst search`, and its other spelling
            hint = "the objective of a search is `search: worst`."
        return [f"there is no such setting; {hint}"]
    if detail["type"] == "missing":
        return [f"it has to be given, for example `{detail['loc'][0]}: [digits]`."]
    return [f"{detail['msg']}; got {short(detail['input'])}."]


def check_balancer(text: str, problems: Iterable[tuple[str, ...]]) -> None:
    """Raise `InputError` if a study cannot build the balancer for the tasks of each problem."""
    spec = Spec.parse(text).untuned
    for tasks in problems:
        stl = spec.option("potential") == STL
        (spec.per_task("potential", dict.fromkeys(tasks, 1.0)) if stl else spec).build(tasks)


def check_settled(text: str) -> None:
    """Raise `InputError` if the balancer leaves an option to tuning, in a study that does not tune."""
    if (spec := Spec.parse(text)) != spec.untuned:
        raise InputError(f"{text!r} leaves `anneal` to tuning: set `tune` to a number of trials, or give anneal=0.6+0.8.")


def known_accelerator(settings: Mapping[str, Any]) -> str | None:
    """A plan's accelerator if this machine can tell what it is: a cluster's nodes may have other devices."""
    accelerator = settings.get("accelerator")
    local = EngineSpec.parse(settings.get("engine", "local")).name == "local"
    return accelerator if local or accelerator == "cpu" else None


def recipe_part(name: str, value: Any, accelerator: str | None) -> Any:
    """A part of a recipe in its normal form; None is the problem's, "none" switches it off.

    Raises:
        InputError: it is out of range, or the accelerator does not have it.
    """
    if value is None:
        return None
    if name in ("optimizer", "schedule") and not isinstance(value, str):
        example = "sgd:momentum=0.9" if name == "optimizer" else "cosine:warmup=0.05"
        raise InputError(
            f"Expected `{name}` as text, such as {example}; got {short(value)}. A function belongs into the problem's file, "
            "in Problem(recipe=Recipe(...))."
        )
    if name in CAN_BE_OFF and (value := from_text(value)) is None:
        return OFF
    if has_range(value):
        return checked(name, value)
    part = getattr(Recipe().replace({name: value}), name)
    if name == "precision" and accelerator in ("auto", "cpu"):
        check_precision(value, accelerator)
    return part


def check_tuned(part: Any, tuned: bool) -> None:
    """Raise `InputError` if a part of a recipe has a range, and the study does not tune."""
    if has_range(part) and not tuned:
        raise InputError(
            f"The range in {part} needs `tune`, the number of trials that each method gets to choose from it, in a study "
            "that tunes; else give a number in its place."
        )


def recipe_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a recipe among a plan's settings, by name."""
    return {name: None if part == OFF else part for name in RECIPE if (part := settings.get(name)) is not None}


def check_protocol(settings: Mapping[str, Any], problems: Iterable[Problem]) -> None:
    """Check that a study under the published protocol learns nothing from the evaluation split.

    Args:
        settings: the plan's, all checked by themselves.
        problems: the plan's, loaded.

    Raises:
        InputError: a problem has no such protocol; or nothing is held out, and something in the study needs validation.
    """
    if settings["kind"] == "orders":
        raise nothing_held_out("a study of orders takes two of them from validation KPIs")
    if settings["kind"] == SEARCH:
        raise nothing_held_out("a search decides by validation KPIs")
    specs = [Spec.parse(text) for text in settings["balancers"]]
    for problem in problems:
        selects = published_of(problem).last is None
        if settings["tune"] and not selects:
            raise nothing_held_out("tuning needs a validation split")
        if any(spec.option("potential") == STL for spec in specs) and not selects:
            raise nothing_held_out(f"potential={STL} needs validation KPIs")
        planned = replace(problem, recipe=problem.recipe.replace(middle(recipe_of(settings))))
        check_each(
            partial(check_published, planned, spec, network, settings.get("criterion", "mean"))
            for spec in specs
            for network in settings["networks"]
            if selects or spec.option("potential") != STL
        )


def check_reference(problem: Problem) -> None:
    """Raise `InputError` unless the figures of single-task networks are published for all measures of the problem."""
    measures = problem.published.measures.values() if problem.published else ()
    values = [measure.single_task for of_task in measures for measure in of_task]
    if not values or None in values:
        raise InputError(
            f"No figures of single-task networks are published for {problem.name!r}: leave out `reference`, and the study's "
            "own networks are the reference."
        )


def network_names(value: Any) -> Any:
    """Networks as a list; commas also join a network's options."""
    return NetworkSpec.split(joined("networks", value))


def problem_names(value: Any) -> Any:
    """Names of problems as a list."""
    names = listed(value)
    if any(isinstance(each, Problem) for each in (names if isinstance(names, list | tuple) else [names])):
        raise InputError(
            "Expected names of built-in problems or paths of Python files; got a Problem. Each run has its own process, "
            "which loads the problem from a file: return it from a function `problem()` in a file, and give the file's path."
        )
    return names


def two_rates(value: Any) -> tuple[float, float] | None:
    """The least and the greatest learning rate."""
    rates = listed(value)
    if rates is None:
        return None
    try:
        low, high = (float(rate) for rate in rates)
    except (TypeError, ValueError, OverflowError):
        low, high = math.nan, math.nan
    if not 0 < low < high < math.inf:
        raise InputError(
            f"Expected two learning rates, the least and the greatest, both above 0, such as 1e-4,1e-2; got {short(rates)}."
        )
    return low, high
