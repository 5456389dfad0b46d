"""The path of a search and its winner on fresh seeds as plain text, which Markdown, LaTeX and notebooks share."""

import math
from collections.abc import Sequence

from hardfirst.records.names import EQUAL
from hardfirst.report.model.answer import Answer
from hardfirst.report.model.search import Search
from hardfirst.report.text.interval_text import count_text
from hardfirst.report.text.search import title
from hardfirst.report.text.search_notes import LOWER_BOUND, limits, outcome
from hardfirst.report.text.tables import PlainTable, leaderboard_table, task_table
from hardfirst.statistics import number_text
from hardfirst.statistics.search import Gain


def gain_text(gain: Gain) -> str:
    """A gain with its standard error; a dash for that of a run that diverged."""
    error = "" if math.isnan(gain.error) or math.isnan(gain.mean) else f" ± {gain.error:.1f}"
    return f"{number_text(gain.mean, '+z.1f')}{error}"


def ranked(search: Search) -> list[str]:
    """The candidates of all rungs that have ended: those of the last rung first, and the best of each rung first."""
    return list(dict.fromkeys(name for rung in reversed(search.ended_rungs) for name in rung.names))


def path_caption(search: Search) -> str:
    """What the table of candidates and rungs shows."""
    kept = ", and by how likely they keep what may not be lost, which is shown for their last rung" if search.keep else ""
    return (
        f"Gain over equal weights on {search.objective.words}, in points of validation KPI, ± one standard error. The lower "
        f"bound is {LOWER_BOUND}. Candidates of a rung are ranked by it{kept}."
    )


def path_table(search: Search, names: Sequence[str] | None = None) -> PlainTable:
    """A row for each candidate, those that stayed longest first.

    Args:
        search: what was found.
        names: of the rows. Default: all candidates.
    """
    rows = tuple(path_row(search, name) for name in (ranked(search) if names is None else names))
    return PlainTable(f"The search. {path_caption(search)}", path_head(search), rows)


def path_head(search: Search) -> tuple[str, ...]:
    """The headings of candidates and rungs."""
    rungs = [f"Rung {rung.number}, {count_text(rung.seeds, 'seed')}" for rung in search.ended_rungs]
    return "Candidate", *rungs, "Lower bound", *(title(kept.objective) for kept in search.keep), "Outcome"


def path_row(search: Search, name: str) -> tuple[str, ...]:
    """The candidate's gain in each rung, what it changes of what is kept, and what became of it."""
    rungs = [rung.standings.get(name) for rung in search.ended_rungs]
    last = search.last(name).standings[name]
    return (
        name,
        *(gain_text(each.objective) if each else "" for each in rungs),
        number_text(last.objective.low, "+z.1f"),
        *map(gain_text, last.kept),
        outcome(search, name),
    )


def fresh_caption(search: Search) -> str:
    """What the table of fresh seeds shows."""
    seeds = max((each.objective.n for each in search.fresh.values()), default=0)
    bounds = " with 95% t intervals" if seeds >= 3 else ""
    lost = f" What may be lost: {limits(search)}." if search.keep else ""
    return (
        f"Change against equal weights on the test split, in points: mean over {count_text(seeds, 'fresh seed')}{bounds}, "
        f"paired by seed.{lost}"
    )


def fresh_table(search: Search) -> PlainTable:
    """A row for each method that ran on fresh seeds, the winner first."""
    head = [*map(title, search.measures)]
    changes = {name: search.fresh[name] for name in fresh_names(search)}
    return PlainTable(
        f"On fresh seeds. {fresh_caption(search)}",
        ("Method", *head),
        tuple((name, *(f"{change:+z.1f}" for change in (found.objective, *found.kept))) for name, found in changes.items()),
    )


def fresh_names(search: Search) -> list[str]:
    """The methods with runs on fresh seeds, the winner first; without equal weights."""
    names = [name for name in search.fresh if name != EQUAL]
    return sorted(names, key=lambda name: name != search.winner)


def case_tables(facts: Answer) -> list[PlainTable]:
    """The tables of a search, then the leaderboard and the table by task, as far as there are any."""
    searched = search_tables(facts.case.search) if facts.case.search else []
    return [*searched, *((leaderboard_table(facts), task_table(facts)) if facts.case.methods else ())]


def search_tables(search: Search, *, last: bool = False) -> list[PlainTable]:
    """The winner on fresh seeds, and the path of the search, as far as there are any.

    Args:
        search: what was found.
        last: show only the candidates of the last rung that has ended.
    """
    fresh = [fresh_table(search)] if search.tested else []
    rungs = search.ended_rungs
    return [*fresh, *([path_table(search, rungs[-1].names if last else None)] if rungs else [])]
