"""Progressive layered extraction: levels of shared experts and of experts for each task."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from hardfirst.errors import InputError, whole
from hardfirst.networks._base import Network, by_task, call, check_tasks, features, named, same_shapes
from hardfirst.networks._parts import Parts, fitted
from hardfirst.networks.layers import Gate
from hardfirst.networks.mmoe import mixture


class PLE(Network):
    r"""Levels of experts, some shared and some for one task, mixed by gates: what is shared and what is not, made explicit.

    At level l task t goes on with x_t ← Σ_i softmax(W_t x_t)_i E_i, over its own experts and the shared ones; what is shared
    goes on with a mixture of all experts, those of all tasks. Own experts read x_t, shared experts the shared features. With
    a single level it is customized gate control, CGC.

    When to use: where MMoE is, and one task gains by sharing what another loses: a task keeps experts that no other task can
    pull away.

    Cost: at each level the experts of all tasks and the shared ones, and a gate for each task and one that is shared: more,
    and narrower, experts than MMoE where there are many tasks.

    Args:
        stem: makes the features [batch, channels, ...] that the first level reads, from the inputs.
        levels: of experts, at least one; the last has no shared gate, all others have.
        heads: by task, makes its output from its last mixture: the paper's tower. Any non-empty string is a task's name.

    Raises:
        InputError: no heads or levels, a level for other tasks, or the last level and only it has to be `last`; in use, if
            an expert, gate or head does not fit what comes before it, or experts of a level differ in shape.

    Example:
        >>> import torch
        >>> def experts(before, count):
        ...     return [nn.Sequential(nn.Linear(before, 16), nn.ReLU()) for _ in range(count)]
        >>> levels = [
        ...     CGC({"digit": experts(64, 2), "bright": experts(64, 1)}, experts(64, 1), channels=64),
        ...     CGC({"digit": experts(16, 2), "bright": experts(16, 1)}, experts(16, 1), channels=16, last=True),
        ... ]
        >>> network = PLE(nn.Flatten(), levels, {"digit": nn.Linear(16, 10), "bright": nn.Linear(16, 1)})
        >>> {task: tuple(output.shape) for task, output in network(torch.zeros(5, 8, 8)).items()}
        {'digit': (5, 10), 'bright': (5, 1)}

    Note:
        Shared parameters are those of the stem, of all shared experts and gates, and of the tasks' own experts below the
        last level, since the shared gate hands those on to all tasks; the tasks' gates below the last level but one are
        shared for the same reason. In the paper examples are vectors; in sequences and images each place has gates of its
        own. Shared gates hold the tasks' experts in the alphabetical order of the tasks, so that a checkpoint does not
        depend on the order in which they are given.

    References:
        Tang et al., Progressive Layered Extraction (PLE): A Novel Multi-Task Learning Model for Personalized
        Recommendations, RecSys 2020, sections 4.1 and 4.2.
    """

    def __init__(self, stem: nn.Module, levels: Sequence["CGC"], heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.tasks = named(heads)
        if not levels:
            raise InputError("Expected `levels` to have at least one level; got none.")
        for place, level in enumerate(levels, 1):
            check_tasks(f"specific` of level {place} in `levels", level.tasks, heads)
            if (level.common is None) != (place == len(levels)):
                raise InputError(f"Expected level {len(levels)} alone to have `last=True`; level {place} is not so.")
        self.stem = stem
        self.levels = nn.ModuleList(levels)
        self.heads = by_task(heads)

    @classmethod
    def from_parts(cls, parts: Parts, *, shared: int = 1, specific: int = 1, width: int | None = None) -> "PLE":
        """The stem, and `depth` levels of experts of one layer each.

        Args:
            parts: the problem's.
            shared: experts of each level that all tasks share, at least 1.
            specific: experts of each level for each task, at least 1.
            width: channels of each layer; unless given, such that the network is of hard sharing's size.

        Raises:
            InputError: a number is out of its range; or even at width 1 the network is larger than hard sharing.
        """
        whole("shared", shared, least=1)
        whole("specific", specific, least=1)

        def make(parts: Parts, width: int) -> "PLE":
            levels = []
            for place in range(parts.depth):
                before = width if place else parts.channels
                own = {task: [parts.layer(before, width) for _ in range(specific)] for task in parts.tasks}
                common = [parts.layer(before, width) for _ in range(shared)]
                levels.append(CGC(own, common, channels=before, last=place == parts.depth - 1))
            return cls(parts.stem(), levels, parts.made_heads(width))

        return fitted(parts, width, make)

    def forward(self, inputs: Any) -> dict[str, Tensor]:
        """Every task's output, in the order of `heads`."""
        common: Tensor | None = features(call(self.stem, inputs, "The stem"), "The stem")
        own = dict.fromkeys(self.tasks, common)
        for place, level in enumerate(self.levels, 1):
            own, common = level(own, common, f"level {place}")
        return {
            task: call(head, own[task], f"The head of task {task!r}")
            for task, head in zip(self.tasks, self.heads.values(), strict=True)
        }

    def task_modules(self) -> dict[str, list[nn.Module]]:
        # from the last level back: the tasks that depend on what a level hands on, for each task and in common
        paths: dict[str, list[nn.Module]] = {task: [] for task in self.tasks}
        readers: dict[str, set[str]] = {task: {task} for task in self.tasks}
        everyone: set[str] = set()
        for level in reversed(list(self.levels)):
            assert isinstance(level, CGC)
            uses: list[tuple[nn.Module, set[str]]] = [(level.common, everyone)] if level.common is not None else []
            for task, experts, gate in level.parts():
                uses += [(gate, readers[task]), (experts, readers[task] | everyone)]
            readers = {task: found | everyone for task, found in readers.items()}
            everyone = everyone.union(*readers.values())
            uses.append((level.shared, everyone))
            for module, tasks in uses:
                for task in tasks:
                    paths[task].insert(0, module)
        heads = zip(self.tasks, self.heads.values(), strict=True)
        return {task: [self.stem, *paths[task], head] for task, head in heads}


class CGC(nn.Module):
    """A level of `PLE`: customized gate control.

    Args:
        specific: by task, its own experts, at least one; they read the task's features.
        shared: experts, at least one, that read the shared features. All experts give features of one shape.
        channels: of the features that the level reads.
        last: whether no level comes after it, so that nothing needs to be handed on for all tasks.

    Raises:
        InputError: there are no tasks, a task has no expert, or none is shared; or `channels` is not a whole number above 0.

    Example:
        >>> level = CGC({"a": [nn.Linear(4, 8)], "b": [nn.Linear(4, 8)]}, [nn.Linear(4, 8)], channels=4, last=True)
        >>> sorted(level.tasks)
        ['a', 'b']
    """

    common: Gate | None

    def __init__(
        self,
        specific: Mapping[str, Sequence[nn.Module]],
        shared: Sequence[nn.Module],
        *,
        channels: int,
        last: bool = False,
    ) -> None:
        super().__init__()
        self.tasks = tuple(sorted(named(specific, "specific", "experts")))
        if empty := [task for task in self.tasks if not specific[task]]:
            raise InputError(f"Expected `specific` to have at least one expert for each task; task {empty[0]!r} has none.")
        if not shared:
            raise InputError("Expected `shared` to have at least one expert; got none.")
        whole("channels", channels, least=1)
        self.specific = by_task({task: nn.ModuleList(specific[task]) for task in self.tasks})
        self.shared = nn.ModuleList(shared)
        self.gates = by_task({task: Gate(channels, len(specific[task]) + len(shared)) for task in self.tasks})
        everyone = sum(map(len, specific.values())) + len(shared)
        self.common = None if last else Gate(channels, everyone)

    def parts(self) -> list[tuple[str, nn.ModuleList, Gate]]:
        """Each task with its experts and its gate."""
        parts: Any = zip(self.tasks, self.specific.values(), self.gates.values(), strict=True)  # ModuleDicts forget of what
        return list(parts)

    def forward(
        self, own: Mapping[str, Tensor], common: Tensor, name: str = "the level"
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """What each task goes on with, and what is shared; None at the last level.

        Args:
            own: by task, its features [batch, channels, ...].
            common: the shared features.
            name: how errors call the level.
        """
        found = {}
        for task, experts, _ in self.parts():
            for place, expert in enumerate(experts, 1):
                what = f"Expert {place} of task {task!r} at {name}"
                found[what] = features(call(expert, own[task], what), what)
        for place, expert in enumerate(self.shared, 1):
            what = f"Shared expert {place} at {name}"
            found[what] = features(call(expert, common, what), what)
        outputs = same_shapes(found, f"all experts of {name}")
        shared = outputs[len(outputs) - len(self.shared) :]
        mixed, place = {}, 0
        for task, experts, gate in self.parts():
            weights = call(gate, own[task], f"The gate of task {task!r} at {name}")
            mixed[task] = mixture(weights, outputs[place : place + len(experts)] + shared)
            place += len(experts)
        if self.common is None:
            return mixed, None
        return mixed, mixture(call(self.common, common, f"The shared gate at {name}"), outputs)
