"""The commands that use a trained network."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hardfirst.cli._common import say
from hardfirst.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


class ExportFormat(StrEnum):
    """The formats in which a network can be exported."""

    torch_export = "torch-export"
    onnx = "onnx"


Run = Annotated[
    Path,
    typer.Argument(
        help="The folder of `hardfirst train`, or a file in models/ that `hardfirst compare --keep` or `hardfirst search "
        "--keep-networks` leaves."
    ),
]
ProblemOption = Annotated[
    str | None, typer.Option("--problem", help="The problem's file, if it has changed or is elsewhere than in training.")
]


def predict(
    run: Run,
    file: Annotated[Path, typer.Argument(help="New examples: a table with the columns of the one that was trained on.")],
    out: Annotated[Path, typer.Option(help="The CSV file to write.")] = Path("predictions.csv"),
    problem: ProblemOption = None,
) -> None:
    """Predict new examples with a trained network.

    Classes come with their probabilities, and numbers in the unit of their column.
    """
    from hardfirst.records import write_atomically
    from hardfirst.trained import load

    if out.resolve() == file.resolve():
        raise InputError(f"{file} holds the new examples; choose another --out for the predictions.")
    predicted = load(run, problem=problem).predict(file)
    text = _csv(predicted) if isinstance(predicted, dict) else predicted.to_csv(index=False)
    write_atomically(out, text)
    say(f"The predictions of {text.count(chr(10)) - 1} examples: {out}")


def export(
    run: Run,
    form: Annotated[ExportFormat, typer.Option("--format", help="The format of the file.")] = ExportFormat.torch_export,
    out: Annotated[
        Path | None, typer.Option(help="The file to write. Default: model.pt2 or model.onnx in this folder.")
    ] = None,
    problem: ProblemOption = None,
) -> None:
    """Export a trained network for other programs.

    The command checks that the file computes the same as the network.
    """
    from hardfirst import trained

    default = Path("model.pt2" if form is ExportFormat.torch_export else "model.onnx")
    path = trained.export(trained.load(run, problem=problem), out or default, form.value)
    say(f"The network as {form.value}, with the outputs of the original on a batch: {path}")


def _csv(outputs: "dict[str, Tensor]") -> str:
    """Outputs by task as the text of a CSV table, a column for each number of an example."""
    import csv
    import io

    names, columns = [], []
    for task, output in outputs.items():
        if output.dim() > 2:
            raise InputError(
                f"The output of task {task!r} for an example is {list(output.shape[1:])} numbers, which is no row of a "
                "table. Use Python: hardfirst.load(RUN).predict(FILE)."
            )
        table = output.view(len(output), -1)
        names += [task] if output.dim() == 1 else [f"{task}.{index}" for index in range(table.shape[1])]
        columns += table.float().T.tolist()
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerows([names, *zip(*columns, strict=True)])
    return file.getvalue()
