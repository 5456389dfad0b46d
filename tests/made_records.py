"""Records and cases made by hand, for the tests of what is said and shown of them."""

import html
import math
import re
from dataclasses import replace
from statistics import fmean

import numpy as np

from hardfirst.records import Record
from hardfirst.records.description import Entry, Run
from hardfirst.records.study_folder import completed
from hardfirst.report import Case, arrange
from hardfirst.report.blocks import Section
from hardfirst.report.html.rendering import environment
from hardfirst.report.model.search import search_of
from hardfirst.statistics.search import rungs, standings, survivors

TASKS = ("easy", "middle", "hard")
SEED = 1_000_000  # the first seed of a search


def run(
    balancer,
    seed,
    kpis,
    *,
    tasks=TASKS,
    epochs=3,
    outcome="finished",
    reason=None,
    seconds=1.0,
    weights=None,
    memory=math.nan,
    **trial,
):
    """A record whose test KPIs are `kpis`, and whose validation KPIs rise to them; `weights` has one for each task."""
    weights = weights or [1.0] * len(tasks)
    lines = [
        {
            "epoch": epoch,
            "seconds": seconds,
            "tasks": {
                task: {"weight": weight, "validation_kpi": kpi * epoch / epochs}
                for task, kpi, weight in zip(tasks, kpis, weights, strict=True)
            },
        }
        for epoch in range(1, epochs + 1)
    ]
    test = {"epoch": epochs, "tasks": {task: {"kpi": kpi} for task, kpi in zip(tasks, kpis, strict=True)}}
    return Record(
        trial={"problem": "toy", "balancer": balancer, "seed": seed, "epochs": epochs, "learning_rate": 0.01} | trial,
        tasks=tasks,
        made_with={"command": "hardfirst compare toy", "versions": {"torch": "2.13.0"}},
        epochs=lines,
        test=test if outcome == "finished" else None,
        outcome=outcome,
        reason=reason,
        seconds=seconds * epochs,
        memory=memory,
    )


def as_run(record, method=None, role="method", **entry):
    """The record as a run of a study."""
    return Run(Entry(key="", method=method or record.trial["balancer"], role=role, **entry), record)


def study(**hard):
    """Runs of each method, given the KPI of its hardest task for each seed; the other tasks stay the same."""
    return [run(balancer, seed, (0.9, 0.7, kpi)) for balancer, kpis in hard.items() for seed, kpi in enumerate(kpis)]


def diverged(balancer, seed):
    return run(balancer, seed, (0.9, 0.7, 0.1), epochs=1, outcome="diverged", reason="the loss of hard is NaN")


def alone(seed, kpis, *, tasks=TASKS, **settings):
    """The runs of the single-task networks of one seed."""
    return [
        as_run(run("equal", seed, (kpi,), tasks=(task,), only=task, **settings), "single-task", "single")
        for task, kpi in zip(tasks, kpis, strict=True)
    ]


def static(balancer, hard, name="static weights", **settings):
    """The runs of the static weights chosen from a grid, given the KPI of the hardest task for each seed."""
    return [as_run(run(balancer, seed, (0.9, 0.7, kpi), **settings), name, "static") for seed, kpi in enumerate(hard)]


def control(name, balancer, hard):
    """The runs of a control of DTP, likewise."""
    return [as_run(run(balancer, seed, (0.9, 0.7, kpi)), name, "control") for seed, kpi in enumerate(hard)]


def tried(method, balancer, learning_rate, kpi, *, role="method", **settings):
    """A tuning run whose mean validation KPI rises to `kpi`."""
    tasks = settings.pop("tasks", TASKS)
    record = run(balancer, 1_000_000, (kpi,) * len(tasks), tasks=tasks, learning_rate=learning_rate, **settings)
    record.test = None
    return as_run(record, method, role, tuning=True)


def case_of(*runs) -> Case:
    """The case of records and runs, one by one or in lists, as a study's folder gives them."""
    items = [item for each in runs for item in (each if isinstance(each, list) else [each])]
    return arrange(completed([item if isinstance(item, Run) else as_run(item) for item in items]))


def render_section(section):
    """A section on the second level, as HTML."""
    return str(environment().get_template("blocks.html.j2").module.section(section, 2))


def render_blocks(*blocks):
    """Blocks as they stand in such a section."""
    return render_section(Section("", blocks))


def text_of(document):
    """The page's visible text, without its scripts, as one line."""
    body = document.partition("<main>")[2].partition("</main>")[0]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body.replace("<wbr>", ""))).split())


def drawn(tab):
    """Wait until all charts that can be seen are drawn."""
    # the page's own policy forbids eval, and with it playwright's wait_for_function
    tab.wait_for_selector(".plotly-graph-div:visible:not(:has(.main-svg .trace))", state="detached")


def search_runs(candidates, fresh=None, *, keep=(0.5,), ended=None, seeds=7, spread=0.002):
    """The entries of a search for the worst task and its runs that have ended, as a study makes them.

    Args:
        candidates: by spec, what the worst task and what the mean gain over equal weights, as shares.
        fresh: likewise, the gains of the methods on fresh seeds. Default: no fresh seed has been planned.
        keep: the points of the mean that may be lost, or nothing.
        ended: the number of runs that have ended. Default: all.
        seeds: the number of fresh seeds.
        spread: of the noise.
    """
    found, names, before = [], list(candidates), 0
    figures = {}
    for number, rung in enumerate(rungs(len(candidates)), start=1):
        for name in ("equal", *names):
            for seed in range(before, rung.seeds):
                record = gained(name, SEED + seed, *candidates.get(name, (0, 0)), spread=spread)
                record.test = None
                found.append(as_run(record, name, "candidate", tuning=True, rung=number))
                kpis = [record.validation_kpi(task) for task in TASKS]
                figures.setdefault(name, []).append([100 * min(kpis), *[100 * fmean(kpis)] * len(keep)])
        known = {name: np.array(values).T for name, values in figures.items()}
        standing = standings({name: values for name, values in known.items() if name != "equal"}, known["equal"], keep)
        names = list(survivors({name: standing[name] for name in names}, math.ceil(0.4 * len(names)) if number < 3 else 1))
        before = rung.seeds
    for name, gains in ({"equal": (0, 0)} | fresh if fresh else {}).items():
        found += [as_run(gained(name, seed, *gains, spread=spread), name) for seed in range(seeds)]
    keyed = [replace(each, entry=each.entry.model_copy(update={"key": f"run{index}"})) for index, each in enumerate(found)]
    stage = [math.inf if each.entry.rung is None else each.entry.rung for each in keyed]
    now = stage[-1] if ended is None else stage[ended]
    return [each.entry for each, at in zip(keyed, stage, strict=True) if at <= now], keyed[:ended]


def gained(name, seed, worst, mean, *, spread=0.002):
    """A run whose worst task gains `worst` over equal weights, and the mean over the three tasks `mean`."""
    noise = np.random.default_rng([seed, *name.encode()]).normal(0, spread, 3)
    kpis = np.array([0.9 + 3 * mean - worst, 0.7, 0.4 + worst]) + noise
    return run(name, seed, kpis.tolist())


def search_case(*args, keep=(0.5,), seeds=7, **settings):
    """The case of such a search."""
    entries, runs = search_runs(*args, keep=keep, seeds=seeds, **settings)
    case = arrange(completed(runs))
    plan = {"problems": ["toy"], "search": "worst", "keep": [f"mean:{points}" for points in keep], "seeds": seeds}
    return replace(case, search=search_of(case, entries, runs, plan))
