"""The command that searches for the best method of a problem."""

from typing import Annotated, Any

import typer

from hardfirst.cli import _completion
from hardfirst.cli._flags import DATA, ENDING, MACHINE, RECIPE, Epochs, LearningRate, ProblemName, grouped
from hardfirst.cli._studies import make_plan, run_study
from hardfirst.errors import InputError

_FLAGS = {
    **DATA,
    "maximise": Annotated[
        str | None,
        typer.Option(
            help="The objective: mean over tasks, worst task, hard for the mean over the hard tasks, TASK,TASK for the mean "
            "over these, or a sum such as 0.7*TASK+0.3*mean."
        ),
    ],
    "keep": Annotated[
        list[str] | None,
        typer.Option(
            help="What may not be lost, as an objective and the points below equal weights that are accepted, such as "
            "mean:0.3 or TASK:1.0. Give it several times for several. Default: mean:0.5, unless the mean is maximised."
        ),
    ],
    "candidates": Annotated[
        str | None,
        typer.Option(
            help="The methods to try, joined by commas, such as dtp:uniform=0.8,gradnorm; equal weights are always "
            "among them. Default: 12, which --dry-run lists.",
            autocompletion=_completion.several(_completion.balancers),
        ),
    ],
    "network": Annotated[
        str | None,
        typer.Option(
            help="The network (see `hardfirst list networks`). Default: own.",
            autocompletion=_completion.one(_completion.networks, "own"),
        ),
    ],
    "seeds": Annotated[
        int | None, typer.Option(help="Fresh seeds that judge the winner. Default: 7, the fewest for a recommendation.")
    ],
    "learning_rates": Annotated[
        str | None,
        typer.Option(
            help="The lowest and highest of three learning rates, such as 1e-4,1e-2, of which equal weights choose one for "
            "all. Default: the problem's, a third and three times it; while the best is the last one tried, up to two more."
        ),
    ],
    "learning_rate": LearningRate,
    "epochs": Epochs,
    **RECIPE,
    **MACHINE,
}


@grouped
def search(
    problem: ProblemName,
    *,
    flags: Annotated[dict[str, Any], _FLAGS],
    keep_networks: Annotated[
        bool,
        typer.Option(
            "--keep-networks", help="Keep the trained network of each method's best fresh run, for `hardfirst predict`."
        ),
    ] = False,
    ending: Annotated[dict[str, Any], ENDING],
) -> None:
    """Search for the method that raises an objective without losing what is to be kept.

    Candidates are compared with equal weights on validation data, in rungs with more seeds for fewer candidates. The winner
    is then compared with equal weights and DTP on fresh seeds and the test split. It is recommended only if these confirm
    its gain; otherwise the advice is to keep equal weights. A search is on one problem.

    The same command resumes a search that was stopped. Exit codes are those of `hardfirst compare`.
    """
    maximise, network = flags.pop("maximise"), flags.pop("network")
    from_file = problem.endswith((".yaml", ".yml"))
    if not maximise and not from_file:
        raise InputError(
            "Give what to maximise: --maximise mean, worst, hard, TASK,TASK, or a sum such as 0.7*TASK+0.3*mean."
        )
    plan = make_plan([problem], {**flags, "search": maximise, "networks": network, "keep": flags["keep"] or None})
    if plan.kind != "search":
        raise InputError(f"{problem} plans no search: run it with `hardfirst compare {problem}`, or give --maximise.")
    run_study(plan, keep=keep_networks, **ending)
