"""The parser of objectives: text becomes weighted terms."""

import ast
import json
import warnings
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from keyword import iskeyword
from typing import Literal, NamedTuple

from hardfirst.errors import InputError, short, unknown

WORDS = ("mean", "worst", "hard")

_LONGEST = 10_000  # characters
_DEEPEST = 200  # operations inside each other
_GREATEST = 10**18  # number in the text
_HEAVIEST, _FINEST = 10**6, 10**12  # weight, and its denominator
_FORMS = "Write mean, worst, hard, task names joined by commas, or a weighted sum such as 0.7*a+0.3*b."


class Term(NamedTuple):
    """What an objective is a weighted sum of.

    Args:
        name: "mean", "worst" or "hard"; "of" for the mean over named tasks, "min" for the lowest KPI of them.
        tasks: the tasks that it is taken over; empty for "hard" while the hard tasks are unknown.
    """

    name: Literal["mean", "worst", "hard", "of", "min"]
    tasks: tuple[str, ...]

    def text(self, comma: str = ",") -> str:
        """The term as the parser reads it."""
        if self.name in ("mean", "worst") or not self.tasks:
            return self.name
        names = comma.join(map(quoted, self.tasks))
        return f"min({names})" if self.name == "min" else names


_Weights = dict[Term | None, Fraction]


@lru_cache(maxsize=256)
def parse_terms(text: str, tasks: tuple[str, ...]) -> tuple[tuple[Term, Fraction], ...]:
    """Parse an objective: its terms with their weights, above 0, in the order of the text.

    Raises:
        InputError: the text is not an objective over these tasks.
    """
    if not text.strip():
        raise InputError(f"Expected an objective; got an empty text. {_FORMS}")
    names = [name.strip() for name in text.split(",")]
    if set(names) <= set(tasks) - set(WORDS):  # here names that are no identifiers need no quotes
        return ((_Parser(text, tasks).of_tasks("of", names), Fraction(1)),)
    if len(text) > _LONGEST:
        raise InputError(f"Expected an objective of at most {_LONGEST} characters; got {len(text)}: {short(text)}.")
    return tuple(_Parser(text, tasks).terms().items())


def quoted(task: str) -> str:
    """The task's name as the parser reads it: in quotes unless it is an identifier and no word of the language."""
    plain = task.isidentifier() and task.isascii() and not iskeyword(task) and task not in (*WORDS, "min")
    return task if plain else json.dumps(task, ensure_ascii=False)


class _Parser:
    """Turns the tree of one objective into weights by term. A number is the weight of the term None."""

    def __init__(self, text: str, tasks: tuple[str, ...]) -> None:
        self.text, self.tasks = text, tasks

    def terms(self) -> dict[Term, Fraction]:
        weights = self._value(self._tree(), 0)
        terms = {term: weight for term, weight in weights.items() if term is not None}
        if None in weights:
            raise self._error("adds a number to a KPI" if terms else "is a number")
        for term, weight in terms.items():
            if weight < 0:
                raise self._error(f"gives {term.text()} a weight below 0, {float(weight):g}, which rewards a lower KPI")
            if weight > _HEAVIEST:
                raise self._error(f"gives {term.text()} a weight above {_HEAVIEST:,}")
        rounded = {term: rational for term, weight in terms.items() if (rational := weight.limit_denominator(_FINEST))}
        if not rounded:
            raise self._error("has weights that sum to 0")
        return rounded if len(rounded) > 1 else dict.fromkeys(rounded, Fraction(1))

    def of_tasks(self, name: Literal["of", "min"], names: Sequence[str]) -> Term:
        """The term over these tasks, in the order of the problem's."""
        for task in names:
            if names.count(task) > 1:
                raise self._error(f"lists {quoted(task)} twice")
        tasks = tuple(task for task in self.tasks if task in names)
        if len(tasks) == 1:
            return Term("of", tasks)
        return Term(("mean" if name == "of" else "worst") if tasks == self.tasks else name, tasks)

    def _tree(self) -> ast.expr:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about the text as Python code, which it is not
                return ast.parse(self.text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise self._error("cannot be read", "Put a task's name in double quotes if it is not a word. ") from None

    def _value(self, node: ast.expr, depth: int) -> _Weights:
        if depth > _DEEPEST:
            raise self._error("is nested too deeply")
        match node:
            case ast.Constant(value=str()) | ast.Name():
                return {self._named(node): Fraction(1)}
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                if not 0 <= number <= _GREATEST:
                    raise self._error(f"has a number above {_GREATEST:.0e}")
                return {None: Fraction(repr(number))}
            case ast.Tuple(elts=elements) if elements:
                return {self.of_tasks("of", [self._task(element) for element in elements]): Fraction(1)}
            case ast.Call(func=ast.Name(id="min"), args=arguments, keywords=[]) if arguments:
                return {self.of_tasks("min", [self._task(argument) for argument in arguments]): Fraction(1)}
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
                return _scaled(self._value(operand, depth + 1), Fraction(-1 if isinstance(sign, ast.USub) else 1))
            case ast.BinOp(left=left, op=operation, right=right):
                return self._operation(self._value(left, depth + 1), operation, self._value(right, depth + 1))
        raise self._error(f"has {ast.unparse(node)!r:.80}, which cannot be part of an objective")

    def _operation(self, left: _Weights, operation: ast.operator, right: _Weights) -> _Weights:
        match operation:
            case ast.Add() | ast.Sub():
                right = _scaled(right, Fraction(1 if isinstance(operation, ast.Add) else -1))
                return {term: left.get(term, Fraction(0)) + right.get(term, Fraction(0)) for term in {**left, **right}}
            case ast.Mult():
                if left.keys() == {None}:
                    return _scaled(right, left[None])
                if right.keys() == {None}:
                    return _scaled(left, right[None])
                raise self._error("multiplies KPIs by each other")
            case ast.Div():
                if right.keys() != {None}:
                    raise self._error("divides by a KPI")
                if not right[None]:
                    raise self._error("divides by 0")
                return _scaled(left, 1 / right[None])
        raise self._error("has an operation other than + - * /")

    def _named(self, node: ast.Name | ast.Constant) -> Term:
        match node:
            case ast.Name(id="mean"):
                return Term("mean", self.tasks)
            case ast.Name(id="worst"):
                return Term("worst", self.tasks)
            case ast.Name(id="hard"):
                return Term("hard", ())
        return self.of_tasks("of", [self._task(node)])

    def _task(self, node: ast.expr) -> str:
        match node:
            case ast.Name(id=name) if name in self.tasks and name not in WORDS:
                return name
            case ast.Constant(value=str() as name) if name in self.tasks:
                return name
            case ast.Name(id=name) if name in WORDS:
                raise self._error(f"has {name} in a list of tasks", "Add terms with weights: 0.5*mean+0.5*worst. ")
            case ast.Constant(value=str() as name) if name in WORDS:
                raise self._error(f"has {json.dumps(name)}, and quotes are for names of tasks", "Leave the quotes out. ")
            case ast.Name(id=str() as name) | ast.Constant(value=str() as name):
                known = [*map(quoted, self.tasks), *WORDS]
                raise unknown("task", name, known, where=f"in the objective {short(self.text)}")
        raise self._error(f"has {ast.unparse(node)!r:.80} in a list of tasks")

    def _error(self, problem: str, remedy: str = "") -> InputError:
        return InputError(f"The objective {short(self.text)} {problem}. {remedy}{_FORMS}")


def _scaled(weights: _Weights, factor: Fraction) -> _Weights:
    return {term: weight * factor for term, weight in weights.items()}
