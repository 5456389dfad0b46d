"""What the page shows of a search as plain values, for JSON."""

from collections.abc import Mapping
from typing import Any

from hardfirst.records.description import Run
from hardfirst.report.model.search import Rung, Search
from hardfirst.report.text.search import paste
from hardfirst.report.text.search_notes import outcome
from hardfirst.report.text.search_tables import ranked
from hardfirst.statistics.search import Gain

Values = dict[str, Any]


def search_data(search: Search, plan: Mapping[str, Any]) -> Values:
    """The search; gains are in points of validation KPI, and changes on fresh seeds in points of test KPI.

    Args:
        search: what was found.
        plan: the study's settings.
    """
    verdict = search.verdict
    return {
        "objective": search.objective.text,
        "keep": [kept.text for kept in search.keep],
        "decided": search.decided,
        "winner": search.winner,
        "spec": search.spec,
        "gain": search.gain,
        "gain_by_choosing": search.chance,
        "recommended": verdict and verdict.recommended,
        "reason": verdict and verdict.reason,
        "paste": {each.what.lower(): each.text for each in paste(search, plan)},
        "cost": {"search": search.cost, "fresh_seeds": search.fresh_cost},
        "rungs": [_progress(rung) for rung in search.rungs],
        "candidates": [_candidate(search, name) for name in ranked(search)],
        "runs": [_run(search, run) for run in search.runs],
        "fresh_seeds": {
            name: {"objective": change.objective._asdict(), "keep": [each._asdict() for each in change.kept]}
            for name, change in search.fresh.items()
        },
    }


def _progress(rung: Rung) -> Values:
    names = list(rung.names)
    return {"rung": rung.number, "seeds": rung.seeds, "candidates": names, "ended": rung.ended, "runs": rung.planned}


def _candidate(search: Search, name: str) -> Values:
    rungs = [(rung.number, rung.standings[name]) for rung in search.ended_rungs if name in rung.standings]
    return {
        "candidate": name,
        "outcome": outcome(search, name),
        "rungs": [
            {"rung": number, **_gain(standing.objective), "keep": [*map(_gain, standing.kept)]} for number, standing in rungs
        ],
    }


def _run(search: Search, run: Run) -> Values:
    texts = [measure.text for measure in search.measures]
    return {
        "candidate": run.entry.method,
        "rung": run.entry.rung,
        "seed": run.record.trial["seed"],
        "learning_rate": run.record.trial.get("learning_rate"),
        "outcome": run.record.outcome,
        "validation": dict(zip(texts, search.reached(run.record), strict=True)),
    }


def _gain(gain: Gain) -> Values:
    return {"gain": gain.mean, "standard_error": gain.error, "lower_bound": gain.low}
