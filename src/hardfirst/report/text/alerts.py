"""What limits the answer of a report, each in a few words with the section of the page that says more."""

from collections.abc import Iterator
from typing import NamedTuple

from hardfirst.report.model.answer import Answer, tasks_without_kpi
from hardfirst.report.text.interval_text import count_text


class Alert(NamedTuple):
    """A few words on the strip below the headline.

    Args:
        text: what they say.
        target: the id of the section that says more: "leaderboard", "why", "runs", "tuning" or "measured".
        warns: whether it limits the answer, rather than confirms that something is in order.
    """

    text: str
    target: str
    warns: bool = True


def alerts(answer: Answer) -> tuple[Alert, ...]:
    """What limits the answer, warnings first."""
    compared = [*_seeds(answer), *_tuning(answer), *_baselines(answer)] if answer.board.methods else []
    found = [*compared, *_runs(answer), *_kpis(answer), *_starved(answer)]
    return tuple(sorted(found, key=lambda alert: not alert.warns))


def _seeds(answer: Answer) -> Iterator[Alert]:
    board = answer.board
    if not answer.paired:
        return
    if board.can_test:
        few = [row.name for row in board.methods if "too few seeds" in row.decisions.values()]
        if few:
            yield Alert(f"Too few seeds to test {', '.join(few)}", "measured")
    else:
        ending = " so far" if answer.missing else ": no test possible"
        yield Alert(f"{answer.paired} of {board.fewest} seeds{ending}", "measured")


def _tuning(answer: Answer) -> Iterator[Alert]:
    case = answer.case
    tested = [method for method in (case.baseline, *(row.name for row in answer.board.methods)) if method in case.methods]
    rates = {record.trial.get("learning_rate") for method in tested for record in case.of(method)}
    if not answer.untuned:
        yield Alert("Every method was tuned", "tuning", warns=False)
    elif len(answer.untuned) == len(tested):
        yield Alert(
            "Not tuned: " + ("one learning rate for all" if len(rates) == 1 else "learning rates differ"), "measured"
        )
    else:
        yield Alert(f"Not tuned: {', '.join(answer.untuned)}", "tuning")


def _runs(answer: Answer) -> Iterator[Alert]:
    for outcome, number in answer.lost.items():
        yield Alert(f"{count_text(number, 'run')} {outcome}", "runs")
    if not answer.lost:
        yield Alert("No run failed", "runs", warns=False)


def _baselines(answer: Answer) -> Iterator[Alert]:
    case = answer.case
    if len(case.tasks) == 1 or case.orders:
        return
    if not case.single:
        yield Alert("No single-task networks", "measured")
    if not case.static and not case.constant:
        yield Alert("No static weights to compare with", "measured")


def _kpis(answer: Answer) -> Iterator[Alert]:
    if missing := tasks_without_kpi(answer.case):
        yield Alert(f"No test KPI for {', '.join(missing)}", "measured")


def _starved(answer: Answer) -> Iterator[Alert]:
    if answer.gaps and any(gap.bounded for gap in answer.gaps.values()):
        number, tasks = len(answer.starved), len(answer.gaps)
        yield Alert(f"{number} of {tasks} tasks do better alone", "why", warns=False)
