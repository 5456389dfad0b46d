"""The candidates of a search, and the static weights among them that its own runs decide."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from hardfirst.balancers import Spec
from hardfirst.errors import InputError, short
from hardfirst.problems import Problem
from hardfirst.records import Record
from hardfirst.records.objective import Kept
from hardfirst.studies._settings import check_each, joined, without_repeats
from hardfirst.studies.tuning import EQUAL, STL, fixed
from hardfirst.training import build_network

DTP = Spec("dtp")

CANDIDATES = (
    "dtp",
    "dtp:uniform=0.8",
    "dtp:anneal=0.6+0.8,uniform=0.2",
    "dtp:anneal=0.6+0.8,gamma=2,uniform=0.2",
    "hard_first",
    "gradnorm",
    "gradnorm:anneal=0.6+0.8",
    "uncertainty",
    "famo",
    "fixed:anneal=0.6+0.8,weights=dtp",
    "fixed:easy=1,hard=4",
    "fixed:anneal=0.5+0.7,easy=1,hard=16",
)
"""The default candidates of a search. Equal weights are part of every search in addition."""

KEPT = ("mean:0.5",)
"""What may not be lost by default."""

_AVERAGE = "dtp"
_HARD, _EASY = "hard", "easy"


@dataclass(frozen=True)
class Facts:
    """What static weights are made of.

    Args:
        tasks: the problem's, those without a KPI included.
        hard: the hard tasks; None while they are unknown.
        average: DTP's weights by task, averaged over a run; None while they are unknown.
    """

    tasks: Sequence[str]
    hard: Collection[str] | None = None
    average: Mapping[str, float] | None = None


def needs_average(spec: Spec) -> bool:
    """Whether the candidate is `fixed:weights=dtp`: static weights at the average of DTP's."""
    return spec.name == "fixed" and spec.option("weights") == _AVERAGE


def needs_hard(spec: Spec, tasks: Collection[str]) -> bool:
    """Whether the candidate is `fixed:easy=…,hard=…`: static weights by which tasks are hard.

    A problem whose tasks have these two names has its own weights for them.
    """
    return _weights(spec).keys() == {_HARD, _EASY} and not {_HARD, _EASY} <= set(tasks)


def settled(spec: Spec, facts: Facts) -> Spec | None:
    """The candidate with a weight for each task; other candidates as they are. None while a fact is missing.

    >>> facts = Facts(["a", "b", "c"], hard=["c"], average={"a": 0.5, "b": 1.0, "c": 1.5})
    >>> str(settled(Spec.parse("fixed:easy=1,hard=4"), facts))
    'fixed:normalize=true,weights.a=0.5,weights.b=0.5,weights.c=2.0'
    >>> str(settled(Spec.parse("fixed:weights=dtp"), facts))
    'fixed:normalize=true,weights.a=0.5,weights.b=1.0,weights.c=1.5'
    """
    weights: Mapping[str, float] | None
    if needs_average(spec):
        weights = facts.average
    elif needs_hard(spec, facts.tasks):
        by_kind = _weights(spec)
        hard = facts.hard or ()
        weights = {task: by_kind[_HARD if task in hard else _EASY] for task in facts.tasks} if hard else None
    else:
        return spec
    if not weights or not any(weights.values()):
        return None
    others = {key: value for key, value in spec.options if key.partition(".")[0] not in ("weights", _HARD, _EASY)}
    return fixed(dict(weights)).replace({"normalize": True, **others})


def mean_weights(record: Record) -> dict[str, float]:
    """A run's weights by task, averaged over its epochs; 0 for a task that never had a label."""
    means = {task: record.mean_weight(task) for task in (*record.tasks, *record.auxiliary)}
    return {task: 0.0 if math.isnan(mean) else mean for task, mean in means.items()}


def default_candidates(problem: Problem, network: str) -> list[str]:
    """Return `CANDIDATES`, without methods that need shared parameters if the network does not name them."""
    spec = problem.network_spec(network)
    if spec is not None and spec.measured:  # any order has the same shared parameters
        network = str(spec.replace({"order": None}))
    with torch.random.fork_rng(devices=[]):  # building a network draws its initial weights
        built = build_network(problem.variant(network=network))
    shared = hasattr(built, "shared_parameters")
    return [text for text in CANDIDATES if shared or "shared" not in Spec.parse(text).method.needs]


def check_candidates(value: Any, tasks: Sequence[str]) -> tuple[str, ...]:
    """Return the candidates in their normal form, without equal weights.

    Args:
        value: specs, as a list or joined by commas.
        tasks: the problem's.

    Raises:
        InputError: one cannot be built for these tasks, is given twice, or there is none.
    """
    texts = Spec.split(joined("specs", value))
    check_each(partial(_check, text, tasks) for text in texts)
    specs = without_repeats("candidate", tuple(str(Spec.parse(text)) for text in texts))
    return without_repeats("candidate other than equal weights", tuple(spec for spec in specs if spec != str(EQUAL)))


def _check(text: str, tasks: Sequence[str]) -> None:
    spec = Spec.parse(text)
    if spec.option("potential") == STL:
        raise InputError(
            f"{str(spec)!r} takes the potential from single-task runs, which a search does not have: give a number for each "
            f"task, potential.{tasks[0]}=0.9."
        )
    settled_spec = settled(spec, Facts(tasks, tasks[:1], dict.fromkeys(tasks, 1.0)))
    assert settled_spec is not None  # all facts are there
    settled_spec.build(tasks)


def _weights(spec: Spec) -> Mapping[str, float]:
    weights = spec.arguments().get("weights") if spec.name == "fixed" else None
    return weights if isinstance(weights, dict) else {}


def check_kept(value: Any, maximised: str, tasks: Sequence[str]) -> tuple[str, ...]:
    """Return what is to be kept in its normal form.

    Args:
        value: texts such as "mean:0.5", as a list; a single text alone; None for the default.
        maximised: the objective of the search.
        tasks: the problem's that have a KPI.

    Raises:
        InputError: one is no objective with points, is given twice, or is what the search maximises.
    """
    if value is None:
        value = () if maximised == "mean" else KEPT
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple):
        raise InputError(f"Expected what to keep, as a list such as [mean:0.5]; got {short(value)}.")
    check_each(partial(Kept.parse, text, tasks) for text in texts)
    kept = [Kept.parse(text, tasks) for text in texts]
    names = without_repeats("objective to keep", (*(each.objective.text for each in kept), "-"))
    if maximised in names:
        raise InputError(f"{maximised} is what the search maximises: a winner gains it. Leave it out of what is kept.")
    return tuple(each.text for each in kept)
