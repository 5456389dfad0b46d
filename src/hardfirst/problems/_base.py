"""What a problem is: data, a network and tasks."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from inspect import signature
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from hardfirst.errors import InputError, check_names, number, unknown, whole
from hardfirst.networks import NETWORKS, NetworkSpec, Parts
from hardfirst.problems._data import Split
from hardfirst.problems._sources import Source
from hardfirst.records import LossShare
from hardfirst.records.names import OWN

Measure = Callable[[Tensor, Tensor], Tensor]

SAMPLING = ("proportional", "round_robin", "temperature")


@dataclass(frozen=True)
class Metric:
    """A figure to report beside the KPI, in the field's own units.

    Args:
        measure: (output, target) of all labelled examples → a 0-d tensor.
        higher_is_better: False for errors.
        test_only: whether it is left out on the validation split, which is gone through after every epoch.
        share: for a metric that is the share of a loss in the hardest examples, which share; the page then draws it.

    Example:
        >>> from torch.nn import functional as F
        >>> in_metres = Metric(F.l1_loss, higher_is_better=False)
    """

    measure: Measure
    higher_is_better: bool = True
    test_only: bool = False
    share: LossShare | None = None


@dataclass(frozen=True)
class Choice:
    """Another loss that a task may be trained with, and figures about it.

    Args:
        loss: as a `Task` has it.
        metrics: further figures for the record, beside the task's own.

    Example:
        >>> from hardfirst.losses import SoftmaxFocalLoss
        >>> focal = Choice(SoftmaxFocalLoss(gamma=2.0))
    """

    loss: Measure
    metrics: Mapping[str, Metric] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """One thing the network is to do.

    Args:
        name: a non-empty string, the key of the task's target and of the network's output.
        loss: (output, target) of the labelled examples → a 0-d tensor.
        kpi: (output, target) → a 0-d tensor in [0, 1], 1 is best; it need not be differentiable. See `hardfirst.kpi`.
        metrics: further figures for the record, by name.
        scale: a hand-set factor on the loss.
        kpi_from: where the balancer's KPI comes from: the training "batch", or, for measures that mean nothing on a
            batch (AUC, R², AP), the last "validation".
        losses: losses to choose from instead, by name, for `hardfirst study losses`; the first is the baseline there.

    Raises:
        InputError: one of these is not what it has to be.

    Example:
        >>> from functools import partial
        >>> from torch.nn import functional as F
        >>> from hardfirst.kpi import within
        >>> depth = Task("depth", loss=F.l1_loss, kpi=partial(within, threshold=0.25), scale=10.0)
    """

    name: str
    loss: Measure
    kpi: Measure
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    scale: float = 1.0
    kpi_from: Literal["batch", "validation"] = "batch"
    losses: Mapping[str, Choice] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InputError(f"Expected a task's name to be a non-empty string; got {self.name!r}.")
        for what in ("loss", "kpi"):
            if not callable(getattr(self, what)):
                raise InputError(
                    f"Expected the {what} of task {self.name!r} to be a function of (output, target); got "
                    f"{getattr(self, what)!r:.80}."
                )
        number(f"scale of task {self.name}", self.scale, above=0)
        for what, known, kind in (("metrics", self.metrics, Metric), ("losses", self.losses, Choice)):
            if not isinstance(known, Mapping):
                raise InputError(f"Expected the {what} of task {self.name!r} by name, in a dict; got {known!r:.80}.")
            for name, one in known.items():
                if not isinstance(one, kind):
                    raise InputError(
                        f"Expected {name!r} among the {what} of task {self.name!r} to be a {kind.__name__}; got "
                        f"{type(one).__name__}. Write {kind.__name__}(function)."
                    )
        if self.kpi_from not in ("batch", "validation"):
            raise InputError(f"Expected `kpi_from` to be 'batch' or 'validation'; got {self.kpi_from!r}.")

    @property
    def loss_shares(self) -> dict[str, LossShare]:
        """The metrics that are shares of a loss, by name."""
        return {name: metric.share for name, metric in self.metrics.items() if metric.share is not None}

    def choosing(self, loss: str) -> "Task":
        """The task with another of its losses.

        Raises:
            InputError: it has no such loss.
        """
        if loss not in self.losses:
            raise unknown(f"loss of task {self.name!r}:", loss, self.losses)
        choice = self.losses[loss]
        return replace(self, loss=choice.loss, metrics={**self.metrics, **choice.metrics})


@dataclass(frozen=True)
class Splits:
    """Three data sets whose items are `(inputs, {task: target})`.

    A label that is missing is a NaN target, the class -100, or an absent key. A split may also be several data sets by name,
    one per task for instance, with inputs of different shapes if the network takes them; each batch is of one of them.

    Example:
        >>> import torch
        >>> from hardfirst.problems import TensorTable
        >>> tables = [TensorTable(torch.rand(n, 8), {"depth": torch.rand(n)}) for n in (60, 20, 20)]
        >>> splits = Splits(*tables)
        >>> len(splits.train)
        60
    """

    train: Split
    validation: Split
    test: Split


@dataclass(frozen=True)
class Problem:
    """Data, a network and tasks: all that a comparison of balancers needs.

    Args:
        name: how records and pages call it.
        tasks: at least one `Task`.
        network: makes a fresh network; its output is a dict with one entry per task.
        data: loads the three splits. Called once per process; the same every time.
        batch_size: examples per training step.
        epochs: passes over the training split, unless the user says otherwise.
        learning_rate: Adam's, unless the user says otherwise.
        description: one sentence for `hardfirst list problems` and the page.
        networks: further networks to choose from, by name; the one above is called "own".
        parts: makes what every network in `hardfirst.networks.NETWORKS` can be made of; None where there are none but the
            networks above. Called once a network.
        sampling: how batches are taken in turn where the training split is several data sets: see
            `hardfirst.training.epoch_order`.
        temperature: of that sampling, at least 1: 1 is proportional to size, infinity even.
        source: where the data comes from, for `hardfirst data`; None where it needs no installing.
        sheet: writes a page of samples with their targets to a path, for `hardfirst data NAME --page`; None where there is
            no such page.
    """

    name: str
    tasks: tuple[Task, ...]
    network: Callable[[], nn.Module]
    data: Callable[[], Splits]
    batch_size: int = 64
    epochs: int = 10
    learning_rate: float = 1e-3
    description: str = ""
    networks: Mapping[str, Callable[[], nn.Module]] = field(default_factory=dict)
    parts: Callable[[], Parts] | None = None
    sampling: Literal["proportional", "round_robin", "temperature"] = "proportional"
    temperature: float = 2.0
    source: Source | None = None
    sheet: Callable[[Path], object] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or not self.name.isprintable():
            raise InputError(
                f"Expected a problem's name to be a non-empty string without control characters; got {self.name!r}."
            )
        object.__setattr__(self, "tasks", tuple(self.tasks) if isinstance(self.tasks, Iterable) else ())
        names = [task.name for task in self.tasks if isinstance(task, Task)]
        if not names or len(names) != len(self.tasks):
            raise InputError(
                f"Expected `tasks` of problem {self.name!r} to be one or more Task objects; got {self.tasks!r:.80}."
            )
        if len(set(names)) != len(names):
            raise InputError(f"Expected the task names of problem {self.name!r} to be distinct; got {', '.join(names)}.")
        for what in ("network", "data", *["parts"] * (self.parts is not None)):
            self._check_maker(f"`{what}`", getattr(self, what))
        if not isinstance(self.networks, Mapping):
            raise InputError(f"Expected `networks` of problem {self.name!r} by name, in a dict; got {self.networks!r:.80}.")
        for name, make in self.networks.items():
            self._check_maker(f"network {name!r}", make)
        if OWN in self.networks:
            raise InputError(f"{OWN!r} is what `network` of problem {self.name!r} is called; give the other another name.")
        if self.sampling not in SAMPLING:
            raise unknown("sampling", self.sampling, SAMPLING)
        number("temperature", self.temperature, least=1, finite=False)
        whole("batch_size", self.batch_size, least=1)
        whole("epochs", self.epochs, least=1)
        number("learning_rate", self.learning_rate, above=0)

    def _check_maker(self, what: str, make: object) -> None:
        try:
            signature(make).bind()  # type: ignore[arg-type]  # which is what is looked at
        except TypeError as error:
            found = f"one with a {str(error).partition('a ')[2]}" if callable(make) else type(make).__name__
            raise InputError(
                f"Expected {what} of problem {self.name!r} to be a function without arguments; got {found}."
            ) from None
        except ValueError:  # a function of C, which does not say
            return

    @property
    def task_names(self) -> tuple[str, ...]:
        """The tasks' names, in order."""
        return tuple(task.name for task in self.tasks)

    @property
    def choosing(self) -> Task:
        """The task that has losses to choose from.

        Raises:
            InputError: there is none, or more than one.
        """
        found = [task for task in self.tasks if task.losses]
        if len(found) != 1:
            several = f"{', '.join(task.name for task in found)} all have" if found else "no task has"
            raise InputError(f"Expected one task of problem {self.name!r} with losses to choose from; {several}.")
        return found[0]

    def variant(self, *, network: str = OWN, only: str | None = None, loss: str | None = None) -> "Problem":
        """The problem with another of its networks, or reduced to one of its tasks; the network keeps its shape.

        Args:
            network: its name, or a spec such as "task_hierarchy:order=a+b" where the problem has parts.
            only: the one task; None for all.
            loss: another loss of that one task.

        Raises:
            InputError: there is no such network, task or loss.
        """
        if only is not None:
            check_names("task", [only], self.task_names)
        tasks = tuple(task for task in self.tasks if only in (None, task.name))
        return replace(
            self,
            network=self._network(network),
            tasks=tasks if loss is None else tuple(task.choosing(loss) for task in tasks),
        )

    def network_spec(self, name: str) -> NetworkSpec | None:
        """The network as a spec; None for those that the problem itself has.

        Raises:
            InputError: there is no such network, or it has no such option.
        """
        if name == OWN or name in self.networks:
            return None
        known = [OWN, *self.networks, *(NETWORKS if self.parts is not None else ())]
        if name.partition(":")[0] not in known:
            raise unknown(f"network of problem {self.name!r}:", name, known)
        return NetworkSpec.parse(name)

    def _network(self, name: str) -> Callable[[], nn.Module]:
        if (spec := self.network_spec(name)) is None:
            return self.network if name == OWN else self.networks[name]
        return lambda: spec.build(self._parts())

    def _parts(self) -> Parts:
        assert self.parts is not None
        found = self.parts()
        if not isinstance(found, Parts):
            raise InputError(
                f"Expected `parts` of problem {self.name!r} to return Parts; it returned {type(found).__name__}."
            )
        return found
