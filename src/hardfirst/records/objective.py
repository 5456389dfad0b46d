"""Objectives: what epochs, settings and methods are chosen by, as text that a user writes.

An objective is one of these, or a sum of them with weights::

    mean             the mean over tasks of their KPIs
    worst            the lowest KPI
    hard             the mean over the tasks that are harder than the mean, as a run with equal weights measures
    TASK             the KPI of a task
    TASK,TASK        the mean over these tasks; in parentheses within a sum
    min(TASK,TASK)   the lowest KPI of these tasks

as in `0.7*depth+0.3*segment`, `0.5*mean+0.5*worst` or `(depth+2*(normals,segment))/3`. Weights are above 0, and are divided
by their sum: like a KPI, an objective lies in [0, 1]. A task's name that is no identifier, or is a word of the language, is
put in double quotes: `"my task"`, `0.5*"worst"+0.5*mean`. The text is parsed, never evaluated as Python.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from statistics import fmean
from typing import Self

from hardfirst.errors import InputError, number, short
from hardfirst.records._objective_parser import Term, parse_terms


@dataclass(frozen=True)
class Objective:
    """A weighted mean of KPIs, of means over tasks, and of lowest KPIs; made by `parse`.

    Args:
        weights: the terms with their weights, above 0.

    Example:
        >>> objective = Objective.parse("0.75*depth + 0.25*worst", ["depth", "segment"])
        >>> objective.text, objective.words
        ('0.75*depth+0.25*worst', '0.75·depth + 0.25·worst')
        >>> objective.value({"depth": 0.5, "segment": 0.25})
        0.4375
    """

    weights: tuple[tuple[Term, Fraction], ...]

    @classmethod
    def parse(cls, text: str, tasks: Iterable[str]) -> Self:
        """Parse an objective.

        Args:
            text: as the module's docstring describes it.
            tasks: the problem's tasks that have a KPI, in its order.

        Raises:
            InputError: the text is not an objective, or names another task.

        >>> Objective.parse("sume", ["sum", "product"])
        Traceback (most recent call last):
        hardfirst.errors.InputError: Unknown task 'sume' in the objective 'sume'; did you mean 'sum'? Known: ....
        """
        if not isinstance(text, str):
            raise InputError(f"Expected an objective, such as mean, worst or 0.7*a+0.3*b; got {short(text)}.")
        return cls(parse_terms(text, tuple(tasks)))

    @property
    def text(self) -> str:
        """The normal form, which `parse` reads. It names the hard tasks once they are known."""
        return self._text("*", "+", ",")

    @property
    def words(self) -> str:
        """The objective in a sentence, such as "the worst task" or "the hard tasks (sum, product)"."""
        if len(self.weights) > 1:
            return self._text("·", " + ", ", ")
        term = self.weights[0][0]
        names = ", ".join(term.tasks)
        words = {
            "mean": "the mean over tasks",
            "worst": "the worst task",
            "hard": f"the hard tasks ({names})" if names else "the hard tasks",
            "of": f"the mean over {names}" if len(term.tasks) > 1 else names,
            "min": f"the worst of {names}",
        }
        return words[term.name]

    def _text(self, times: str, plus: str, comma: str) -> str:
        if len(self.weights) == 1:
            return self.weights[0][0].text(comma)
        return plus.join(_number(weight, times) + _in_sum(term, comma) for term, weight in self.weights)

    @property
    def needs_hard(self) -> bool:
        """Whether the hard tasks are part of it and unknown, so that it has no value yet."""
        return any(not term.tasks for term, _ in self.weights)

    def with_hard(self, tasks: Iterable[str]) -> Self:
        """The objective with these as the hard tasks.

        >>> Objective.parse("hard", ["sum", "product"]).with_hard(["product"]).words
        'the hard tasks (product)'
        """
        hard = Term("hard", tuple(tasks))
        return replace(self, weights=tuple((term if term.tasks else hard, weight) for term, weight in self.weights))

    def value(self, kpis: Mapping[str, float], undefined: Collection[str] = ()) -> float:
        """The objective at these KPIs, in [0, 1], where 1 is best.

        Args:
            kpis: by task. A term whose KPIs are all NaN is left out, and so is a NaN in a mean or minimum over tasks. The
                value is NaN if no KPI of the objective is left.
            undefined: the tasks that have labels and whose KPI is NaN nevertheless. It counts as 0, the worst KPI: otherwise
                a network whose outputs do not allow a KPI could be chosen over a sound one.

        Raises:
            InputError: the hard tasks are needed and unknown.

        >>> kpis = {"sum": 0.5, "product": 1.0, "parity": math.nan}
        >>> Objective.parse("mean", kpis).value(kpis), Objective.parse("mean", kpis).value(kpis, undefined=["parity"])
        (0.75, 0.5)
        """
        if self.needs_hard:
            raise InputError(f"The objective {self.text!r} has no value before the hard tasks are known: see `with_hard`.")
        tasks = {task for term, _ in self.weights for task in term.tasks}
        if all(math.isnan(kpis.get(task, math.nan)) for task in tasks):
            return math.nan
        counted = {**kpis, **dict.fromkeys(undefined, 0.0)}
        values = [(_over_tasks(term, counted), weight) for term, weight in self.weights]
        present = [(value, float(weight)) for value, weight in values if not math.isnan(value)]
        return sum(value * weight for value, weight in present) / sum(weight for _, weight in present)


@dataclass(frozen=True)
class Kept:
    """What may not be lost: an objective, and the points of it below equal weights that are accepted.

    Args:
        objective: of the validation KPIs.
        points: hundredths of a KPI, 0 or more.
    """

    objective: Objective
    points: float

    @classmethod
    def parse(cls, text: str, tasks: Iterable[str]) -> Self:
        """Parse an objective and points, separated by the last colon.

        Raises:
            InputError: a part is missing or wrong.

        >>> kept = Kept.parse("mean:0.3", ["sum", "product"])
        >>> kept.points, kept.words
        (0.3, 'at most 0.3 points of the mean over tasks')
        """
        objective, colon, points = str(text).rpartition(":")
        try:
            if not colon:
                raise ValueError
            number_of_points = float(points)
        except ValueError:
            raise InputError(
                f"Expected what to keep as an objective, a colon and points, such as mean:0.3; got {short(text)}."
            ) from None
        try:
            parsed = Objective.parse(objective, tasks)
        except InputError:
            if ":" not in objective:
                raise
            raise InputError(
                f"Expected one objective with its points, such as mean:0.3; got {short(text)}. Give several one by one, "
                "as in --keep mean:0.3 --keep depth:1."
            ) from None
        return cls(parsed, number("keep", number_of_points, least=0))

    @property
    def text(self) -> str:
        """The normal form, which `parse` reads."""
        return f"{self.objective.text}:{self.points:g}"

    @property
    def words(self) -> str:
        """What may be lost, in a sentence."""
        return f"at most {self.points:g} point{'s'[: self.points != 1]} of {self.objective.words}"


def hard_tasks(kpis: Mapping[str, float]) -> tuple[str, ...]:
    """The tasks whose KPI lies below the mean over tasks; all that have one if none does.

    Args:
        kpis: by task, on the validation split with equal weights. A task without one, which is NaN, is not hard.

    >>> hard_tasks({"sum": 0.5, "product": 0.25, "parity": 0.75})
    ('product',)
    """
    measured = {task: kpi for task, kpi in kpis.items() if not math.isnan(kpi)}
    if not measured:
        return ()
    mean = fmean(measured.values())
    return tuple(task for task, kpi in measured.items() if kpi < mean) or tuple(measured)


def _over_tasks(term: Term, kpis: Mapping[str, float]) -> float:
    measured = [kpi for task in term.tasks if not math.isnan(kpi := kpis.get(task, math.nan))]
    if not measured:
        return math.nan
    return min(measured) if term.name in ("worst", "min") else sum(measured) / len(measured)


def _in_sum(term: Term, comma: str) -> str:
    is_list = term.name in ("of", "hard") and len(term.tasks) > 1
    return f"({term.text(comma)})" if is_list else term.text(comma)


def _number(weight: Fraction, times: str) -> str:
    """The weight as a decimal, or as a fraction if it is no decimal; empty for 1."""
    decimal = f"{float(weight):.12g}"
    return "" if weight == 1 else f"{decimal if Fraction(decimal) == weight else weight}{times}"
