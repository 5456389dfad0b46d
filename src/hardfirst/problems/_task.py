"""Tasks of a problem: their losses, KPIs and metrics."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from hardfirst.errors import InputError, number, unknown
from hardfirst.kpi import Accumulator, r2
from hardfirst.kpi._accumulators import is_accumulator, of_batch
from hardfirst.records import LossShare

Measure = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Metric:
    """A metric to report in addition to the KPI, in its usual units.

    Args:
        measure: (output, target) of all labelled examples → a 0-d tensor; or a `hardfirst.kpi.Accumulator`, such as a
            torchmetrics object.
        higher_is_better: False for errors.
        test_only: whether to compute it only on the test split, not on the validation split after every epoch.
        share: for a metric that is the share of a loss in the hardest examples, which share; the page then plots it.

    Example:
        >>> from torch.nn import functional as F
        >>> in_metres = Metric(F.l1_loss, higher_is_better=False)
    """

    measure: Measure | Accumulator
    higher_is_better: bool = True
    test_only: bool = False
    share: LossShare | None = None


@dataclass(frozen=True)
class LossOption:
    """An alternative loss for a task, for `hardfirst study losses`.

    Args:
        loss: (output, target) of the labelled examples → a 0-d tensor, as in `Task`.
        metrics: metrics to record in addition to the task's, by name.

    Example:
        >>> from hardfirst.losses import SoftmaxFocalLoss
        >>> focal = LossOption(SoftmaxFocalLoss(gamma=2.0))
    """

    loss: Measure
    metrics: Mapping[str, Metric] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """One of the network's tasks.

    Args:
        name: a non-empty string, the key of the task's target and of the network's output.
        loss: (output, target) of the labelled examples → a 0-d tensor, the mean over labels: a split's loss is the mean of
            its batches' losses, weighted by their numbers of labels. For a loss that is another mean, decorate a function
            with `hardfirst.kpi.streams`; the split's is then exact.
        kpi: (output, target) → a 0-d tensor in [0, 1], where 1 is best; it need not be differentiable. See
            `hardfirst.kpi`. Or a `hardfirst.kpi.Accumulator`, such as a torchmetrics object. None for an auxiliary task,
            whose loss is trained and recorded, but which is excluded from means over tasks, verdicts and charts of KPIs;
            methods that use KPIs treat it as not measured.
        metrics: metrics to record, by name.
        scale: a constant factor of the loss, above 0.
        kpi_from: the source of the balancer's KPI: the training "batch", or the last "validation" for a KPI that is
            meaningless on a batch (AUC, R², AP).
        losses: alternative losses, by name, for `hardfirst study losses`; the first is the study's baseline.

    Raises:
        InputError: an argument has the wrong type or is out of range.

    Example:
        >>> from functools import partial
        >>> from torch.nn import functional as F
        >>> from hardfirst.kpi import within
        >>> depth = Task("depth", loss=F.l1_loss, kpi=partial(within, threshold=0.25), scale=10.0)
    """

    name: str
    loss: Measure
    kpi: Measure | Accumulator | None
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    scale: float = 1.0
    kpi_from: Literal["batch", "validation"] = "batch"
    losses: Mapping[str, LossOption] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InputError(f"Expected a task's name to be a non-empty string; got {self.name!r}.")
        for what in ("loss", *["kpi"] * (self.kpi is not None)):
            if not (callable(getattr(self, what)) or (what == "kpi" and is_accumulator(self.kpi))):
                raise InputError(
                    f"Expected the {what} of task {self.name!r} to be a function of (output, target); got "
                    f"{getattr(self, what)!r:.80}."
                )
        number(f"scale of task {self.name}", self.scale, above=0)
        self._check_values("metrics", self.metrics, Metric)
        self._check_values("losses", self.losses, LossOption)
        if self.kpi is None and self.losses:
            raise InputError(f"The losses of task {self.name!r} are compared by its KPI; it has none.")
        if self.kpi_from not in ("batch", "validation"):
            raise InputError(f"Expected `kpi_from` to be 'batch' or 'validation'; got {self.kpi_from!r}.")

    @cached_property
    def kpi_of_batch(self) -> Measure | None:
        """The KPI as a function of one batch; an object that accumulates is reset before."""
        return None if self.kpi is None else of_batch(self.kpi)

    @property
    def kpi_name(self) -> str | None:
        """The KPI's name for reports, from that of its function or class and its options; None if it has none.

        >>> from functools import partial
        >>> from torch.nn import functional as F
        >>> from hardfirst.kpi import within
        >>> Task("depth", loss=F.l1_loss, kpi=partial(within, threshold=0.25)).kpi_name
        'within, threshold 0.25'
        """
        if self.kpi is None:
            return None
        measure, options = (self.kpi.func, self.kpi.keywords) if isinstance(self.kpi, partial) else (self.kpi, {})
        name = getattr(measure, "__name__", type(measure).__name__)
        words = [name, *(f"{option} {value}" for option, value in options.items() if isinstance(value, int | float | str))]
        return None if name == "<lambda>" else ", ".join(words).replace("_", " ").strip()

    @property
    def loss_shares(self) -> dict[str, LossShare]:
        """The metrics that are shares of a loss, by name."""
        return {name: metric.share for name, metric in self.metrics.items() if metric.share is not None}

    def _check_values(self, what: str, values: object, kind: type) -> None:
        if not isinstance(values, Mapping):
            raise InputError(f"Expected the {what} of task {self.name!r} by name, in a dict; got {values!r:.80}.")
        for name, value in values.items():
            if not isinstance(value, kind):
                raise InputError(
                    f"Expected {name!r} among the {what} of task {self.name!r} to be a {kind.__name__}; got "
                    f"{type(value).__name__}. Write {kind.__name__}(function)."
                )

    def with_loss(self, loss: str) -> "Task":
        """Return the task with another of its losses.

        Args:
            loss: a name in `losses`.

        Raises:
            InputError: the task has no such loss.
        """
        if loss not in self.losses:
            raise unknown(f"loss of task {self.name!r}:", loss, self.losses)
        option = self.losses[loss]
        return replace(self, loss=option.loss, metrics={**self.metrics, **option.metrics})


def standardised_task(name: str, *, deviation: float, error: str) -> Task:
    """Return a regression of standardised values, measured on the validation split by R², and by its mean absolute error.

    Args:
        name: the task's.
        deviation: the standard deviation, in the unit of the error.
        error: what the error is called.
    """
    mean_error = Metric(partial(absolute_error, deviation=deviation), higher_is_better=False)
    return Task(name, loss=F.mse_loss, kpi=r2, metrics={error: mean_error}, kpi_from="validation")


def absolute_error(output: Tensor, target: Tensor, *, deviation: float) -> Tensor:
    """Return the mean absolute error of standardised values, in the unit of `deviation`."""
    return deviation * F.l1_loss(output, target)
