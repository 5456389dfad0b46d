"""The commands that run studies."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hardfirst.cli import _completion
from hardfirst.cli._common import console, full_names, say, say_recipe, say_tables, typed, with_order
from hardfirst.cli._flags import (
    DATA,
    ENDING,
    MACHINE,
    RECIPE,
    Criterion,
    Epochs,
    Format,
    Keep,
    LearningRate,
    LearningRates,
    Order,
    Protocol,
    Seeds,
    Tune,
    grouped,
)
from hardfirst.errors import InputError

if TYPE_CHECKING:
    from hardfirst.studies import Plan, StudyTrial

_FAILURES = 3  # that are named


_FLAGS = {
    **DATA,
    "balancers": Annotated[
        str | None,
        typer.Option(
            help="The methods to compare, joined by commas, such as equal,dtp:gamma=2,alpha=0.05 (see `hardfirst list`), or "
            "all. Default: equal,uncertainty,dtp,dtp:uniform=0.8.",
            autocompletion=_completion.several(_completion.balancers, "all"),
        ),
    ],
    "networks": Annotated[
        str | None,
        typer.Option(
            help="The networks to compare the methods on, joined by commas (see `hardfirst list networks`). Default: own.",
            autocompletion=_completion.several(_completion.networks, "own"),
        ),
    ],
    "order": Order,
    "seeds": Seeds,
    "tune": Tune,
    "learning_rates": LearningRates,
    "learning_rate": LearningRate,
    "epochs": Epochs,
    "criterion": Criterion,
    "baselines": Annotated[
        bool | None,
        typer.Option(
            help="Add equal weights, static weights from a grid, single-task networks, and trees for tables. Default: yes."
        ),
    ],
    "controls": Annotated[
        bool | None, typer.Option(help="Add variants of DTP that show where its effect comes from. Default: yes.")
    ],
    **RECIPE,
    "protocol": Protocol,
    "reference": Annotated[
        str | None,
        typer.Option(
            help="What the field's Δm over metrics is relative to: the study's own single-task networks, or the published "
            "ones. Default: own."
        ),
    ],
    **MACHINE,
}


@grouped
def compare(
    problems: Annotated[
        list[str],
        typer.Argument(
            help="Built-in problems (see `hardfirst list problems`), Python files, tables, or one YAML file of a study.",
            autocompletion=_completion.one(_completion.problems),
        ),
    ],
    *,
    flags: Annotated[dict[str, Any], _FLAGS],
    keep: Keep = False,
    ending: Annotated[dict[str, Any], ENDING],
) -> None:
    """Compare methods on a problem over several seeds.

    The same command resumes a study that was stopped.

    Exit code: 0 if no run failed; 1 if a run failed with an error, or none finished; 2 for wrong input; 130 after Ctrl-C.
    A run that diverges is a result, not a failure.
    """
    order, balancers = flags.pop("order"), flags["balancers"]
    if order is not None:
        flags["networks"] = with_order(flags["networks"] or "", order)
    plan = make_plan(problems, flags)
    if balancers is not None and "all" in balancers.split(","):
        from hardfirst.balancers import BALANCERS, needed_options

        say(f"`all` leaves out the methods that need options: {', '.join(filter(needed_options, BALANCERS))}.")
    run_study(plan, keep=keep, **ending)


def run_study(plan: "Plan", *, keep: bool, log: str | None, out: Path | None, dry_run: bool, form: Format | None) -> None:
    """Run what the plan asks for and the folder does not have, and report; the flags are those of `ENDING`."""
    from hardfirst.cli._progress import ShareProgress, StudyProgress
    from hardfirst.cli._results import write_report
    from hardfirst.studies import Event, Runner, counts, with_default_order
    from hardfirst.studies.kept import sentences
    from hardfirst.studies.kinds import SEARCH
    from hardfirst.studies.ranges import ranged
    from hardfirst.trackers import FolderLog
    from hardfirst.training import check_problem

    console.stderr = form is not None  # standard output is for the comparison in that form alone
    say_tables(plan.problems)
    say_recipe({problem.name: trial.recipe_of(problem).settings() | ranged(plan.recipe) for trial, problem in plan.cases})
    if dry_run:
        _dry_run(plan)
        return
    for trial, problem in plan.cases:
        check_problem(with_default_order(trial, problem).of(problem), trial.problem)
    runner = Runner(plan, out, typed(), keep=keep)
    track = FolderLog(runner.store.folder, log).update if log else lambda: None
    if runner.stale:
        say(f"The data of {runner.stale} runs has changed: they start again, and their records are set aside.")
    total = sum(sum(both) for both in counts(plan).values())
    runs = f"at most {total} runs" if plan.kind == SEARCH else f"{total} runs"
    say(f"{runs.capitalize()} in {runner.store.folder}, {runner.ended} already done.")
    try:
        with StudyProgress(console, runner) as progress:

            def tell(event: Event) -> None:
                progress(event)
                if event.what in ("finished", "diverged"):
                    track()

            runner.run(tell)
            track()  # what had ended before
        with ShareProgress(console, "Training gradient-boosted trees as a reference") as training:
            runner.measure_trees(training)
        with ShareProgress(console, "Timing a training step of each method (--no-cost skips this)") as timing:
            runner.measure_cost(timing)
    except KeyboardInterrupt:
        say(f"Stopped after {runner.ended} of {runs}. The same command resumes the study.")
        raise typer.Exit(130) from None
    if not runner.any_finished:
        say("No run has finished, so there is nothing to compare; the lines above say why.")
        raise typer.Exit(1)
    write_report(runner.store.folder, form)
    for sentence in sentences(runner.kept, "--keep-networks" if plan.kind == SEARCH else "--keep"):
        say(sentence)
    if runner.failed:
        say(f"{_failures(runner.failed)}. The same command runs them again. The exit code is 1.")
        raise typer.Exit(1)


def _failures(trials: "Sequence[StudyTrial]") -> str:
    """Which runs failed; of many, the first ones."""
    from hardfirst.cli._progress import run_name
    from hardfirst.report.text.interval_text import count_text

    names = [run_name([trial], trial.trial) for trial in trials[:_FAILURES]]
    more = f" and {len(trials) - len(names)} more" if len(trials) > len(names) else ""
    return f"{count_text(len(trials), 'run')} failed: {'; '.join(names)}{more}"


def make_plan(problems: list[str], flags: dict[str, Any]) -> "Plan":
    """The plan of these problems, or that of a YAML file, with the settings that are given as flags."""
    from hardfirst.studies import Plan

    problems = full_names(problems, flags)
    settings = {name: value for name, value in flags.items() if value is not None}
    per_gpu = settings.pop("workers_per_gpu", None)
    if "learning_rates" in settings:
        settings["learning_rates"] = settings["learning_rates"].split(",")
    files = [problem for problem in problems if problem.endswith((".yaml", ".yml"))]
    if files and len(problems) > 1:
        raise InputError(f"A study is one YAML file, or problems: give {files[0]} alone.")
    plan = Plan.read(Path(files[0]), **settings) if files else Plan(problems=problems, **settings)
    if per_gpu is None:
        return plan
    if plan.engine_spec.name != "local":
        raise InputError(
            f"--workers-per-gpu is for the engine local; got {plan.engine}. Leave it out, or use --engine local."
        )
    return Plan(**plan.settings() | {"engine": f"local:workers_per_gpu={per_gpu}"})


def _dry_run(plan: "Plan") -> None:
    from hardfirst.cli._tables import plan_table
    from hardfirst.report.text.next_step import duration
    from hardfirst.studies import KINDS, counts, estimate, places
    from hardfirst.studies.forecast import TOGETHER

    kinds = [KINDS[plan.kind](plan, case, lambda key: None) for case in plan.cases]
    console.print(plan_table(counts(plan), kinds[0].heads))
    for sentence in (sentence for kind in kinds for sentence in kind.notes()):
        say(sentence)
    say(f"The study as a file:\n\n{plan.yaml()}")
    at_once, devices = places(plan)
    where = f" on {devices}" if devices else ""
    seconds, together = estimate(plan)
    assumed = f" Runs that are trained together are counted as {TOGETHER:.0%} of single ones." if together else ""
    say(
        f"About {duration(seconds)} on this machine with {at_once} at a time{where}, estimated from a few timed training "
        f"steps. Finished runs are not subtracted.{assumed}"
    )
