"""`hardfirst study NAME`: a command for each kind of study, made from the attributes of its class."""

from collections.abc import Callable
from inspect import Parameter, Signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from hardfirst.cli._common import (
    RECIPE,
    TABLE,
    Cost,
    Criterion,
    Data,
    DryRun,
    Engine,
    Epochs,
    Format,
    FormatOption,
    LearningRate,
    LearningRates,
    Out,
    ProblemName,
    Protocol,
    Seeds,
    StudyAccelerator,
    Tune,
    Vectorize,
    Workers,
    WorkersPerGpu,
    with_data,
    with_targets,
)
from hardfirst.cli._studies import make_plan, run_study
from hardfirst.cli._use import Keep, Log

if TYPE_CHECKING:
    from hardfirst.studies.kinds.base import StudyKind

_NAMES = {"order": "orders"}  # commands that are not called like their kind


class StudyGroup(TyperGroup):
    """Makes the command of a kind of study when it is used; kinds from plug-ins have commands too.

    Comparisons of balancers and searches have their commands in other modules.
    """

    def list_commands(self, ctx: Any) -> list[str]:  # of click, or of the copy that newer versions of typer carry
        from hardfirst.studies.kinds import BALANCERS, KINDS, SEARCH

        commands = {kind: command for command, kind in _NAMES.items()}
        return sorted(commands.get(kind, kind) for kind in KINDS if kind not in (BALANCERS, SEARCH))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        from hardfirst.studies.kinds import KINDS

        if cmd_name not in self.list_commands(ctx):
            return None
        name = _NAMES.get(cmd_name, cmd_name)
        # Completion has to be fast, and the class imports torch: offer the flags of all kinds instead.
        kind = None if ctx is not None and ctx.resilient_parsing else KINDS[name]
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(cmd_name)(_function(name, kind))
        return typer.main.get_command(app)


def _function(name: str, kind: "type[StudyKind] | None") -> Callable[..., None]:
    """The function behind a command; typer reads the flags from its signature."""
    choices, tunes, summary = ("", True, "") if kind is None else (kind.choices, kind.tunes, kind.summary)

    def command(
        problem: str,
        keep: bool,
        log: str | None,
        out: Path | None,
        dry_run: bool,
        form: Format | None,
        **flags: Any,
    ) -> None:
        settings = {flag: value for flag, value in flags.items() if value is not None and flag not in (*TABLE, "data")}
        named = with_data(with_targets([problem], **{flag: flags[flag] for flag in TABLE}), flags["data"])
        plan = make_plan(named, {"kind": name, **settings})
        run_study(plan, out, form, dry_run=dry_run, keep=keep, log=log)

    types = {
        "problem": ProblemName,
        **TABLE,
        "data": Data,
        **({} if choices is None else {name: Annotated[str | None, typer.Option(help=choices)]}),
        "seeds": Seeds,
        **({"tune": Tune, "learning_rates": LearningRates} if tunes else {}),
        "learning_rate": LearningRate,
        "epochs": Epochs,
        "criterion": Criterion,
        **RECIPE,
        "protocol": Protocol,
        "workers": Workers,
        "workers_per_gpu": WorkersPerGpu,
        "accelerator": StudyAccelerator,
        "engine": Engine,
        "vectorize": Vectorize,
        "cost": Cost,
        "keep": Keep,
        "log": Log,
        "out": Out,
        "dry_run": DryRun,
        "form": FormatOption,
    }
    defaults = {"problem": Parameter.empty, "keep": False, "dry_run": False}
    parameters = [
        Parameter(flag, Parameter.POSITIONAL_OR_KEYWORD, default=defaults.get(flag), annotation=annotation)
        for flag, annotation in types.items()
    ]
    command.__doc__, command.__annotations__ = summary, types
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # which inspect looks for
    return command
