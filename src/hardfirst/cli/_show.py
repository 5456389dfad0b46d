"""Commands that show balancers, networks, problems and results."""

from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hardfirst._text import printable
from hardfirst.cli import _completion
from hardfirst.cli._common import console, say, with_data
from hardfirst.cli._flags import Data, FormatOption
from hardfirst.errors import InputError, writing


class Listed(StrEnum):
    """What `hardfirst list` can list."""

    balancers = "balancers"
    problems = "problems"
    networks = "networks"
    optimizers = "optimizers"
    schedules = "schedules"


def _of_what(context: typer.Context, incomplete: str) -> list[str]:
    what = str(context.params.get("what"))
    return _completion.one(getattr(_completion, what))(incomplete) if what in set(Listed) else []


def report(
    folder: Annotated[Path, typer.Argument(help="The folder of a study or a run.")],
    form: FormatOption = None,
) -> None:
    """Write a study's page again and print its results.

    Only the folder's records are read; nothing is trained.
    """
    from hardfirst.cli._results import write_report

    console.stderr = form is not None
    write_report(folder, form)


def watch(
    folder: Annotated[Path, typer.Argument(help="The folder of a study or of runs; it need not exist yet.")],
    port: Annotated[int, typer.Option(help="The port on 127.0.0.1; 0 for any free port.")] = 8400,
) -> None:
    """Show a study in the browser while it runs.

    The page updates whenever a run ends, and says how many are left and about how long they take. Ctrl-C ends this command,
    not the study.
    """
    from hardfirst.report.server import serve

    with serve(folder, port=port) as (server, address):
        say(f"Serving {folder} at {address}")
        say("Ctrl-C ends this command; the study continues.")
        if not folder.exists():
            say("The folder does not exist yet; the page appears when a study begins there.")
        with suppress(KeyboardInterrupt):
            server.serve_forever()


def list_(
    what: Annotated[Listed, typer.Argument(help="What to list.")] = Listed.balancers,
    name: Annotated[
        str | None,
        typer.Argument(
            help="Show all about this one; path/to/file.py:ClassName is a balancer in a file.",
            autocompletion=_of_what,
        ),
    ] = None,
) -> None:
    """List balancers, problems, networks or parts of recipes.

    With a name, show all about one of them.
    """
    from hardfirst.cli import _about, _catalogue

    if name is not None:
        say(getattr(_about, what.removesuffix("s"))(name, console.width))
        return
    say(getattr(_catalogue, what.value)(console.width))
    if what is Listed.networks:
        say(_catalogue.own_networks())
    for sentence in _catalogue.missing_problems() if what is Listed.problems else ():
        say(sentence)


def data(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Check the files of this problem: their checksums, or the folder that --data names.",
            autocompletion=_completion.one(_completion.problems),
        ),
    ] = None,
    page: Annotated[Path | None, typer.Option(help="Write a page of samples to this file, if the problem has one.")] = None,
    folder: Data = None,
) -> None:
    """List the problems' data, or check it.

    The list says what is installed, how to install the rest, and each size, licence and source.
    """
    from hardfirst.cli import _catalogue

    if name is not None:
        (name,) = with_data([name], folder)
        try:
            say(_catalogue.check_data(name))
        except InputError as error:
            if folder is None:
                raise
            typer.echo(f"hardfirst: {printable(str(error))}", err=True)  # the check was made, and its answer is no
            raise typer.Exit(1) from None
        if page is not None:
            _catalogue.write_samples(name, page)
            say(f"Samples with their targets: {page}")
        return
    if folder is not None:
        raise InputError("--data needs a problem: hardfirst data nyuv2 --data DIR")
    if page is not None:
        raise InputError("--page needs a problem: hardfirst data scenes:small --page samples.html")
    say(_catalogue.data(console.width))
    for sentence in _catalogue.to_install():
        say(sentence)


def new(
    file: Annotated[Path, typer.Argument(help="The file to write, such as my_problem.py.")],
) -> None:
    """Write a commented problem file to edit.

    It runs without changes.
    """
    from importlib import resources

    if file.suffix != ".py":
        raise InputError(f"A problem is a Python file: name it {file.with_suffix('.py').name}.")
    if file.exists():
        raise InputError(f"{file} already exists and is not changed; choose another name.")
    text = resources.files("hardfirst.problems").joinpath("_template.py").read_text(encoding="utf-8")
    with writing(file):
        file.write_text(text, encoding="utf-8")
    say(f"Wrote {file}. To run it:\n  hardfirst compare {file} --seeds 3 --epochs 5")
