"""How the figures were measured, and what the comparison lacks, in sentences."""

from collections.abc import Iterator

from hardfirst.records import is_undefined
from hardfirst.records.objective import Objective
from hardfirst.report.model.answer import tasks_without_kpi
from hardfirst.report.model.case import Case
from hardfirst.report.text import protocol
from hardfirst.report.text.interval_text import count_text

SEEDS_FOR_A_FIRM_VERDICT = 10
FEWEST_RATES = 5


def criterion(case: Case) -> str:
    """The score that epochs and settings were chosen by on the validation split."""
    criteria = {record.criterion for record in case.runs.values()}
    return " or ".join(Objective.parse(text, case.tasks).words for text in sorted(criteria))


def how_measured(case: Case) -> list[str]:
    """What the figures on the page mean."""
    return list(_measured(case))


def _measured(case: Case) -> Iterator[str]:
    yield "A KPI lies in [0, 1], 1 is best; a point is a hundredth of it."
    yield protocol.sentence(case) or (
        f"The test split was read once in each run, with the weights of the epoch that was best by {criterion(case)} on "
        "the validation split."
    )
    if case.by_hard_tasks:
        yield (
            "The tasks to choose by were the hard ones: those whose validation KPI lay below the mean over tasks in a run "
            "with equal weights and the tuning seed."
        )
    seeds = len(case.seeds)
    if seeds == 1:
        yield "There is one seed, which shows no spread: no figure has an interval."
    elif seeds == 2:
        yield "There are 2 seeds, too few for intervals."
    else:
        yield f"There are {seeds} seeds. Intervals are 95% t intervals of the mean over them."
    if case.compares:
        yield "Methods share seeds (initial weights, order of the data), so differences are taken seed by seed."
    yield from _size(case)
    yield from _baselines(case)
    if case.tuning:
        yield "Tuning used a separate seed and the validation split only: tuning runs never read the test split."
    yield from _without_kpi(case)


def _size(case: Case) -> Iterator[str]:
    """The number of the networks' parameters."""
    sizes: dict[int, list[str]] = {}
    for method in case.methods:
        for size in {record.parameters for record in case.of(method) if record.parameters}:
            sizes.setdefault(size, []).append(method)
    if len(sizes) == 1:
        yield f"The network has {next(iter(sizes)):,} parameters."
    elif sizes:
        each = "; ".join(f"{', '.join(methods)}: {size:,}" for size, methods in sizes.items())
        yield f"Parameters of the network: {each}."


def _baselines(case: Case) -> Iterator[str]:
    if case.single:
        yield "A single-task network has the same architecture and seeds, and is trained on its task alone."
    if case.trees:
        yield (
            "The gradient-boosted trees are scikit-learn's with its default settings, one model for each task. The number "
            "of trees is the best on the validation split."
        )
    if case.static:
        each = {name: case.measure_of(name) for name in case.static.values()}
        by = [
            f"{name} by {Objective.parse(measure, case.tasks).words if measure else criterion(case)}"
            for name, measure in each.items()
        ]
        yield (
            "Static weights are chosen on the validation split from a grid on the simplex that includes equal weights: "
            f"{', '.join(by)}."
        )


def _without_kpi(case: Case) -> Iterator[str]:
    if missing := tasks_without_kpi(case):
        tests = [record.test["tasks"] for record in case.method_runs if record.outcome == "finished" and record.test]
        undefined = [task for task in missing if any(is_undefined(figures[task]) for figures in tests)]
        why = f" The KPI of {', '.join(undefined)} is undefined there, though the task has labels." if undefined else ""
        lost = "their worst task and mean over tasks are unknown"
        yield f"Finished runs lack a test KPI for {', '.join(missing)}: {lost}.{why}"


def lacking(case: Case) -> list[str]:
    """What a fair comparison of balancing methods needs and this one lacks."""
    return list(_lacking(case))


def _lacking(case: Case) -> Iterator[str]:
    if not case.orders and len(case.tasks) > 1:  # orders have equal weights, so other weights are no rivals
        if not case.single:
            yield (
                "Single-task networks are not part of this comparison: all runs train all tasks, so nothing here says how "
                "much a task loses by sharing, nor whether any was starved at all."
            )
        constant = [method for method in case.methods if method in case.constant]
        if constant and not case.static:
            yield f"There are static weights ({', '.join(constant)}); whether they were tuned is not on record."
        elif not case.static:
            yield (
                "Tuned static weights are not part of this comparison: a method that comes out ahead of equal weights may "
                "owe it to a better constant weighting."
            )
    yield from _tuning(case)
    pairs = min(len(case.finished(method)) for method in case.methods)
    if pairs < SEEDS_FOR_A_FIRM_VERDICT:
        yield f"A firm verdict takes {SEEDS_FOR_A_FIRM_VERDICT} finished seeds of each method; one has {pairs}."


def _tuning(case: Case) -> Iterator[str]:
    methods = [method for method in case.methods if method not in case.static.values()]
    trials = {method: case.tuning.get(method, ()) for method in methods}
    untuned = [method for method, records in trials.items() if not records]
    if len(untuned) == len(methods):
        yield _no_tuning(case)
        return
    if untuned:
        yield f"Nothing was tuned for {', '.join(untuned)}, unlike the other methods."
    counts = {method: len(records) for method, records in trials.items() if records}
    if len(set(counts.values())) > 1:
        each = ", ".join(f"{method} {count}" for method, count in counts.items())
        yield f"The methods did not get the same number of tuning runs: {each}."
    fewest = min(len({record.trial["learning_rate"] for record in records}) for records in trials.values() if records)
    if fewest < FEWEST_RATES:
        yield (
            f"Tuning tried no more than {count_text(fewest, 'learning rate')}; with fewer than {FEWEST_RATES} a method's "
            "best may lie between those tried."
        )


def _no_tuning(case: Case) -> str:
    rates = case.settings("learning_rate")
    ending = "equal tuning is not part of this comparison, and a tuned learning rate can move results more than a method."
    if len(rates) == 1:
        return f"All methods ran at learning rate {next(iter(rates))}, and no tuning of it is on record: {ending}"
    each = "; ".join(f"{', '.join(methods)} at {rate}" for rate, methods in rates.items())
    return f"Learning rates differ ({each}), and how they were chosen is not on record: {ending}"
