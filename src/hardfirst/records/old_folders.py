"""Facts missing in a study.json of an earlier version, or without study.json, recovered from names of methods."""

from collections.abc import Mapping, Sequence
from typing import Any

from hardfirst._spec import parse_options
from hardfirst.errors import InputError
from hardfirst.records.description import Run
from hardfirst.records.names import EASY, RAW

_CHANGED = {EASY: {"priority"}, RAW: {"normalize", "uniform"}}  # the options in which a control differs from its DTP


def has_constant_weights(method: str) -> bool:
    """Return whether the method is static weights given by the user."""
    return _name(method) == "fixed"


def controlled_method(runs: Sequence[Run]) -> str | None:
    """Return the DTP that a case's controls belong to: of several, the first whose settings they share."""
    reported = [run for run in runs if not run.entry.tuning]
    methods = sorted(
        {run.entry.method for run in reported if run.entry.role == "method" and _name(run.entry.method) == "dtp"}
    )
    if len(methods) < 2:
        return methods[0] if methods else None
    trials = {(run.entry.method, run.record.trial["seed"]): run.record.trial for run in reported}
    return next((method for method in methods if _shares_settings(method, trials)), methods[0])


def _shares_settings(method: str, trials: Mapping[tuple[str, int], Mapping[str, Any]]) -> bool:
    """Return whether the controls differ from the method only in the options that they change."""
    pairs = [
        (trials[name, seed], trials[control, seed], changed)
        for control, changed in _CHANGED.items()
        for name, seed in trials
        if name == method and (control, seed) in trials
    ]
    return all(
        own["balancer"] != other["balancer"] and _without(own, changed) == _without(other, changed)
        for own, other, changed in pairs
    )


def _without(trial: Mapping[str, Any], options: set[str]) -> tuple[str, Mapping[str, Any], float]:
    name, given = parse_options(trial["balancer"])
    return name, {key: value for key, value in given.items() if key not in options}, trial["learning_rate"]


def _name(method: str) -> str:
    try:
        return parse_options(method)[0]
    except InputError:  # a name from another library's loop
        return method
