"""The protocol by which published figures were measured, and what it does not allow."""

from hardfirst.balancers import Spec
from hardfirst.errors import InputError
from hardfirst.problems import Problem, Published, Splits
from hardfirst.recipes import ScheduleSpec
from hardfirst.records.objective import Objective

HELD_OUT, PUBLISHED = "held_out", "published"
PROTOCOLS = (HELD_OUT, PUBLISHED)


def published_of(problem: Problem) -> Published:
    """Return the problem's published protocol.

    Raises:
        InputError: the problem has none.
    """
    if problem.published is None:
        raise InputError(
            f"The problem {problem.name!r} has no published protocol; only published benchmarks have one. Leave out "
            f"`protocol` {PUBLISHED}."
        )
    return problem.published


def check_published(problem: Problem, balancer: Spec, network: str, criterion: str = "mean") -> None:
    """Check that a run under the published protocol learns nothing from the evaluation split.

    Args:
        problem: the problem, with the run's recipe.
        balancer: the balancer of the run.
        network: the network of the run, one of the problem's.
        criterion: as in `Trial`.

    Raises:
        InputError: the problem has no such protocol; or nothing is held out, but the run needs validation.
    """
    if published_of(problem).last is None:
        return
    validated = [task.name for task in problem.tasks if task.kpi is not None and task.kpi_from == "validation"]
    spec, schedule = problem.network_spec(network), problem.recipe.schedule
    if spec is not None and spec.measured:
        raise nothing_held_out(f"the order of tasks in {network} is taken from validation KPIs")
    if Objective.parse(criterion, problem.measured).needs_hard:
        raise nothing_held_out(f"the hard tasks of the criterion {criterion} are taken from validation KPIs")
    if isinstance(schedule, str) and ScheduleSpec.parse(schedule).name == "plateau":
        raise nothing_held_out("the schedule plateau follows the validation split")
    if validated and "kpis" in balancer.method.needs:
        raise nothing_held_out(f"{balancer.name} follows the validation KPIs of {', '.join(validated)}")


def check_one_split(problem: Problem, splits: Splits) -> None:
    """Raise `InputError` unless validation and test are the same data set, as is the case if nothing is held out."""
    if splits.validation is not splits.test:
        raise InputError(
            f"Expected `published.data` of problem {problem.name!r} to return the same data set for validation and test, "
            "since nothing is held out if `last` is a number; got two."
        )


def nothing_held_out(what: str) -> InputError:
    """Return the error for what needs a validation split, for example "tuning needs a validation split"."""
    return InputError(
        f"Nothing is held out for validation under `protocol` {PUBLISHED}, and {what}. Leave it out, or use the protocol "
        f"{HELD_OUT}."
    )
