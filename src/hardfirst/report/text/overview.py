"""Several cases in sentences: each in short, and what their ranks say together."""

from collections.abc import Mapping, Sequence

from hardfirst.report.model.case import Case
from hardfirst.report.model.ranks import Ranks, rank_cases
from hardfirst.report.model.scopes import MEAN, WORST, Scope, rivals
from hardfirst.report.text.interval_text import capitalized, count_text
from hardfirst.report.text.ranks import rank_sentence
from hardfirst.report.text.verdict import verdict
from hardfirst.statistics import Difference, fewest_seeds


def sentences(cases: Sequence[Case]) -> list[str]:
    """For each case how its methods compare with equal weights, then what their ranks over the cases say."""
    ranks = rank_cases(cases, WORST)
    together = [over_cases(cases, ranks)] if ranks else []
    return [*(f"{case.name}: {headline(case)}" for case in cases), *together]


def over_cases(cases: Sequence[Case], ranks: Ranks) -> str:
    """What the ranks say; if cases share a problem, also that the test does not allow for it."""
    problems = len({case.problem for case in cases})
    if problems == len(cases):
        return rank_sentence(ranks)
    return (
        f"{rank_sentence(ranks)} They are of {count_text(problems, 'problem')}, and cases on one problem are not "
        "independent, as the test supposes."
    )


def headline(case: Case) -> str:
    """The verdict on a case in short; it decides over the same methods as the verdict itself."""
    short = in_short(case)
    return " ".join([*short, *_left_out(case)]) if short else verdict(case)[0]


def in_short(case: Case) -> list[str]:
    """What is decided of all methods together; empty if there is nothing to decide."""
    methods = rivals(case)
    return _decisions(case, methods) if case.compares and methods else []


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
    return [*sentences, _units(counts)] if any(map(_differs, differences)) else sentences


def _differs(difference: Difference) -> bool:
    return difference.decision in ("better", "worse")


def _decision(case: Case, scope: Scope, differences: Mapping[str, Difference], with_n: bool) -> str:
    names: dict[str, list[str]] = {}
    for method, difference in differences.items():
        n = f", n = {difference.interval.n}" if with_n else ""
        size = f" ({difference.interval:+z.1f}{n})" if _differs(difference) else ""
        names.setdefault(difference.decision, []).append(method + size)
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
