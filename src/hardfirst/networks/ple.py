"""Progressive layered extraction: levels of shared and task-specific experts."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from hardfirst.errors import InputError, whole
from hardfirst.networks._base import Network, by_task, call, check_tasks, features, same_shapes, task_names
from hardfirst.networks._parts import Parts, match_hard_sharing
from hardfirst.networks.layers import Gate
from hardfirst.networks.mmoe import mixture


class PLE(Network):
    r"""Levels of experts, some shared and some task-specific, mixed by gates: sharing is explicit.

    At each level, task t continues with x_t ← Σ_i softmax(W_t x_t)_i E_i over its own experts and the shared ones; the
    shared features continue with a mixture of the experts of all tasks. Task-specific experts read x_t, shared experts the
    shared features. A single level is customized gate control, CGC.

    When to use: Use it like MMoE, if one task gains from sharing what makes another worse: each task keeps experts that no
    other task trains.

    Cost: at each level, the experts of all tasks and the shared ones, a gate for each task and a shared one: more and
    narrower experts than MMoE if there are many tasks.

    Args:
        stem: computes the features [batch, channels, ...] that the first level reads.
        levels: at least one; all except the last have a shared gate.
        heads: by task, computes the output from the task's last mixture: the paper's tower. Names are any non-empty strings.

    Raises:
        InputError: there are no heads or levels, a level is for other tasks, or a level that is not the last has `last`; in
            use, if an expert, gate or head does not fit its input, or experts of a level differ in shape.

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
        Shared parameters are those of the stem, of all shared experts and gates, and of the task-specific experts below the
        last level, since the shared gate passes these on to all tasks; the tasks' gates below the second-to-last level are
        shared for the same reason. In the paper, examples are vectors; in sequences and images each position has its own
        weights. Shared gates use the alphabetical order of the tasks, so a checkpoint does not depend on the order in which
        they are given.

    References:
        Tang et al., Progressive Layered Extraction (PLE): A Novel Multi-Task Learning Model for Personalized
        Recommendations, RecSys 2020, sections 4.1 and 4.2.
    """

    def __init__(self, stem: nn.Module, levels: Sequence["CGC"], heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.tasks = task_names(heads)
        if not levels:
            raise InputError("Expected `levels` to have at least one level; got none.")
        for number, level in enumerate(levels, 1):
            check_tasks(f"specific` of level {number} in `levels", level.tasks, heads)
            if (level.common is None) != (number == len(levels)):
                raise InputError(f"Expected `last=True` in level {len(levels)} and in no other; level {number} differs.")
        self.stem = stem
        self.levels = nn.ModuleList(levels)
        self.heads = by_task(heads)

    @classmethod
    def from_parts(cls, parts: Parts, *, shared: int = 1, specific: int = 1, width: int | None = None) -> "PLE":
        """Build a network from the stem, and `depth` levels of experts of one layer each.

        Args:
            parts: the parts of the problem.
            shared: the number of shared experts in each level, at least 1.
            specific: the number of experts for each task in each level, at least 1.
            width: the channels of each layer; default: matched to the size of hard sharing.

        Raises:
            InputError: a number is out of range; or the network is larger than hard sharing even at width 1.
        """
        whole("shared", shared, least=1)
        whole("specific", specific, least=1)

        def make(parts: Parts, width: int) -> "PLE":
            levels = []
            for index in range(parts.depth):
                before = width if index else parts.channels
                own = {task: [parts.layer(before, width) for _ in range(specific)] for task in parts.tasks}
                common = [parts.layer(before, width) for _ in range(shared)]
                levels.append(CGC(own, common, channels=before, last=index == parts.depth - 1))
            return cls(parts.stem(), levels, parts.build_heads(width))

        return match_hard_sharing(parts, width, make)

    def forward(self, inputs: Any) -> dict[str, Tensor]:
        """Compute every task's output, in the order of `heads`."""
        common: Tensor | None = features(self.stem, inputs, "The stem")
        own = dict.fromkeys(self.tasks, common)
        for number, level in enumerate(self.levels, 1):
            own, common = level(own, common, f"level {number}")
        return self._called(self.heads, own)

    def task_modules(self) -> dict[str, list[nn.Module]]:
        # Backwards from the last level. `readers[task]` are the tasks whose output depends on the features that a level
        # passes on for this task, `everyone` those whose output depends on the shared features.
        paths: dict[str, list[nn.Module]] = {task: [] for task in self.tasks}
        readers: dict[str, set[str]] = {task: {task} for task in self.tasks}
        everyone: set[str] = set()
        for level in reversed(list(self.levels)):
            assert isinstance(level, CGC)
            uses: list[tuple[nn.Module, set[str]]] = [(level.common, everyone)] if level.common is not None else []
            for task, experts, gate in level.parts():
                uses += [(gate, readers[task]), (experts, readers[task] | everyone)]
            readers = {task: dependent | everyone for task, dependent in readers.items()}
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
        specific: by task, its own experts, at least one, which read the task's features.
        shared: experts, at least one, which read the shared features. All experts return features of the same shape.
        channels: the channels of the features that the level reads.
        last: whether it is the last level, which passes on no shared features.

    Raises:
        InputError: there are no tasks, a task has no expert, no expert is shared, or `channels` is not a whole number above
            0.

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
        self.tasks = tuple(sorted(task_names(specific, "specific", "experts")))
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
        """Return each task with its experts and its gate."""
        parts: Any = zip(self.tasks, self.specific.values(), self.gates.values(), strict=True)  # ModuleDict is untyped
        return list(parts)

    def forward(
        self, own: Mapping[str, Tensor], common: Tensor, name: str = "the level"
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """Compute each task's features and the shared ones for the next level; the latter are None at the last level.

        Args:
            own: by task, its features [batch, channels, ...].
            common: the shared features.
            name: the level's name in errors.
        """
        by_name = {}
        for task, experts, _ in self.parts():
            for number, expert in enumerate(experts, 1):
                what = f"Expert {number} of task {task!r} at {name}"
                by_name[what] = features(expert, own[task], what)
        for number, expert in enumerate(self.shared, 1):
            what = f"Shared expert {number} at {name}"
            by_name[what] = features(expert, common, what)
        outputs = same_shapes(by_name, f"all experts of {name}")
        shared = outputs[len(outputs) - len(self.shared) :]
        mixed, start = {}, 0
        for task, experts, gate in self.parts():
            weights = call(gate, own[task], f"The gate of task {task!r} at {name}")
            mixed[task] = mixture(weights, outputs[start : start + len(experts)] + shared)
            start += len(experts)
        if self.common is None:
            return mixed, None
        return mixed, mixture(call(self.common, common, f"The shared gate at {name}"), outputs)
