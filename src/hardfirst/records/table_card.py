"""How a table was read, as study.json holds it."""

from pydantic import BaseModel


class SplitsCard(BaseModel):
    """How the rows were split, in words, and how many each split has."""

    how: str
    train: int
    validation: int
    test: int


class InputCard(BaseModel):
    """An input column: its name, its kind ("number", "words" or "date") and the number of its inputs."""

    name: str
    kind: str
    inputs: int


class LeftOutCard(BaseModel):
    """A column that is no input, and why."""

    name: str
    reason: str


class MajorityCard(BaseModel):
    """The most frequent class in training, and its share of the test labels."""

    label: str
    share: float


class TargetCard(BaseModel):
    """A column to predict.

    Args:
        name: the column's and the task's.
        kind: "regression", "classification" or "ordinal".
        guessed: whether the kind was guessed.
        kpi: the KPI, in words.
        why: why it is that.
        labels: by split, how many rows have a label.
        classes: in order; none of a regression.
        majority: of classes.
        mean: of the training labels of a regression, or of their logarithms.
        deviation: their standard deviation.
        log: whether the logarithm is learned.
        weights: "balanced" for classes that count alike in the loss, or "".
    """

    name: str
    kind: str
    guessed: bool
    kpi: str
    why: str
    labels: dict[str, int]
    classes: list[str] = []
    majority: MajorityCard | None = None
    mean: float = 0.0
    deviation: float = 1.0
    log: bool = False
    weights: str = ""

    @property
    def one_answer(self) -> str:
        """What an answer that is the same for all rows reaches."""
        if self.majority is None:
            log = " of the logarithm" if self.log else ""
            return f"mean{log} {self.mean:.4g}, off by {self.deviation:.4g}"
        return f"{self.majority.label!r}, right in {self.majority.share:.1%} of test; {len(self.classes)} classes"


class TableCard(BaseModel):
    """How a table was read.

    Args:
        file: its name.
        format: in words.
        rows: of all files.
        splits: which rows train, validate and test.
        inputs: the columns that are inputs.
        width: the number of inputs.
        left_out: the columns that are neither inputs nor targets.
        targets: the columns to predict.
        notes: sentences about what was guessed or is in doubt.
        epochs: the default number of passes over the training rows; 0 in cards of older versions.
        steps: the training steps of an epoch.
    """

    file: str
    format: str
    rows: int
    splits: SplitsCard
    inputs: list[InputCard]
    width: int
    left_out: list[LeftOutCard]
    targets: list[TargetCard]
    notes: list[str]
    epochs: int = 0
    steps: int = 0

    @property
    def training(self) -> str:
        """How long networks are trained by default, as a sentence; "" if the card does not say it."""
        return f"Default training: {self.epochs} epochs of {self.steps:,} steps." if self.epochs else ""
