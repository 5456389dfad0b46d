"""Problems: data, a network and tasks."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from torch import nn

from hardfirst._spec import parse_options
from hardfirst.errors import InputError, check_names, number, unknown, whole
from hardfirst.networks import NETWORKS, NetworkSpec, Parts
from hardfirst.problems._data import Split
from hardfirst.problems._published import Published
from hardfirst.problems._sources import Source
from hardfirst.problems._task import Task
from hardfirst.recipes import Recipe
from hardfirst.records.names import OWN

if TYPE_CHECKING:
    from hardfirst.problems.tables import TableTransform

SAMPLING = ("proportional", "round_robin", "temperature")


@dataclass(frozen=True)
class Splits:
    """Training, validation and test data sets, whose items are `(inputs, {task: target})`.

    A missing label is a NaN target, the class -100, or an absent key. A split may also be several data sets by name, for
    example one per task, whose inputs may differ in shape if the network accepts them; each batch comes from one of them.

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
    """Data, a network and tasks: everything that a comparison of balancers needs.

    Args:
        name: the name in records and on pages.
        tasks: at least one `Task`.
        network: returns a new network, whose output is a dict with one entry per task.
        data: returns the three splits, the same every time. Called once per run. Random numbers that it draws from torch,
            numpy and `random` are the same in every run; its own generators need a fixed seed.
        batch_size: the number of examples per training step.
        epochs: the number of passes over the training split; the user may change it.
        learning_rate: the learning rate of the optimizer, the highest if a schedule changes it; the user may change it.
        description: one sentence for `hardfirst list problems` and the page.
        networks: functions that return alternative networks, by name; `network` is called "own". Parameters of such a
            function are options, as in "deeplab:weights=FILE".
        parts: returns the parts from which every network in `hardfirst.networks.NETWORKS` is built; None if only the
            problem's own networks can be used. Called once per network.
        sampling: the order of batches if the training split is several data sets: see `hardfirst.training.epoch_order`.
        temperature: the temperature of that sampling, at least 1; 1 is proportional to size, infinity is uniform.
        source: the files behind the data, for `hardfirst data`; None if nothing needs to be installed.
        sample_page: writes a page of samples with their targets to a path, for `hardfirst data NAME --page`.
        recipe: the optimizer, its schedule, and how batches are loaded; the user may change each part.
        inputs_from: returns the inputs of new examples in a file, as the network takes them, for `hardfirst predict`; None
            if there is no such file.
        transform: of a table, what turns its rows into inputs and outputs into predictions; it is saved with each run.
        published: how the published figures were measured, for `--protocol published`; None if there are none.
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
    sample_page: Callable[[Path], object] | None = None
    recipe: Recipe = Recipe()  # noqa: RUF009  # frozen
    published: Published | None = None
    inputs_from: Callable[[Path], object] | None = None
    transform: "TableTransform | None" = None

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
        if not self.measured:
            raise InputError(
                f"Expected a task of problem {self.name!r} to have a KPI; got {', '.join(names)} with kpi=None."
            )
        for what in ("network", "data", *["parts"] * (self.parts is not None)):
            self._check_takes_nothing(f"`{what}`", getattr(self, what))
        if not isinstance(self.networks, Mapping):
            raise InputError(f"Expected `networks` of problem {self.name!r} by name, in a dict; got {self.networks!r:.80}.")
        for name, network in self.networks.items():
            self._check_takes_nothing(f"network {name!r}", network)
        if OWN in self.networks:
            raise InputError(f"{OWN!r} is the name of `network` of problem {self.name!r}. Give the other another name.")
        if self.sampling not in SAMPLING:
            raise unknown("sampling", self.sampling, SAMPLING)
        number("temperature", self.temperature, least=1, finite=False)
        whole("batch_size", self.batch_size, least=1)
        whole("epochs", self.epochs, least=1)
        number("learning_rate", self.learning_rate, above=0)
        if not isinstance(self.recipe, Recipe):
            raise InputError(
                f"Expected `recipe` of problem {self.name!r} to be a hardfirst.recipes.Recipe; got {self.recipe!r:.80}."
            )
        if self.published is not None:
            self._check_published(self.published)

    def _check_published(self, published: object) -> None:
        if not isinstance(published, Published):
            raise InputError(
                f"Expected `published` of problem {self.name!r} to be a hardfirst.problems.Published; got {published!r:.80}."
            )
        self._check_takes_nothing("`published.data`", published.data)
        published.check(self)

    def _check_takes_nothing(self, what: str, function: object) -> None:
        try:
            signature(function).bind()  # type: ignore[arg-type]  # raises TypeError unless it is callable
        except TypeError as error:
            got = f"one with a {str(error).partition('a ')[2]}" if callable(function) else type(function).__name__
            raise InputError(
                f"Expected {what} of problem {self.name!r} to be a function without arguments; got {got}."
            ) from None
        except ValueError:  # a function written in C has no signature
            return

    @property
    def task_names(self) -> tuple[str, ...]:
        """The tasks' names, in order."""
        return tuple(task.name for task in self.tasks)

    @property
    def measured(self) -> tuple[str, ...]:
        """The names of the tasks that have a KPI, in order."""
        return tuple(task.name for task in self.tasks if task.kpi is not None)

    @property
    def kpi_names(self) -> dict[str, str]:
        """By task, the names of those KPIs that have one."""
        return {task.name: name for task in self.tasks if (name := task.kpi_name)}

    @property
    def auxiliary(self) -> tuple[str, ...]:
        """The names of the tasks that have no KPI, in order."""
        return tuple(task.name for task in self.tasks if task.kpi is None)

    @property
    def loss_study_task(self) -> Task:
        """The task whose losses `hardfirst study losses` compares.

        Raises:
            InputError: no task has alternative losses, or more than one has.
        """
        tasks = [task for task in self.tasks if task.losses]
        if len(tasks) != 1:
            which = f"{', '.join(task.name for task in tasks)} all have" if tasks else "no task has"
            raise InputError(f"Expected one task of problem {self.name!r} with losses to choose from; {which}.")
        return tasks[0]

    def variant(self, *, network: str = OWN, only: str | None = None, loss: str | None = None) -> "Problem":
        """Return the problem with another network, or reduced to one task; the network keeps its shape.

        Args:
            network: a name in `networks`, or a spec such as "task_hierarchy:order=a+b" if the problem has parts.
            only: the name of the only task to keep; None keeps all.
            loss: an alternative loss of that task.

        Raises:
            InputError: the problem has no such network, task or loss.
        """
        if only is not None:
            check_names("task", [only], self.task_names)
        tasks = tuple(task for task in self.tasks if only in (None, task.name))
        return replace(
            self,
            network=self._network(network),
            tasks=tasks if loss is None else tuple(task.with_loss(loss) for task in tasks),
            published=self.published and self.published.of_tasks(task.name for task in tasks),
        )

    def network_spec(self, name: str) -> NetworkSpec | None:
        """Parse the name of a network that is built from `parts`; return None for the problem's own networks.

        Raises:
            InputError: there is no such network, or it has no such option.
        """
        if self._own_network(name) is not None:
            return None
        names = [OWN, *self.networks, *(NETWORKS if self.parts is not None else ())]
        if name.partition(":")[0] not in names:
            raise unknown(f"network of problem {self.name!r}:", name, names)
        return NetworkSpec.parse(name)

    def _network(self, name: str) -> Callable[[], nn.Module]:
        if (own := self._own_network(name)) is not None:
            return own
        spec = self.network_spec(name)
        assert spec is not None
        return lambda: spec.build(self._parts())

    def _own_network(self, name: str) -> Callable[[], nn.Module] | None:
        """Return the problem's own network of this name, with the options after a colon; None if there is no such network.

        Raises:
            InputError: the network has no such option.
        """
        own = {OWN: self.network, **self.networks}
        if name in own:
            return own[name]
        base = name.partition(":")[0]
        if base not in own or base in NETWORKS:  # options of a name in NETWORKS belong to the network built from parts
            return None
        _, options = parse_options(name)
        known = signature(own[base]).parameters
        for option in options:
            if option not in known:
                raise unknown(f"option of network {base!r}:", option, known)
        return partial(own[base], **options)

    def _parts(self) -> Parts:
        assert self.parts is not None
        parts = self.parts()
        if not isinstance(parts, Parts):
            raise InputError(
                f"Expected `parts` of problem {self.name!r} to return Parts; it returned {type(parts).__name__}."
            )
        return parts
