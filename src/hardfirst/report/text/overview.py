"""Several cases in sentences: the answer that weighs them all, each case in short, and what their ranks say together."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from hardfirst.records.names import EQUAL
from hardfirst.report.model.case import Case
from hardfirst.report.model.overview import Overview, Tally
from hardfirst.report.model.ranks import ALPHA, FEWEST_CASES, Ranks, rank_cases
from hardfirst.report.model.scopes import MEAN, WORST, Scope, rivals
from hardfirst.report.text import protocol
from hardfirst.report.text.alerts import Alert, alerts
from hardfirst.report.text.by_kind import next_step_of
from hardfirst.report.text.headline import Headline
from hardfirst.report.text.interval_text import by_decision, capitalized, count_text, plural
from hardfirst.report.text.next_step import NextStep
from hardfirst.report.text.orders import affected_tasks
from hardfirst.report.text.tiles import Tile
from hardfirst.report.text.verdict import verdict
from hardfirst.statistics import Difference, fewest_seeds, number_text

# All cases together


def headline(found: Overview) -> Headline:
    """Weigh gains on the worst task against losses of the mean over all cases, in words."""
    return Headline(_lead(found), tuple(_rest(found)))


def _lead(found: Overview) -> str:
    cases, noun, count = found.cases, found.cases[0].noun, count_text(len(found.cases), found.unit)
    if noun == "order":
        matters = sum(bool(affected_tasks(case)) for case in cases)
        return f"The order of tasks matters to at least one task on {matters} of {count}."
    if not any(each.finished for each in found.answers):
        return "No run has finished."
    if not found.standings:
        return f"No {found.unit} has a {noun} and {found.against} with a seed in common."
    if found.lead is None:
        where = ", neither on the worst task nor on the mean" if len(found.titles) > 1 else ""
        return f"No {noun} is better than {found.against} on any of the {count}{where}."
    worst, *means = (found.tally(found.lead, scope) for scope in found.titles)
    (gain, first), *rest = _tallied(worst, *means)
    every = "both" if worst.cases == 2 else "all"
    of = f"{first} of {worst.cases}" if first < worst.cases else "both" if worst.cases == 2 else f"all {worst.cases}"
    more = [f"{verb} on {every if count == worst.cases else count}" for verb, count in rest]
    clauses = ", ".join([f"{gain} on {of} {plural(found.unit)}", *more])
    free = ", at no measurable cost of the mean" if any(not any(mean[:2]) for mean in means) else ""
    return f"`{found.lead}` {' and '.join(clauses.rsplit(', ', 1))}{free}."


def _tallied(worst: Tally, mean: Tally | None = None) -> list[tuple[str, int]]:
    """What the leading method does, with the number of cases: first what it is better at."""
    if mean is None:
        return list(_changes(worst, "is better", "is worse"))
    changes = [
        *_changes(worst, "lifts the worst task", "lowers it" if worst.better else "lowers the worst task"),
        *_changes(mean, "raises the mean", "costs it" if mean.better else "costs the mean"),
    ]
    return changes if worst.better else changes[::-1]


def _changes(tally: Tally, gain: str, loss: str) -> Iterator[tuple[str, int]]:
    yield from ((verb, count) for verb, count in ((gain, tally.better), (loss, tally.worse)) if count)


def _rest(found: Overview) -> Iterator[str]:
    if found.static:
        what = "the worst task" if found.scope is WORST else "the mean"
        effects = [each.effect for each in found.static]
        better, worse = effects.count("better"), effects.count("worse")
        yield (
            f"Against static weights chosen for {what}, it is better on {better}, worse on {worse} and not told apart on "
            f"{len(effects) - better - worse}."
        )
    if found.untested:
        yield f"Not yet tested on {count_text(found.untested, found.unit)}: too few seeds."
    ranks = rank_cases(found.cases, WORST)
    if ranks and len(found.cases) >= FEWEST_CASES:
        yield over_cases(found.cases, ranks)
    if found.missing:
        ended = sum(each.ended for each in found.answers)
        yield f"{ended} of {ended + found.missing} runs have finished; these are the results so far."
    yield from protocol.sentences(found.cases)


def tiles(found: Overview) -> tuple[Tile, ...]:
    """On how many cases the leading method is better or worse, and what a step of it costs."""
    method = found.subject
    if method is None:
        return ()
    label = f"{plural(found.unit)} better · worse · unclear"
    measures = [
        Tile(f"{title}, {method}: {label}", *_measure(found, method, scope)) for scope, title in found.titles.items()
    ]
    costs = sorted(row.cost for row in found.standings[method].values() if not math.isnan(row.cost))
    if costs:
        low, high = (f"{cost:.2f}" for cost in (costs[0], costs[-1]))
        measures.append(Tile(f"Training step, × {found.against}", low if low == high else f"{low} to {high}"))
    return tuple(measures)


def _measure(found: Overview, method: str, scope: Scope) -> tuple[str, str]:
    """The tally, and the range of changes."""
    rows = found.standings[method]
    changes = sorted((row.change(scope), found.cases[index].name) for index, row in rows.items())
    low, high = (f"{number_text(value, '+z.1f')} ({name})" for value, name in (changes[0], changes[-1]))
    return " · ".join(map(str, found.tally(method, scope))), f"from {low} to {high}"


def all_alerts(found: Overview, prefixes: Sequence[str]) -> tuple[Alert, ...]:
    """The warnings of the cases, those with the same words as one; a link leads to the first case that has it."""
    each: dict[str, list[tuple[int, Alert]]] = {}
    for index, one in enumerate(found.answers):
        for alert in alerts(one):
            if alert.warns:
                each.setdefault(alert.text, []).append((index, alert))
    merged = []
    for text, items in each.items():
        index, alert = items[0]
        whose = found.cases[index].name if len(items) == 1 else count_text(len(items), found.unit)
        where = f" ({whose})" if len(items) < len(found.answers) else ""
        merged.append(alert._replace(text=text + where, target=f"{prefixes[index]}-{alert.target}"))
    return tuple(merged)


def step(found: Overview, command: str | None, plan: Mapping[str, object]) -> NextStep | None:
    """What would make the answer firmer; None where nothing would."""
    answers = [replace(each, missing=found.missing) for each in found.answers]
    steps = (each for answer in answers if (each := next_step_of(answer, command, plan, answers)))
    return next(steps, None)


# Each case


def sentences(cases: Sequence[Case]) -> list[str]:
    """For each case how its methods compare with equal weights, then what their ranks over the cases say."""
    ranks = rank_cases(cases, WORST)
    together = [over_cases(cases, ranks)] if ranks and len(cases) >= FEWEST_CASES else []
    return [*(f"{case.name}: {case_headline(case)}" for case in cases), *together]


def over_cases(cases: Sequence[Case], ranks: Ranks) -> str:
    """What the ranks say; if cases share a problem, also that the test does not allow for it."""
    problems = len({case.problem for case in cases})
    if problems == len(cases):
        return rank_sentence(ranks)
    return (
        f"{rank_sentence(ranks)} They are of {count_text(problems, 'problem')}, and cases on one problem are not "
        "independent, as the test supposes."
    )


def case_headline(case: Case) -> str:
    """The verdict on a case in short; it decides over the same methods as the verdict itself."""
    methods = rivals(case)
    return " ".join([*_decisions(case, methods), *_left_out(case)]) if case.compares and methods else verdict(case)[0]


def _decisions(case: Case, methods: Sequence[str]) -> list[str]:
    by_scope = {scope: scope.differences(case, case.baseline, methods) for scope in (WORST, MEAN)}
    if all(difference.decision == "too few seeds" for difference in by_scope[WORST].values()):
        seeds = count_text(max(difference.interval.n for difference in by_scope[WORST].values()), "seed")
        return [
            f"With {seeds} and {count_text(len(methods), 'method')} no difference to {case.against} can be called "
            f"significant; it takes at least {fewest_seeds(len(methods))}."
        ]
    differences = [difference for by_method in by_scope.values() for difference in by_method.values()]
    counts = {difference.interval.n for difference in differences}
    sentences = [_decision(case, scope, by_method, len(counts) > 1) for scope, by_method in by_scope.items()]
    differ = any(difference.decision in ("better", "worse") for difference in differences)
    return [*sentences, _units(counts)] if differ else sentences


def _decision(case: Case, scope: Scope, differences: Mapping[str, Difference], with_n: bool) -> str:
    def size(difference: Difference) -> str:
        return f"{difference.interval:+z.1f}" + (f", n = {difference.interval.n}" if with_n else "")

    names = by_decision(differences, size)
    better = f"beaten by {', '.join(names['better'])}" if "better" in names else "not beaten"
    rest = {"worse": "below it", "not told apart": "not told apart from it", "too few seeds": "with too few seeds"}
    clauses = [f"{words}: {', '.join(names[decision])}" for decision, words in rest.items() if decision in names]
    return "; ".join([f"{capitalized(scope.where)} {case.against} was {better}", *clauses]) + "."


def _units(counts: set[int]) -> str:
    n = f", n = {next(iter(counts))}" if len(counts) == 1 else ""
    return f"Differences are in points with 95% intervals{n}."


def _left_out(case: Case) -> list[str]:
    runs = case.method_runs
    lost = sum(record.outcome != "finished" for record in runs)
    return [f"{lost} of {count_text(len(runs), 'run')} did not finish; test figures leave them out."] if lost else []


# Ranks over cases


def rank_sentence(ranks: Ranks) -> str:
    """What Friedman's test says, and what can be concluded from this number of problems."""
    n, p = ranks.test.n, "p < 0.001" if ranks.test.p < 0.001 else f"p = {ranks.test.p:.2g}"
    if not ranks.exist:
        return f"Fewer than 2 cases have a figure {ranks.where} for every method: there are no ranks over cases."
    if n < FEWEST_CASES:
        return (
            f"Over {n} cases nothing can be told from the methods' ranks {ranks.where}: that takes about {FEWEST_CASES} "
            f"problems at the least (Friedman's test gives {p}, a rough approximation with so few)."
        )
    test = f"(Friedman's test over {n} cases, {p})"
    if not ranks.differ:
        return f"By their ranks {ranks.where} no methods can be told apart {test}."
    return (
        f"The methods' ranks {ranks.where} differ {test}; mean ranks {ranks.critical.difference:.2f} or more apart count "
        f"as different (Nemenyi's test at {ALPHA}). {_against_equal(ranks)}".rstrip()
    )


def _against_equal(ranks: Ranks) -> str:
    if EQUAL not in ranks.methods:
        return ""
    equal, means = ranks.methods.index(EQUAL), ranks.critical.mean_ranks
    apart = [index for index in range(len(ranks.methods)) if not ranks.critical.same[equal, index]]
    ahead = [ranks.methods[index] for index in apart if means[index] < means[equal]]
    behind = [ranks.methods[index] for index in apart if means[index] > means[equal]]
    sides = {"Ahead of equal weights": ahead, "Behind equal weights": behind}
    sentences = [f"{side}: {', '.join(names)}." for side, names in sides.items() if names]
    return " ".join(sentences) or "None differs from equal weights."
