"""What a reader has to know to read the figures rightly: how they were made, and what the comparison lacks."""

import math

from hardfirst.report.case import Case, settings

SEEDS_FOR_A_FIRM_VERDICT = 10


def how_measured(case: Case) -> list[str]:
    """What a figure on the page is."""
    seeds = len(case.seeds)
    notes = [
        "A KPI lies in [0, 1], 1 is best; a point is a hundredth of it.",
        "The test split was read once in each run, with the weights of the epoch that had the best mean validation KPI.",
    ]
    if seeds == 1:
        notes.append("There is one seed, which shows no spread: no figure has an interval.")
    else:
        notes.append(f"There are {seeds} seeds; intervals are t-intervals of the mean over them.")
    if case.compares:
        notes.append("Methods share seeds (initial weights, order of the data), so differences are taken seed by seed.")
    return notes + _without_kpi(case)


def _without_kpi(case: Case) -> list[str]:
    finished = [record for method in case.methods for record in case.finished(method)]
    missing = [task for task in case.tasks if any(math.isnan(record.test_kpi(task)) for record in finished)]
    if not missing:
        return []
    return [f"Finished runs lack a test KPI for {', '.join(missing)}: their worst task and mean over tasks are unknown."]


def lacking(case: Case) -> list[str]:
    """What an honest comparison of balancing methods has and this one has not."""
    return [*_single_task(case), *_static_weights(case), _tuning(case), *_seeds(case)]


def _single_task(case: Case) -> list[str]:
    if len(case.tasks) == 1:
        return []
    return [
        "Single-task networks are not part of this comparison: all runs train all tasks, so nothing here says how much "
        "a task loses by sharing, nor whether any was starved at all."
    ]


def _static_weights(case: Case) -> list[str]:
    static = [method for method in case.methods if method.partition(":")[0] == "fixed"]
    if static:
        return [f"There are static weights ({', '.join(static)}); whether they were tuned is not on record."]
    return [
        "Tuned static weights are not part of this comparison: a method that comes out ahead of equal weights may owe "
        "it to a better constant weighting."
    ]


def _tuning(case: Case) -> str:
    rates = settings(case, "learning_rate")
    ending = "equal tuning is not part of this comparison, and a tuned learning rate can move results more than a method."
    if len(rates) == 1:
        return f"All methods ran at learning rate {next(iter(rates))}, and no tuning is on record: {ending}"
    each = "; ".join(f"{', '.join(methods)} at {rate}" for rate, methods in rates.items())
    return f"Learning rates differ ({each}), and how they were chosen is not on record: {ending}"


def _seeds(case: Case) -> list[str]:
    pairs = min(len(case.finished(method)) for method in case.methods)
    if pairs >= SEEDS_FOR_A_FIRM_VERDICT:
        return []
    return [f"A firm verdict wants {SEEDS_FOR_A_FIRM_VERDICT} finished seeds of each method; the fewest here are {pairs}."]
