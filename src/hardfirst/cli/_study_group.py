"""`hardfirst study NAME`: a command for each kind of study, made from the attributes of its class."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from hardfirst.cli._flags import (
    DATA,
    ENDING,
    MACHINE,
    RECIPE,
    Criterion,
    Epochs,
    Keep,
    LearningRate,
    LearningRates,
    ProblemName,
    Protocol,
    Seeds,
    Tune,
    grouped,
)
from hardfirst.cli._studies import make_plan, run_study

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
    types = {
        **DATA,
        **({} if choices is None else {name: Annotated[str | None, typer.Option(help=choices)]}),
        "seeds": Seeds,
        **({"tune": Tune, "learning_rates": LearningRates} if tunes else {}),
        "learning_rate": LearningRate,
        "epochs": Epochs,
        "criterion": Criterion,
        **RECIPE,
        "protocol": Protocol,
        **MACHINE,
    }

    def command(
        problem: ProblemName,
        *,
        flags: Annotated[dict[str, Any], types],
        keep: Keep = False,
        ending: Annotated[dict[str, Any], ENDING],
    ) -> None:
        run_study(make_plan([problem], {"kind": name, **flags}), keep=keep, **ending)

    command.__doc__ = summary
    return grouped(command)
