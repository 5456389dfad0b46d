"""What a study is to find out: one model for YAML files, flags and Python."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from functools import cached_property, partial
from pathlib import Path
from reprlib import Repr
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, ValidationInfo, field_validator

from hardfirst.balancers import Spec
from hardfirst.errors import InputError, check_names, number, whole
from hardfirst.networks import NetworkSpec
from hardfirst.problems import OWN, Problem, load_problem
from hardfirst.training import ACCELERATORS, Trial

EQUAL = Spec("equal")
STL = "stl"
"""The word that stands for "as good as the single-task network" where a method wants a potential."""


def _listed(value: Any) -> Any:
    """A comma list, or a list, as a list."""
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


def _networks(value: Any) -> Any:
    """The same of networks, whose options are joined by commas as well."""
    if not isinstance(value, str | list | tuple):
        raise InputError(f"Expected networks, as a list or joined by commas; got {value!r}.")
    return NetworkSpec.split(value if isinstance(value, str) else ",".join(map(str, _listed(value))))


def _two_rates(value: Any) -> tuple[float, float] | None:
    """The least and the greatest learning rate."""
    given = _listed(value)
    if given is None:
        return None
    try:
        low, high = (float(rate) for rate in given)
    except (TypeError, ValueError, OverflowError):
        low, high = math.nan, math.nan
    if not 0 < low < high < math.inf:
        raise InputError(
            f"Expected two learning rates, the least and the greatest, both above 0, such as 1e-4,1e-2; got {_short(given)}."
        )
    return low, high


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]

Networks = Annotated[tuple[str, ...], BeforeValidator(_networks)]


class Plan(BaseModel):
    """A study: methods × seeds on problems × networks, with the baselines that an honest comparison wants.

    Methods share seeds, so that differences are paired. Seeds are 0, 1, 2, …, never chosen.

    Args:
        problems: names of built-in problems or paths of Python files.
        networks: which of each problem's networks; "own" is the first. Where a problem has parts, also specs such as
            "mmoe" or "task_hierarchy:order=hard_first"; see `hardfirst.networks.NETWORKS`.
        losses: of the one task that offers several (`Task.losses`), which to compare instead of balancers; the task is
            trained alone, and the first loss is the baseline.
        orders: compare the orders of tasks in a `TaskHierarchy` instead of balancers, all with equal weights.
        balancers: specs, a list or one text with commas. Equal weights are added unless `baselines` is false.
            `potential=stl` takes a task's potential from the study's own single-task runs.
        seeds: runs of each method that are reported on.
        tune: trials that each method gets, on a seed of their own, to choose its learning rate and options by the
            validation split, 2 or more; 0 for the problem's learning rate and the options as they are.
        learning_rates: the least and the greatest rate that tuning tries; a tenth and ten times the problem's own unless
            given.
        learning_rate: the middle one, or without tuning the only one; the problem's own unless given.
        epochs: the problem's own unless given.
        criterion: what settings and epochs are chosen by on the validation split: the "mean" over tasks of their KPIs, or
            the KPI of the "worst" task. It is the same for all methods.
        baselines: add single-task networks, equal weights, and static weights chosen from a grid on the simplex.
        controls: with a DTP among the methods, add the runs that tell why it does what it does: easy tasks first, raw
            weights, and its average weights frozen.
        engine: what runs the trials: "local", processes of this machine, or "ray", tasks of a Ray cluster.
        address: of a running Ray cluster, "auto" for instance; unless given, one is started on this machine.
        trial_cpus: that a trial asks Ray for.
        trial_gpus: that a trial asks Ray for; may be a part of one.
        workers: trials at a time; one per core, or as many as the cluster has room for, unless given.
        accelerator: as in Lightning Fabric.

    Raises:
        InputError: names everything that is wrong, with where it stands and the nearest right name.

    Example:
        >>> plan = Plan(problems="digits", balancers="equal,dtp:gamma=2,alpha=0.05", seeds=3)
        >>> plan.balancers
        ('equal', 'dtp:alpha=0.05,gamma=2')
        >>> Plan(problems="digits", balancers="dpt", seed=3)
        Traceback (most recent call last):
        hardfirst.errors.InputError: The study has 2 errors:
          balancers: Unknown balancer 'dpt'; did you mean 'dtp'? Known: ...
          seed: there is no such setting; did you mean 'seeds'?
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=False)

    problems: Names
    networks: Networks = (OWN,)
    losses: Names = ()
    orders: bool = False
    balancers: tuple[str, ...] = ("equal", "uncertainty", "dtp", "dtp:uniform=0.8")
    seeds: Annotated[int, BeforeValidator(lambda value: whole("seeds", value, least=1))] = 5
    tune: int = 0
    learning_rates: Annotated[tuple[float, float] | None, BeforeValidator(_two_rates)] = None
    learning_rate: float | None = None
    epochs: int | None = None
    criterion: Literal["mean", "worst"] = "mean"
    baselines: bool = True
    controls: bool = True
    engine: Literal["local", "ray"] = "local"
    address: str | None = None
    trial_cpus: Annotated[float, BeforeValidator(lambda value: number("trial_cpus", value, above=0))] = 1
    trial_gpus: Annotated[float, BeforeValidator(lambda value: number("trial_gpus", value, least=0))] = 0
    workers: int | None = None
    accelerator: str = "cpu"

    def __init__(self, /, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise _told(error, type(self).model_fields) from None

    @classmethod
    def read(cls, path: Path, **changes: Any) -> Self:
        """The plan in a YAML file, with some settings changed.

        Raises:
            InputError: there is no such file, it is not YAML, or the plan has errors.
        """
        try:
            with path.open("rb") as file:
                settings = yaml.safe_load(file)
        except OSError as error:
            raise InputError(f"The plan {path} cannot be read: {error.strerror}.") from None
        except Exception as error:  # beside its own errors, whatever Python has against a date or a number
            raise InputError(f"{path} is not YAML: {' '.join(str(error).split()) or type(error).__name__:.300}") from None
        if not isinstance(settings, Mapping):
            got = "an empty file" if settings is None else _short(settings)
            raise InputError(f"Expected {path} to hold settings such as `problems: [digits]`; got {got}.")
        return cls(**{str(key): value for key, value in settings.items()} | changes)

    def yaml(self) -> str:
        """The plan as a YAML file that `read` takes: the settings that are not the default."""
        return str(yaml.safe_dump(self.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=True))

    @cached_property
    def specs(self) -> tuple[Spec, ...]:
        """The balancers to compare, equal weights among them if there are baselines; none where it is losses or orders."""
        if self.losses or self.orders:
            return ()
        asked = tuple(Spec.parse(text) for text in self.balancers)
        return (EQUAL, *asked) if self.baselines and EQUAL not in asked else asked

    @cached_property
    def cases(self) -> tuple[tuple[Trial, Problem], ...]:
        """For each problem and network, a trial from which all others are made, and the loaded problem."""
        return tuple(
            (self._base(name, problem, network), problem)
            for name, problem in self._loaded().items()
            for network in (["task_hierarchy"] if self.orders else self.networks)
        )

    def _base(self, name: str, problem: Problem, network: str) -> Trial:
        trial = Trial.plan(
            name, EQUAL, epochs=self.epochs, learning_rate=self.learning_rate, network=network, loaded=problem
        )
        return replace(trial, criterion=self.criterion)

    def _loaded(self) -> dict[str, Problem]:
        return {name: load_problem(name) for name in self.problems}

    @field_validator("problems")
    @classmethod
    def _known_problems(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        _check_each([partial(load_problem, name) for name in names])
        return _once("problem", names)

    @field_validator("networks")
    @classmethod
    def _known_networks(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        problems = [load_problem(problem) for problem in info.data.get("problems", ())]
        _check_each([partial(problem.network_spec, name) for problem in problems for name in names])
        specs = {name: next((spec for problem in problems if (spec := problem.network_spec(name))), None) for name in names}
        return _once("network", tuple(str(spec or name) for name, spec in specs.items()))

    @field_validator("losses")
    @classmethod
    def _known_losses(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        problems = [load_problem(problem) for problem in info.data.get("problems", ())]
        _check_each([partial(problem.loss_study_task.with_loss, name) for problem in problems for name in names])
        return _once("loss", names) if names else names

    @field_validator("orders")
    @classmethod
    def _known_orders(cls, value: bool, info: ValidationInfo) -> bool:  # pydantic calls it
        if value and info.data.get("losses"):
            raise InputError("A study compares losses or orders of tasks, not both.")
        for problem in (load_problem(name) for name in info.data.get("problems", ()) if value):
            if len(problem.tasks) < 2:
                raise InputError(f"{problem.name} has one task, and so no order of tasks.")
            if problem.parts is None:
                raise InputError(f"{problem.name} has no parts, of which a task hierarchy could be made: see Problem.parts.")
        return value

    @field_validator("balancers", mode="before")
    @classmethod
    def _known_balancers(cls, given: Any, info: ValidationInfo) -> tuple[str, ...]:
        if not isinstance(given, str | list | tuple):
            raise InputError(f"Expected specs, as a list or joined by commas; got {given!r}.")
        texts = Spec.split(given if isinstance(given, str) else ",".join(map(str, given)))
        tasks = [load_problem(problem).task_names for problem in info.data.get("problems", ())]
        _check_each([partial(_check_spec, text, tasks) for text in texts])
        return _once("balancer", tuple(str(Spec.parse(text)) for text in texts))

    @field_validator("tune")
    @classmethod
    def _none_or_some(cls, value: int) -> int:
        return value if value == 0 else whole("tune", value, least=2)

    @field_validator("epochs", "workers")
    @classmethod
    def _at_least_one(cls, value: int | None, info: ValidationInfo) -> int | None:
        return None if value is None else whole(str(info.field_name), value, least=1)

    @field_validator("learning_rate")
    @classmethod
    def _above_zero(cls, value: float | None) -> float | None:
        return None if value is None else number("learning_rate", value, above=0)

    @field_validator("accelerator")
    @classmethod
    def _known_accelerator(cls, value: str) -> str:
        check_names("accelerator", [value], ACCELERATORS)
        return value


def _check_spec(text: str, problems: Iterable[tuple[str, ...]]) -> None:
    """Raise `InputError` if a study cannot make the balancer for the tasks of each problem."""
    spec = Spec.parse(text)
    for tasks in problems:
        stl = spec.option("potential") == STL
        (spec.per_task("potential", dict.fromkeys(tasks, 1.0)) if stl else spec).build(tasks)


def _once(kind: str, names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise InputError(f"Expected at least one {kind}; got none.")
    for position, name in enumerate(names):
        if name in names[:position]:
            raise InputError(f"The {kind} {name!r} is given twice.")
    return names


def _check_each(checks: Iterable[Callable[[], object]]) -> None:
    """Run them all, and raise the errors of all in one, each once."""
    found: dict[str, None] = {}
    for each in checks:
        try:
            each()
        except InputError as error:
            found[str(error)] = None
    if found:
        raise InputError("\n".join(found))


def _told(error: ValidationError, known: Iterable[str]) -> InputError:
    """One error that says all that is wrong, a line each."""
    lines = [f"{_place(found)}: {text}" for found in error.errors() for text in _texts(found, list(known))]
    return InputError(lines[0] if len(lines) == 1 else "\n  ".join([f"The study has {len(lines)} errors:", *lines]))


def _place(found: Any) -> str:
    first, *rest = found["loc"]
    return str(first) + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in rest)


def _texts(found: Any, known: list[str]) -> list[str]:
    if found["type"] == "value_error":
        return str(found["ctx"]["error"]).splitlines()
    if found["type"] == "extra_forbidden":
        near = get_close_matches(_place(found), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}."
        return [f"there is no such setting; {hint}"]
    if found["type"] == "missing":
        return [f"it has to be given, for example `{found['loc'][0]}: [digits]`."]
    return [f"{found['msg']}; got {_short(found['input'])}."]


def _short(value: Any) -> str:
    """What was given; without following YAML's references in depth, of which few may stand for very many."""
    return _REPR.repr(value)


_REPR = Repr()
_REPR.maxlevel, _REPR.maxstring, _REPR.maxother = 1, 80, 80
