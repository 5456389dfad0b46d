"""The command line. Commands import what they need when they run, so that `--help` and completion are fast."""

import sys
import warnings
from collections.abc import Iterable
from io import TextIOWrapper
from typing import Annotated

import typer

from hardfirst import __version__
from hardfirst._text import printable
from hardfirst.cli import _ascii
from hardfirst.cli._common import console
from hardfirst.cli._search import search
from hardfirst.cli._show import data, list_, new, report, watch
from hardfirst.cli._studies import compare
from hardfirst.cli._study_group import StudyGroup
from hardfirst.cli._train import train
from hardfirst.cli._use import export, predict
from hardfirst.errors import InputError

app = typer.Typer(
    name="hardfirst",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its tables cut words at 80 columns
    help="Train multi-task models without starving the hard tasks, and find out which balancing method helps on a problem.",
)
_python_format = warnings.formatwarning
studies = typer.Typer(
    cls=StudyGroup, no_args_is_help=True, rich_markup_mode=None, help="Study the order of tasks, or the losses of one task."
)


def _examples(*commands: str) -> str:
    """The end of a command's help."""
    return "\n".join(["\b", "Examples:", *(f"  {command}" for command in commands)])


app.command(
    epilog=_examples(
        "hardfirst compare digits",
        "hardfirst compare my_problem.py --balancers equal,dtp,upgrad --tune 10",
        "hardfirst compare homes.csv --targets price:regression,sold:classification",
        "hardfirst compare study.yaml --dry-run",
    )
)(compare)
app.command(
    epilog=_examples(
        "hardfirst search digits --maximise worst",
        "hardfirst search my_problem.py --maximise hard --keep mean:0.3",
        "hardfirst search my_problem.py --maximise 0.7*depth+0.3*mean --keep mean:0.3 --keep segment:1 --dry-run",
    )
)(search)
app.add_typer(studies, name="study")
app.command(
    epilog=_examples(
        "hardfirst train digits --balancer dtp:gamma=2",
        "hardfirst train my_problem.py --epochs 20 --out runs/mine",
        "hardfirst train my_problem.py --epochs 20 --out runs/mine --resume",
    )
)(train)
app.command()(predict)
app.command()(export)
app.command(epilog=_examples("hardfirst report runs/digits", "hardfirst report runs/digits --format csv > runs.csv"))(report)
app.command(epilog=_examples("hardfirst watch runs/digits"))(watch)
app.command("list")(list_)
app.command()(data)
app.command()(new)


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Handle the options that need no command."""
    if version:
        console.print(__version__, highlight=False)
        raise typer.Exit


def main() -> None:
    """Run the command line; bad input is answered by one sentence and exit code 2."""
    _ascii.register()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal without Unicode shows a hyphen in place of a dash
            stream.reconfigure(errors=_ascii.HANDLER)
    warnings.formatwarning = _format_warning
    try:
        _check_arguments(sys.argv)
        app()
    except InputError as error:
        typer.echo(f"hardfirst: {printable(str(error))}", err=True)
        raise SystemExit(2) from None
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "hardfirst"):
            raise
        typer.echo(f'hardfirst: this needs {package}, which is not installed: pip install "hardfirst[cli]"', err=True)
        raise SystemExit(2) from None
    except OSError as error:  # of a file or folder, where the command has no message for it
        where = f", {error.filename!s:.200}" if error.filename else ""
        typer.echo(f"hardfirst: {error.strerror or error}{where}. What was written before is kept.", err=True)
        raise SystemExit(2) from None


def _format_warning(message: Warning | str, category: type[Warning], *place: object, **others: object) -> str:
    """A warning to users as a sentence; who uses a command has no use for the line of code that it comes from."""
    if issubclass(category, UserWarning):
        return f"hardfirst: {printable(str(message))}\n"
    return _python_format(message, category, *place, **others)  # type: ignore[arg-type]  # as Python calls it


def _check_arguments(arguments: Iterable[str]) -> None:
    """Raise `InputError` for an argument that is not in the terminal's encoding; records could not hold it."""
    for argument in arguments:
        if any("\ud800" <= character <= "\udfff" for character in argument):
            raise InputError(
                f"The argument {argument.encode('utf-8', 'backslashreplace').decode()!r} is not valid "
                f"{sys.getfilesystemencoding().upper()}, and records could not name it; rename the file or folder."
            )
