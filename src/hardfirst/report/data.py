"""The page's data as plain values, for JSON."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hardfirst.records.description import Run
from hardfirst.report.model.answer import Answer, answer
from hardfirst.report.model.case import Case
from hardfirst.report.model.leaderboard import Reference, Standing
from hardfirst.report.model.overview import overview
from hardfirst.report.model.scopes import MEAN, WORST, Scope
from hardfirst.report.model.search import Rung, Search
from hardfirst.report.model.summary import Cell
from hardfirst.report.sections.reproduction import settings_table, versions
from hardfirst.report.text import notes
from hardfirst.report.text import overview as all_cases
from hardfirst.report.text.by_kind import alerts_of, headline_of, next_step_of, tiles_of
from hardfirst.report.text.headline import question
from hardfirst.report.text.search import paste
from hardfirst.report.text.search_notes import how_searched, outcome
from hardfirst.report.text.search_tables import ranked
from hardfirst.report.text.tables import ordered_tasks
from hardfirst.statistics import Interval
from hardfirst.statistics.search import Gain

if TYPE_CHECKING:
    from hardfirst.report.comparison import Comparison

Values = dict[str, Any]


def page_data(comparison: "Comparison") -> Values:
    """What the page shows, and the runs that it is made from.

    KPIs and their differences are in points (KPI × 100); in `runs` and `tuning` they are as measured.
    """
    several = len(comparison.cases) > 1
    return {
        "title": comparison.title,
        "question": question(comparison.cases),
        "headline": list(all_cases.headline(overview(comparison.cases, comparison.missing)).sentences) if several else None,
        "command": comparison.command,
        "plan": comparison.plan,
        "missing": comparison.missing,
        "damaged": list(comparison.damaged),
        "verdict": comparison.verdict,
        "cases": [_case(comparison, answer(case, 0 if several else comparison.missing)) for case in comparison.cases],
        "runs": comparison.runs.to_dict("records"),
        "tuning": comparison.tuning.to_dict("records"),
    }


def _case(comparison: "Comparison", facts: Answer) -> Values:
    case, board = facts.case, facts.board
    step = next_step_of(facts, comparison.command, comparison.plan)
    return {
        "problem": case.problem,
        "network": case.network,
        "headline": list(headline_of(facts).sentences),
        "tiles": [tile._asdict() for tile in tiles_of(facts)],
        "alerts": [alert._asdict() for alert in alerts_of(facts)],
        "next_step": step and step._asdict(),
        "search": case.search and _search(case.search, comparison.plan),
        "baseline": case.baseline,
        "criterion": board.objective.text,
        "cost_of": board.cost_of,
        "leaderboard": [_standing(row, board.scopes) for row in board.rows],
        "references": [_reference(each, board.scopes) for each in board.references],
        "tasks": [_task(facts, task) for task in ordered_tasks(facts)],
        "controls": _controls(case),
        "settings": _settings(case),
        "versions": versions(case),
        "table": case.table and case.table.model_dump(),
        "notes": _notes(case),
    }


def _notes(case: Case) -> list[str]:
    if case.search:
        return [*how_searched(case.search), *(notes.how_measured(case) if case.compares else ())]
    return [*notes.how_measured(case), *(notes.lacking(case) if case.compares else ())]


def finite(value: Any, spec: str = "") -> Any:
    """A value for JSON, with null for what is no finite number, and floats as written by the specification."""
    if isinstance(value, dict):
        return {key: finite(item, spec) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item, spec) for item in value]
    if isinstance(value, float):
        return float(format(value, spec)) if math.isfinite(value) else None
    return value


def _interval(interval: Interval | None) -> Values | None:
    return interval._asdict() if interval else None


def _cell(cell: Cell) -> Values:
    return {"kpi": _interval(cell.kpi), "difference": _interval(cell.difference)}


def _standing(row: Standing, scopes: Sequence[Scope]) -> Values:
    return {
        "names": list(row.names),
        "role": row.role,
        "finished": row.finished,
        "started": row.started,
        **{scope.name: {**_cell(row.of(scope)), "decision": row.decisions[scope.name]} for scope in scopes},
        "tasks_better": row.better,
        "tasks_worse": row.worse,
        "tasks_unclear": row.unclear,
        "delta_m": _interval(row.delta_m),
        "field_delta": _interval(row.field_delta),
        "cost": row.cost,
    }


def _reference(reference: Reference, scopes: Sequence[Scope]) -> Values:
    return {"name": reference.name, **{scope.name: _interval(reference.of(scope)) for scope in scopes}, "n": reference.n}


def _task(facts: Answer, task: str) -> Values:
    return {
        "task": task,
        "references": {each.name: _interval(each.tasks[task]) for each in facts.board.references},
        "gap": _interval(facts.gaps.get(task)),
        "methods": {row.name: _cell(row.tasks[task]) for row in facts.board.rows},
    }


def _controls(case: Case) -> list[Values]:
    """Each control's difference from the method that it is a variant of."""
    of: dict[str, list[str]] = {}
    for control, method in case.controls.items():
        if method in case.methods:
            of.setdefault(str(method), []).append(control)
    return [each for method, controls in of.items() for each in _variants(case, method, controls)]


def _variants(case: Case, method: str, controls: Iterable[str]) -> Iterable[Values]:
    found = {scope.name: scope.differences(case, method, controls) for scope in (WORST, MEAN)}
    for control in controls:
        measures = {
            name: {"difference": _interval(by[control].interval), "decision": by[control].decision}
            for name, by in found.items()
        }
        yield {"name": control, "of": method, **measures}


def _settings(case: Case) -> dict[str, str]:
    packages = versions(case)
    rows = (row.cells for row in settings_table(case).rows)
    return {name.text: value.text for name, value in rows if name.text not in packages}


# Searches


def _search(search: Search, plan: Mapping[str, Any]) -> Values:
    """Gains are in points of validation KPI, and changes on fresh seeds in points of test KPI."""
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
        "rungs": [_rung(rung) for rung in search.rungs],
        "candidates": [_candidate(search, name) for name in ranked(search)],
        "runs": [_search_run(search, run) for run in search.runs],
        "fresh_seeds": {
            name: {"objective": change.objective._asdict(), "keep": [each._asdict() for each in change.kept]}
            for name, change in search.fresh.items()
        },
    }


def _rung(rung: Rung) -> Values:
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


def _search_run(search: Search, run: Run) -> Values:
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
