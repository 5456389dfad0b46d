"""A search in words: what to use, what to paste, and how the winner was found.

Names of methods stand between backticks. Gains of the search are of the validation split, those of fresh seeds of the test
split.
"""

import json
import math
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from hardfirst._spec import parse_options
from hardfirst.records.names import HARD_FIRST, OWN
from hardfirst.records.objective import Objective
from hardfirst.report.model.leaderboard import effect
from hardfirst.report.model.search import Change, Search
from hardfirst.report.text.alerts import Alert
from hardfirst.report.text.headline import Headline
from hardfirst.report.text.interval_text import capitalized, count_text
from hardfirst.report.text.next_step import NextStep, with_option
from hardfirst.report.text.search_notes import limits, outcome
from hardfirst.report.text.tiles import Tile, change_tile
from hardfirst.statistics import Interval, number_text
from hardfirst.statistics.search import FRESH, Reason

_REFUSALS: Mapping[Reason, str] = {
    "not better": "its gain cannot be told from chance",
    "loses": "on average it loses more than allowed",
    "diverged": "a run did not finish",
    "too few seeds": "a verdict takes more than {seeds}",
}


_TRAINING = ("epochs", "optimizer", "schedule", "precision", "clip", "accumulate", "average")
"""The plan's settings that `hardfirst train` has too."""


class Paste(NamedTuple):
    """Something to paste: what it is for, and the text."""

    what: str
    text: str


# The answer


def headline(search: Search) -> Headline:
    """What to use, as far as fresh seeds support it."""
    return Headline(lead(search), tuple(_rest(search)))


def lead(search: Search) -> str:
    """The sentence that answers."""
    if not search.decided:
        return f"Still searching: {progress(search)}."
    if not search.comparable:
        return "No answer: equal weights have no KPIs that candidates could be compared with."
    if search.winner is None:
        within = " within what may be lost" if search.keep else ""
        return f"Keep equal weights: no candidate is shown to raise {search.objective.words}{within}."
    found = search.fresh.get(search.winner)
    if search.verdict is None or found is None:
        ended = f"{found.objective.n if found else 0} of {count_text(search.seeds, 'fresh seed')}"
        return f"The search chose `{search.winner}`, which is now tested: {ended} so far."
    figures = [f"{change:{_spec(search, found)}}" for change in (found.objective, *found.kept)]
    changes = _on([measure.words for measure in search.measures], figures)
    if search.verdict.recommended:
        return f"Use `{search.winner}`: {changes}."
    why = _REFUSALS[search.verdict.reason].format(seeds=count_text(found.objective.n, "seed"))
    return f"Keep equal weights: fresh seeds do not confirm `{search.winner}`, since {why}: {changes}."


def progress(search: Search) -> str:
    """How far a search is, such as "rung 2 of 3 with 5 of 12 candidates, 7 of 10 runs"."""
    if not search.rungs:
        first = count_text(len(search.runs) + search.waiting, "first run")
        return f"{len(search.runs)} of {first}, which choose the learning rate and find the hard tasks"
    rung = search.rungs[-1]
    names = f"{len(rung.names)} of {search.tried}" if len(search.rungs) > 1 else str(search.tried)
    runs = f"{rung.ended} of {count_text(rung.planned, 'run')}"
    return f"rung {rung.number} of {search.planned} with {names} candidate{'s'[: search.tried != 1]}, {runs}"


def _on(measures: Iterable[str], figures: Iterable[str]) -> str:
    """Such as "+9.8 on the worst task, −0.2 on the mean over tasks"."""
    return ", ".join(f"{figure} on {measure}" for measure, figure in zip(measures, figures, strict=True))


def _spec(search: Search, found: Change) -> str:
    """With one decimal, unless a change that is too great would then look like what may be lost."""
    pairs = zip(search.keep, found.kept, strict=True)
    close = any(0 < -change.mean - each.points < 0.05 for each, change in pairs)
    return "+z.2f" if close else "+z.1f"


def _rest(search: Search) -> Iterator[str]:
    if search.winner:
        yield _choosing(search)
    elif search.decided:
        yield from _best(search)
    if search.verdict or (search.decided and not search.winner):
        for name, found in search.fresh.items():
            if name != search.winner and found.objective.n:
                figures = [f"{change:+z.1f}" for change in (found.objective, *found.kept)]
                yield f"On fresh seeds, `{name}` has {_on(map(brief, search.measures), figures)}."
        if search.keep:
            yield f"What may be lost: {limits(search)}."


def _choosing(search: Search) -> str:
    """What the winner gained in the search, and how much of it choosing alone gives."""
    best = f"choosing the best of {count_text(search.tried, 'equal candidate')} gives"
    chance = f"of this, about {number_text(search.chance, '+z.1f')} is what {best}"
    return f"In the search it gained {number_text(search.gain, '+z.1f')} on the validation split; {chance}."


def _best(search: Search) -> Iterator[str]:
    """The first candidate of the last rung, and why it has not won."""
    rung = search.rungs[-1]
    standing = rung.standings[rung.names[0]]
    if math.isnan(standing.objective.mean):
        return
    figures = [number_text(gain.mean, "+z.1f") for gain in (standing.objective, *standing.kept)]
    changes = _on(map(brief, search.measures), figures)
    why = outcome(search, rung.names[0])
    yield f"In the last rung, `{rung.names[0]}` ranks first with {changes} of the validation split: {why}."
    best = f"the best of {count_text(search.tried, 'equal candidate')} shows"
    yield f"By choosing alone, {best} about {number_text(search.chance, '+z.1f')}."


def paste(search: Search, plan: Mapping[str, Any]) -> tuple[Paste, ...]:
    """What to paste to train with the winner; empty unless fresh seeds recommend it.

    Args:
        search: what was found.
        plan: the study's settings.
    """
    if search.winner is None or search.verdict is None or not search.verdict.recommended:
        return ()
    trial = next(run.record.trial for run in search.runs if run.entry.method == search.winner)
    spec = str(trial["balancer"])  # with the weights that the search has measured
    name, options = parse_options(spec)
    lines = [f"balancer = hardfirst.Spec.parse({json.dumps(spec, ensure_ascii=False)}).build(tasks)"]
    if "anneal" in options or name == HARD_FIRST:
        lines.append("balancer.steps = steps  # of the whole training")
    command = shlex.join(_train(trial, plan))
    return Paste("Spec", spec), Paste("Command", command), Paste("Python", "\n".join(lines))


def _train(trial: Mapping[str, Any], plan: Mapping[str, Any]) -> Iterator[str]:
    """The command that trains as a trial did, with what the study changed in the problem's recipe."""
    problem = plan.get("problems", [trial["problem"]])[0]  # a file's path is not in the trial
    yield from ("hardfirst", "train", str(problem), "--balancer", trial["balancer"])
    if (network := trial.get("network", OWN)) != OWN:
        yield from ("--network", network)
    if (criterion := trial.get("criterion", "mean")) != "mean":
        yield from ("--criterion", criterion)
    yield from ("--learning-rate", f"{trial['learning_rate']:g}")
    for name in _TRAINING:
        if name in plan:
            yield from (f"--{name}", str(plan[name]))
    if "drop_last" in plan:
        yield "--drop-last" if plan["drop_last"] else "--keep-last"


def brief(measure: Objective) -> str:
    """The measure in a sentence, without the names of the hard tasks."""
    return measure.words.partition(" (")[0] if measure.words.startswith("the hard tasks") else measure.words


def short(measure: Objective) -> str:
    """The measure without an article, such as "worst task"."""
    return brief(measure).removeprefix("the ")


def title(measure: Objective) -> str:
    """The measure as a heading, such as "Worst task"."""
    return capitalized(short(measure))


# Figures in large type, and what limits the answer


def tiles(search: Search) -> tuple[Tile, ...]:
    """The changes on fresh seeds, what choosing alone gives, and the cost."""
    if not search.rungs:
        return (_cost(search),)
    if not search.decided:
        rung = search.rungs[-1]
        left = f"{len(rung.names)} of {search.tried}"
        return Tile("Candidates left", left, f"rung {rung.number} of {search.planned}"), _cost(search)
    alone = Tile(
        "Gain from choosing alone",
        number_text(search.chance, "+z.1f"),
        f"points on validation, best of {count_text(search.tried, 'equal candidate')}",
    )
    return (*_measures(search), alone, _cost(search))


def _measures(search: Search) -> Iterator[Tile]:
    if search.verdict is None or search.winner is None:
        return
    found = search.fresh[search.winner]
    yield _measure(search.objective, found.objective)
    for kept, change in [*zip(search.keep, found.kept, strict=True)][:1]:
        yield _measure(kept.objective, change)


def _measure(measure: Objective, change: Interval) -> Tile:
    return change_tile(f"{title(measure)}, winner − equal", change, effect(change))


def _cost(search: Search) -> Tile:
    if not search.fresh_cost:
        return Tile("Cost, in single runs", f"{search.cost:.0f}", "of the search")
    return Tile("Cost, in single runs", f"{search.cost:.0f} + {search.fresh_cost:.0f}", "the search + fresh seeds")


def cost(search: Search) -> str:
    """The cost as a sentence."""
    fresh = f", and its fresh seeds {search.fresh_cost:.0f}" if search.fresh_cost else ""
    so_far = "" if search.decided else " so far"
    return f"The search cost {search.cost:.0f} single runs{fresh}{so_far}."


def alerts(search: Search) -> tuple[Alert, ...]:
    """What limits the answer, warnings first."""
    found = []
    for what in ("failed", "diverged"):
        if number := sum(run.record.outcome == what for run in search.runs):
            found.append(Alert(f"{count_text(number, 'run')} of the search {what}", "search-runs"))
    if search.verdict:
        seeds = count_text(search.verdict.objective.interval.n, "fresh seed")
        found.append(Alert(f"Tested on {seeds}", "fresh", warns=search.verdict.reason == "too few seeds"))
    elif search.winner:
        found.append(Alert("Not yet tested on fresh seeds", "search"))
    if search.rate in (*search.rates[:1], *search.rates[-1:]):
        found.append(Alert("The best learning rate is the last one tried", "measured"))
    if search.untried:
        found.append(Alert(f"{count_text(len(search.untried), 'candidate')} not tried", "measured"))
    found.append(Alert("The search never read the test split", "measured", warns=False))
    return tuple(sorted(found, key=lambda alert: not alert.warns))


def next_step(search: Search, missing: int, command: str | None) -> NextStep | None:
    """The same command while runs are missing or have failed, or with more fresh seeds; None if nothing is to be done."""
    if missing and command:
        return NextStep("The same command continues; finished runs are kept.", command)
    if any(run.record.outcome == "failed" for run in search.runs):
        return NextStep("The same command runs again what failed; finished runs are kept.", command)
    if not search.comparable:
        return NextStep("If equal weights diverged, give a lower learning rate.", None)
    if search.verdict and search.verdict.reason == "too few seeds":
        why = f"A verdict takes {FRESH} fresh seeds; finished runs are kept."
        return NextStep(why, with_option(command, "seeds", str(FRESH)))
    return None
