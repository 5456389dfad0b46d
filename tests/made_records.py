"""Records and cases made by hand, for the tests of what is said and shown of them."""

import html
import itertools
import math
import re
from dataclasses import replace

import numpy as np

from hardfirst.records import Record
from hardfirst.records.description import Entry, Run
from hardfirst.records.names import RATE
from hardfirst.records.objective import Objective
from hardfirst.records.search_runs import figures
from hardfirst.records.study_folder import completed
from hardfirst.report import Case, arrange
from hardfirst.report.blocks import Section
from hardfirst.report.html.rendering import environment
from hardfirst.report.model.search import search_of
from hardfirst.statistics.search import rungs, standings, survivors

TASKS = ("easy", "middle", "hard")
NINE = (*(f"task {number}" for number in range(8)), "a task with a name that is too long for any panel")
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


def many_tasks():
    """Runs of four methods on nine tasks."""
    methods = ("equal", "dtp", "dtp:alpha=0.05,gamma=2,uniform=0.2", "uncertainty")
    return [
        run(
            method,
            seed,
            [0.1 * (task + 1) + 0.01 * seed for task in range(9)],
            tasks=NINE,
            weights=[index + 1.0] + [1.0] * 8,
        )
        for (index, method), seed in itertools.product(enumerate(methods), range(2))
    ]


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


def search_runs(candidates, fresh=None, *, keep=(0.5,), ended=None, seeds=7):
    """The entries of a search for the worst task, as far as it knows its runs, and the runs that have ended.

    Args:
        candidates: by spec, what the worst task and the mean gain over equal weights, as shares; None for one that diverges.
        fresh: likewise on fresh seeds. Default: these have not begun.
        keep: the points of the mean that may be lost, or nothing.
        ended: the number of runs that have ended. Default: all.
        seeds: the number of fresh seeds.
    """
    stages, values, names = rungs(len(candidates)), {}, list(candidates)
    measures = [Objective.parse(text, TASKS) for text in ("worst", *["mean"] * len(keep))]
    found = [(0, tried(RATE, "equal", rate, 0.6, role="candidate")) for rate in (0.003, 0.01, 0.03)]
    for number, (_, last) in enumerate(stages, start=1):
        first = stages[number - 2].seeds if number > 1 else 0
        new = [("equal", seed) for seed in range(stages[-1].seeds if number == 1 else 0)]
        for name, seed in (*new, *((name, seed) for name in names for seed in range(first, last))):
            record = gained(name, SEED + seed, candidates.get(name, (0, 0)))
            record.test = None
            found.append((number, as_run(record, name, "candidate", tuning=True, rung=number)))
            values.setdefault(name, []).append(figures(record, measures))
        known = {name: np.array(each).T for name, each in values.items()}
        equal = known.pop("equal")
        names = survivors(standings(known, equal, keep), stages[number].candidates) if number < len(stages) else ()
    for name, gains in ({"equal": (0, 0)} | fresh if fresh else {}).items():
        found += [(9, as_run(gained(name, seed, gains), name)) for seed in range(seeds)]
    now = found[-1 if ended is None else ended][0]
    runs = [(at, Run(run.entry.model_copy(update={"key": f"run{n}"}), run.record)) for n, (at, run) in enumerate(found)]
    return [run.entry for at, run in runs if at <= now], [run for _, run in runs][:ended]


def gained(name, seed, gains):
    """A run whose worst task and whose mean over the three tasks gain so much over equal weights.

    Over the seeds 0 to 6 the gain of the worst task differs by −1, 0 and 1 points twice each and by 0 once, that of the mean
    by a third of this.
    """
    if gains is None:
        return diverged(name, seed)
    worst, mean = gains
    noise = 0.0 if name == "equal" else (-0.01, 0.0, 0.01, -0.01, 0.0, 0.01, 0.0)[seed % SEED]
    return run(name, seed, (0.9 + 3 * mean - worst, 0.7, 0.4 + worst + noise))


def search_plan(candidates, keep=(0.5,), seeds=7):
    """The settings of such a search."""
    kept = [f"mean:{points}" for points in keep]
    return {"problems": ["toy"], "search": "worst", "keep": kept, "candidates": list(candidates), "seeds": seeds}


def search_case(candidates, fresh=None, *, keep=(0.5,), seeds=7, **settings):
    """The case of such a search."""
    entries, runs = search_runs(candidates, fresh, keep=keep, seeds=seeds, **settings)
    case = arrange(completed(runs))
    return replace(case, search=search_of(case, entries, runs, search_plan(candidates, keep, seeds)))
