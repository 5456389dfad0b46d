"""Compatibility with trainers written for the code of CAGrad, Nash-MTL, FAMO or FairGrad, which share one interface."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hardfirst import functional
from hardfirst.balancers import BALANCERS, DWA, FAMO, Balancer, GradientBalancer, task_weights
from hardfirst.errors import InputError, number, unknown, whole

_Parameters = Iterable[nn.Parameter] | Tensor | None
_WINDOW = 25  # of `dwa`
_RATE = 0.025  # the learning rate of the weights of `uw` and `famo` in those trainers


class _Method(NamedTuple):
    """The meaning of a method name in those trainers: the balancer, its options' names there, and the extra steps."""

    balancer: str
    options: Mapping[str, str] = {}
    max_norm: float = 0.0
    logs: bool = False


METHODS: Mapping[str, _Method] = {
    "stl": _Method("fixed"),
    "ls": _Method("fixed"),
    "scaleinvls": _Method("fixed", logs=True),
    "rlw": _Method("random"),
    "dwa": _Method("dwa", {"temp": "temperature"}),
    "uw": _Method("uncertainty"),
    "pcgrad": _Method("pcgrad", max_norm=1),
    "mgda": _Method("mgda"),
    "log_mgda": _Method("mgda", max_norm=1, logs=True),
    "graddrop": _Method("graddrop", max_norm=1),
    "cagrad": _Method("cagrad", max_norm=1),
    "log_cagrad": _Method("cagrad", max_norm=1, logs=True),
    "imtl": _Method("imtl_g"),
    "log_imtl": _Method("imtl_g", logs=True),
    "nashmtl": _Method("nash_mtl", max_norm=1),
    "famo": _Method("famo", {"gamma": "decay", "w_lr": "lr"}, max_norm=1),
    "fairgrad": _Method("fairgrad", max_norm=1),
}
"""The meaning of each name in those trainers. Every name in `hardfirst.balancers.BALANCERS` is accepted as well."""

# Options of those trainers that no balancer has, with the only value that is accepted here.
_ONLY: Mapping[str, Mapping[str, Any]] = {
    "pcgrad": {"reduction": "sum"},
    "mgda": {"normalization": "none"},
    "log_mgda": {"normalization": "none"},
    "nashmtl": {"update_weights_every": 1},
}
_IGNORED = {"nashmtl": ("optim_niter",), "famo": ("task_weights",)}


class WeightMethods:
    """The `WeightMethods` interface of the code of CAGrad, Nash-MTL, FAMO and FairGrad, implemented by our balancers.

    Change the trainer's import; its calls stay the same. Methods work as their cards say, including the listed differences
    from the papers and the authors' code. The weights of `dwa`, `rlw` and `imtl` sum to the number of tasks, where the
    original losses are T times smaller, and the heads get the gradient of their own task's loss also in `mgda`, `imtl` and
    `nashmtl`.

    Args:
        method: a name in `METHODS` or in `hardfirst.balancers.BALANCERS`.
        n_tasks: the number of tasks, at least 1.
        device: the device of the balancer's state.
        tasks: the tasks' names, in the order of the losses; default: "0", "1", and so on.
        max_norm: clips the gradient of the shared parameters to this length after backward; 0 for no clipping. Default: as
            in the original, 1 for pcgrad, graddrop, cagrad, nashmtl, famo and fairgrad, else 0.
        params: "shared", or "rep" for a gradient method that combines the gradients of `representation`.
        options: as in the original: `main_task` of stl (its number); `task_weights` of ls and scaleinvls, one per task;
            `temp` and `iteration_window` of dwa, whose epochs are that many steps, default: 25, or those between calls of
            `end_epoch` if it is 0; `lr` of uw, and `gamma` and `w_lr` of famo, both rates 0.025 by default; `c` of cagrad;
            `alpha` of fairgrad; or the options of our balancer.

    Attributes:
        balancer: the balancer. Include its state in checkpoints.
        tasks: the tasks' names.

    Raises:
        InputError: the method, or an option, is unknown or out of range.

    Example:
        >>> import torch
        >>> shared, heads = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
        >>> weight_method = WeightMethods("cagrad", n_tasks=2, device=torch.device("cpu"), c=0.4)
        >>> loss, extra = weight_method.backward(losses=shared * heads, shared_parameters=[shared])
        >>> print(shared.grad.norm().numpy().round(2), heads.grad.tolist())
        1.0 [1.0, 1.0]
    """

    def __init__(
        self,
        method: str,
        n_tasks: int,
        device: torch.device | str = "cpu",
        *,
        tasks: Sequence[str] | None = None,
        max_norm: float | None = None,
        params: str = "shared",
        **options: Any,
    ) -> None:
        count = whole("n_tasks", n_tasks, least=1)
        names = [str(place) for place in range(count)] if tasks is None else list(tasks)
        if len(names) != count:
            raise InputError(f"Expected {count} names in `tasks`, as many as `n_tasks`; got {len(names)}.")
        if method not in METHODS and method not in BALANCERS:
            raise unknown("weighting method", method, {**METHODS, **dict.fromkeys(BALANCERS)})
        row = METHODS.get(method, _Method(method))
        self._logs = row.logs
        self._window = whole("iteration_window", options.pop("iteration_window", _WINDOW), least=0) if method == "dwa" else 0
        self.max_norm = number("max_norm", row.max_norm if max_norm is None else max_norm, least=0)
        self.balancer = _balancer(method, row, names, options).to(device)
        self.tasks = self.balancer.tasks
        allowed = ("shared", "rep") if isinstance(self.balancer, GradientBalancer) else ("shared",)
        if params not in allowed:
            raise InputError(f"Expected `params` to be {' or '.join(map(repr, allowed))} for this method; got {params!r}.")
        self._on_features = params == "rep"

    @property
    def method(self) -> "WeightMethods":
        """This object: trainers call `weight_method.method.update(new_losses)`."""
        return self

    def parameters(self) -> list[nn.Parameter]:
        """Return no parameters: what a method learns is updated inside the balancer's state."""
        return []

    def backward(
        self,
        losses: Tensor | Sequence[Tensor],
        shared_parameters: _Parameters = None,
        task_specific_parameters: _Parameters = None,
        last_shared_parameters: _Parameters = None,
        representation: Tensor | Sequence[Tensor] | None = None,
        *,
        kpis: Tensor | Sequence[float] | Mapping[str, Tensor | float] | None = None,
        **_: Any,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Balance the losses and back-propagate, adding to the gradient of every parameter.

        Args:
            losses: [T], with their graph; exactly 0 where a task has no labels.
            shared_parameters: those that all tasks use, for gradient methods, and for `max_norm`.
            task_specific_parameters: unused, since every other parameter gets its gradient.
            last_shared_parameters: for gradnorm.
            representation: the input of the heads, for `params="rep"`.
            kpis: a KPI in [0, 1] for each task, as a sequence or by task, for dtp and other methods that use KPIs; NaN where
                there is none.

        Returns:
            The total without its graph (for gradient methods, the sum of the losses); and "weights", those of the step [T].

        Raises:
            InputError: `losses` or `kpis` do not match the tasks, or an argument that the method needs is missing.
        """
        vector = losses if isinstance(losses, Tensor) else torch.stack(list(losses))
        if vector.shape != (len(self.tasks),):
            raise InputError(f"Expected `losses` of shape [{len(self.tasks)}], one for each task; got {list(vector.shape)}.")
        by_task = dict(zip(self.tasks, (functional.present_logs(vector) if self._logs else vector).unbind(), strict=True))
        # an iterator of parameters is used twice
        shared: Any = [shared_parameters] if isinstance(shared_parameters, Tensor) else shared_parameters
        shared = None if shared is None else list(shared)
        totals, weights = [], {}

        def run(total: Tensor) -> None:
            if not isinstance(self.balancer, GradientBalancer):
                weights.update(task_weights(total, by_task))
            totals.append(total.detach())
            total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped

        given: Any
        if self._on_features:
            name, given = "representation", representation
        elif isinstance(self.balancer, GradientBalancer):
            name, given = "shared_parameters", shared
        else:
            name, given = "last_shared_parameters", last_shared_parameters
        if "shared" in self.balancer.needs and given is None:
            raise InputError(f"{type(self.balancer).__name__} needs `{name}`; pass it to `backward`.")
        around = {"features" if self._on_features else "shared": given}
        self.balancer.backward(by_task, self._kpis(kpis), using=run, **around)
        if self.max_norm and shared:
            nn.utils.clip_grad_norm_(shared, self.max_norm)
        if self._window and isinstance(self.balancer, DWA) and int(self.balancer.epoch.count.max()) >= self._window:
            self.balancer.end_epoch()
        return totals[0], {"weights": torch.stack([*(weights or self.balancer.weights).values()])}

    def _kpis(self, kpis: Tensor | Sequence[float] | Mapping[str, Tensor | float] | None) -> Any:
        if kpis is None or isinstance(kpis, Mapping):
            return kpis
        numbers = kpis.unbind() if isinstance(kpis, Tensor) else kpis
        if len(numbers) != len(self.tasks):
            raise InputError(f"Expected {len(self.tasks)} `kpis`, one for each task; got {len(numbers)}.")
        return dict(zip(self.tasks, numbers, strict=True))

    def update(self, new_losses: Tensor | Sequence[Tensor]) -> None:
        """Give famo the losses [T] of the same batch after the optimizer step. Other methods ignore them.

        If a trainer never calls it, famo learns from the losses of the next batch, as `FAMO` does by default.
        """
        if isinstance(self.balancer, FAMO):
            self.balancer.learn_after_step(dict(zip(self.tasks, new_losses, strict=True)))

    def end_epoch(self) -> None:
        """Mark the end of an epoch, for methods that count epochs; the original trainers do not call it."""
        self.balancer.end_epoch()


def _balancer(method: str, row: _Method, tasks: list[str], options: dict[str, Any]) -> Balancer:
    """Build the balancer for a name of the original, with the original's options."""
    for name in _IGNORED.get(method, ()):
        options.pop(name, None)
    for name, only in _ONLY.get(method, {}).items():
        if (value := options.pop(name, only)) != only:
            raise InputError(f"{method} supports only `{name}` = {only!r}; got {value!r}.")
    if row.balancer == "fixed" and method != "fixed":
        options["weights"] = dict(zip(tasks, _constants(method, tasks, options), strict=True))
    if method in ("uw", "famo") and not {"lr", "w_lr"} & options.keys():
        options["lr"] = _RATE
    if row.balancer in ("nash_mtl", "fairgrad"):
        options.setdefault("max_norm", 0)  # `backward` clips
    maker = BALANCERS[row.balancer]
    arguments = {row.options.get(name, name): value for name, value in options.items()}
    known = [name for name in inspect.signature(maker).parameters if name != "tasks"]
    lines = {ours: theirs for theirs, ours in row.options.items()}
    for name in arguments:
        if name not in known:
            raise unknown(f"option of {method}:", name, [lines.get(each, each) for each in known])
    return maker(tasks, **arguments)


def _constants(method: str, tasks: list[str], options: dict[str, Any]) -> list[float]:
    """Return the weights of a method with constant weights."""
    if method == "stl":
        main = whole("main_task", options.pop("main_task", None), least=0)
        if main >= len(tasks):
            raise InputError(f"Expected `main_task` to be below {len(tasks)}, the number of tasks; got {main}.")
        return [float(place == main) for place in range(len(tasks))]
    given = options.pop("task_weights", None)
    weights = [1.0] * len(tasks) if given is None else [float(weight) for weight in given]
    if len(weights) != len(tasks):
        raise InputError(f"Expected {len(tasks)} `task_weights`, one for each task; got {len(weights)}.")
    return weights
