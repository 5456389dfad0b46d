"""The command that would make the answer of a report firmer."""

import math
import re
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from hardfirst.report.model.answer import Answer, reported
from hardfirst.report.model.scopes import rivals
from hardfirst.report.text.interval_text import count_text

_TRIALS = 10  # of tuning that a study of an untuned one is advised
_SEEDS_LATER = 10  # of a study whose methods are not told apart


class NextStep(NamedTuple):
    """What to do next.

    Args:
        why: what it leads to, and about what it costs.
        command: ready to be run; None where only the reader knows it.
    """

    why: str
    command: str | None


def next_step(
    answer: Answer,
    command: str | None = None,
    plan: Mapping[str, Any] | None = None,
    answers: Sequence[Answer] = (),
) -> NextStep | None:
    """What would make the answer firmer; None while runs are missing, or where nothing would.

    Args:
        answer: of the case.
        command: that ran the study. Default: no command is given.
        plan: the study's settings, as far as they are known.
        answers: of all cases of the study, which the command is for. Default: this one alone.
    """
    command = command if command and re.search(r"\bhardfirst\b.*\s(compare|study)\s", command) else None
    if answer.missing:
        return NextStep("The same command continues; finished runs are kept.", command) if command else None
    if answer.lost.get("failed") or answer.lost.get("stopped early"):
        return NextStep("The same command runs again what failed; finished runs are kept.", command)
    if answer.board.baseline and not answer.board.methods and rivals(answer.case):
        return None  # all methods gave the baseline's results
    cases = answers or (answer,)
    return _compared(answer, command) or _more_seeds(answer, command, cases) or _tuning(answer, command, plan or {}, cases)


def _compared(answer: Answer, command: str | None) -> NextStep | None:
    """What a case without anything to compare needs."""
    case, board = answer.case, answer.board
    if board.baseline and board.methods:
        return None
    if board.baseline is None:
        methods = ",".join((case.baseline, *case.methods))
        return NextStep(f"Add {board.against} to compare with.", with_option(command, "balancers", methods))
    if case.noun != "method":
        return NextStep("Add another one to compare with.", None)
    return NextStep("Add a method to compare with.", with_option(command, "balancers", f"{case.baseline},dtp"))


def _more_seeds(answer: Answer, command: str | None, answers: Sequence[Answer]) -> NextStep | None:
    board = answer.board
    if board.can_test and answer.lead:
        return None
    target = _SEEDS_LATER if board.can_test else board.fewest
    more = target - board.seeds
    if more < 1:
        return None
    gain = "make smaller differences visible" if board.can_test else f"make{'s' if more == 1 else ''} a test possible"
    seconds = sum(_seconds_of_a_run(each) * len(reported(each.case)) for each in answers) * more / max(1, board.seeds)
    why = f"{count_text(more, 'more seed')} {gain}; finished runs are kept{_cost(seconds)}."
    return NextStep(why, with_option(command, "seeds", str(target)))


def _tuning(answer: Answer, command: str | None, plan: Mapping[str, Any], answers: Sequence[Answer]) -> NextStep | None:
    if not answer.untuned or plan.get("tune") or answer.case.orders:  # a study of orders does not tune
        return None
    seconds = sum(_seconds_of_a_run(each) * (_TRIALS * _tuned(each) + len(reported(each.case))) for each in answers)
    noun = answer.case.noun
    why = f"Tuning gives each {noun} its own learning rate, which can change the ranking{_cost(seconds)}."
    return NextStep(why, with_option(command, "tune", str(_TRIALS)))


def _tuned(answer: Answer) -> int:
    """How many methods and single-task networks a study that tunes chooses settings for."""
    return len(answer.board.rows) + (len(answer.case.tasks) if answer.case.single else 0)


def with_option(command: str | None, name: str, value: str) -> str | None:
    """The command with this option in place of the one that it has."""
    if command is None:
        return None
    option = f"--{name} {value}"
    changed, count = re.subn(rf"--{name}[ =]\S+", lambda match: option, command)
    return changed if count else f"{command} {option}"


def _seconds_of_a_run(answer: Answer) -> float:
    """The mean over reported runs; NaN if it is not on record."""
    seconds = [record.seconds for record in reported(answer.case) if not math.isnan(record.seconds)]
    return fmean(seconds) if seconds else math.nan


def _cost(seconds: float) -> str:
    return "" if math.isnan(seconds) else f", about {duration(seconds)} of computing"


def duration(seconds: float) -> str:
    """A duration in words.

    >>> duration(1.2), duration(75), duration(600), duration(10_000)
    ('1 second', '75 seconds', '10 minutes', '2.8 hours')
    """
    if seconds < 120:
        return count_text(max(1, round(seconds)), "second")
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
