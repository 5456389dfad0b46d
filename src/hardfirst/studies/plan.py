"""A study's settings: one model for YAML files, flags and Python."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from hardfirst.balancers import Spec
from hardfirst.errors import InputError, check_names, number, short, whole
from hardfirst.problems import OWN, Problem, load_problem
from hardfirst.recipes._names import CAN_BE_OFF, OFF
from hardfirst.studies._settings import (
    RECIPE,
    as_input_error,
    check_balancer,
    check_each,
    check_protocol,
    check_reference,
    check_tuned,
    joined,
    known_accelerator,
    networks,
    problem_names,
    recipe_of,
    recipe_part,
    two_rates,
    without_repeats,
)
from hardfirst.studies.executors import EngineSpec
from hardfirst.studies.kinds import BALANCERS, KINDS
from hardfirst.studies.ranges import middle
from hardfirst.studies.trials import CaseBase
from hardfirst.studies.tuning import EQUAL
from hardfirst.training import ACCELERATORS, HELD_OUT, PROTOCOLS, PUBLISHED, Trial

Names = Annotated[tuple[str, ...], BeforeValidator(problem_names)]

Networks = Annotated[tuple[str, ...], BeforeValidator(networks)]


class Plan(BaseModel):
    """A study: methods × seeds on problems × networks, with the baselines of a fair comparison.

    Methods share seeds, so that differences are paired. Seeds are 0, 1, 2, …, never chosen.

    A study compares balancers unless `kind` says otherwise. The name of a kind is also a setting, which sets `kind` and
    `compared` in one: `losses=["cross_entropy", "focal_2"]` or `orders=True`.

    Args:
        problems: names of built-in problems or paths of Python files.
        networks: which of each problem's networks; "own" is the first. Where a problem has parts, also specs such as
            "mmoe" or "task_hierarchy:order=hard_first"; see `hardfirst.networks.NETWORKS`.
        kind: what is compared: "balancers"; "losses" of the one task that offers several (`Task.losses`); or "orders" of
            tasks in a `TaskHierarchy`, all with equal weights.
        compared: of losses, the names of those to compare, the baseline first. Default: all that the task has.
        balancers: specs, as a list or joined by commas. Equal weights are added unless `baselines` is false.
            `potential=stl` takes a task's potential from the study's own single-task runs.
        seeds: the number of reported runs of each method. Seven are the fewest by which three methods can be told apart from
            equal weights.
        tune: the number of trials that each method gets, on a separate seed, to choose its learning rate and options by the
            validation split, 2 or more; 0 for the problem's learning rate and the options as given.
        learning_rates: the least and the greatest rate that tuning tries. Default: a tenth and ten times the problem's.
        learning_rate: the middle of the tuned range, or without tuning the only one. Default: the problem's.
        epochs: passes over the training split. Default: the problem's.
        criterion: what settings and epochs are chosen by on the validation split: the "mean" over tasks of their KPIs, or
            the KPI of the "worst" task. It is the same for all methods.
        baselines: add single-task networks, equal weights, and static weights chosen from a grid on the simplex.
        controls: with a method that has controls, such as DTP, add the runs that explain its effect: its variants, and its
            average weights frozen.
        engine: the spec of what runs the trials, a name in `hardfirst.studies.ENGINES` with options: "local" for processes
            of this machine, "ray:cpus=2,address=auto" for tasks of a Ray cluster.
        workers: the number of trials that run at a time. Default: one per core or GPU, or the cluster's room.
        accelerator: as in Lightning Fabric; "auto" is a GPU where there is one.
        vectorize: train runs that differ in seed, learning rate, loss balancer or static weights together, as one stacked
            network, where network, losses and method allow and it takes less time. Numbers differ from those of single runs
            by rounding.
        optimizer: as in `hardfirst.recipes.Recipe`, and so are the others below. Default: the problem's. With `tune`
            numbers in it, in `schedule`, `clip` and `average` may be ranges, such as "adamw:weight_decay=1e-5..0.1".
        schedule: of the learning rate.
        precision: "32-true", "bf16-mixed" or another of Fabric's names.
        clip: the greatest norm of a gradient; "none", or null in a file, does not clip where the problem's recipe does.
        accumulate: batches in an optimizer step.
        average: the decay of a moving average of the weights, which is evaluated in their place; "none", or null in a
            file, for the weights themselves.
        loaders: processes that load batches for each run.
        drop_last: leave out the last batch of an epoch if it is smaller.
        protocol: "held_out"; or "published", for the protocol by which the published figures of all problems were measured.
        reference: of the field's Δm over metrics: the study's "own" single-task networks, or the "published" ones.

    Raises:
        InputError: names everything that is wrong, with where it stands and the nearest right name.

    Example:
        >>> plan = Plan(problems="digits", balancers="equal,dtp:gamma=2,alpha=0.05", seeds=3)
        >>> plan.balancers
        ('equal', 'dtp:alpha=0.05,gamma=2')
        >>> Plan(problems="digits", orders=True).settings()
        {'problems': ['digits'], 'orders': True}
        >>> Plan(problems="digits", balancers="dpt", seed=3)
        Traceback (most recent call last):
        hardfirst.errors.InputError: The study has 2 errors:
          balancers: Unknown balancer 'dpt'; did you mean 'dtp'? The nearest: ....
          seed: there is no such setting; did you mean 'seeds'?
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=False)

    problems: Names
    networks: Networks = (OWN,)
    kind: str = BALANCERS
    compared: Any = Field(default=None, validate_default=True)
    balancers: tuple[str, ...] = ("equal", "uncertainty", "dtp", "dtp:uniform=0.8")
    seeds: Annotated[int, BeforeValidator(lambda value: whole("seeds", value, least=1))] = 7
    tune: int = 0
    learning_rates: Annotated[tuple[float, float] | None, BeforeValidator(two_rates)] = None
    learning_rate: float | None = None
    epochs: int | None = None
    criterion: Literal["mean", "worst"] = "mean"
    baselines: bool = True
    controls: bool = True
    engine: str = "local"
    workers: int | None = None
    accelerator: str = "auto"
    vectorize: bool = True
    optimizer: str | None = None
    schedule: str | None = None
    precision: str | None = None
    clip: float | str | None = None
    accumulate: int | None = None
    average: float | str | None = None
    loaders: int | None = None
    drop_last: bool | None = None
    protocol: str = HELD_OUT
    reference: Literal["own", "published"] = "own"

    def __init__(self, /, **settings: Any) -> None:
        fields = _with_kind(EngineSpec.with_engine(settings))
        try:
            super().__init__(**fields)
        except ValidationError as error:
            names = [*type(self).model_fields, *_kind_settings()]
            typed = {} if "compared" in settings else {"compared": str(fields.get("kind"))}
            raise as_input_error(error, names, typed) from None

    @classmethod
    def read(cls, path: Path, **changes: Any) -> Self:
        """The plan in a YAML file, with some settings changed.

        Raises:
            InputError: the file cannot be read, is not YAML, or the plan has errors.
        """
        try:
            with path.open("rb") as file:
                settings = yaml.safe_load(file)
        except OSError as error:
            raise InputError(f"The plan {path} cannot be read: {error.strerror}.") from None
        except Exception as error:  # not only YAML's own errors: Python may refuse a date or a number
            raise InputError(f"{path} is not YAML: {' '.join(str(error).split()) or type(error).__name__:.300}") from None
        if not isinstance(settings, Mapping):
            got = "an empty file" if settings is None else short(settings)
            raise InputError(f"Expected {path} to hold settings such as `problems: [digits]`; got {got}.")
        off = {name: OFF for name in CAN_BE_OFF if name in settings and settings[name] is None}
        return cls(**{str(key): value for key, value in settings.items()} | off | changes)

    def settings(self) -> dict[str, Any]:
        """The settings that are not the default, as JSON and YAML have them."""
        settings = self.model_dump(mode="json", exclude_defaults=True, exclude={"kind"})
        return {self.kind if name == "compared" else name: value for name, value in settings.items()}

    def yaml(self) -> str:
        """The plan as a YAML file that `read` takes: the settings that are not the default."""
        return str(yaml.safe_dump(self.settings(), sort_keys=False, allow_unicode=True))

    @cached_property
    def specs(self) -> tuple[Spec, ...]:
        """The balancers to compare, with equal weights among them if there are baselines."""
        specs = tuple(Spec.parse(text) for text in self.balancers)
        return (EQUAL, *specs) if self.baselines and EQUAL not in specs else specs

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """What the plan changes in the problems' recipes, by name. Text with a range stands for what tuning draws."""
        return recipe_of(vars(self))

    @cached_property
    def engine_spec(self) -> EngineSpec:
        """What runs the trials."""
        return EngineSpec.parse(self.engine)

    @cached_property
    def cases(self) -> tuple[CaseBase, ...]:
        """For each problem and network, the trial that all others are variations of, and the loaded problem."""
        networks = KINDS[self.kind].networks(self)
        problems = {name: load_problem(name) for name in self.problems}
        return tuple(
            CaseBase(self._base(name, problem, network), problem)
            for name, problem in problems.items()
            for network in networks
        )

    def _base(self, name: str, problem: Problem, network: str) -> Trial:
        trial = Trial.plan(
            name,
            EQUAL,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            network=network,
            recipe=middle(self.recipe),
            protocol=self.protocol,
            loaded=problem,
        )
        return replace(trial, criterion=self.criterion)

    @field_validator("problems")
    @classmethod
    def _check_problems(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        check_each(partial(load_problem, name) for name in names)
        return without_repeats("problem", names)

    @field_validator("networks")
    @classmethod
    def _check_networks(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        problems = _problems(info)
        check_each(partial(problem.network_spec, name) for problem in problems for name in names)
        specs = {name: next((spec for problem in problems if (spec := problem.network_spec(name))), None) for name in names}
        return without_repeats("network", tuple(str(spec or name) for name, spec in specs.items()))

    @field_validator("kind")
    @classmethod
    def _check_kind(cls, name: str) -> str:
        check_names("kind of study", [name], KINDS)
        return name

    @field_validator("compared")
    @classmethod
    def _check_compared(cls, value: Any, info: ValidationInfo) -> Any:
        return KINDS[info.data["kind"]].check(value, _problems(info)) if {"kind", "problems"} <= info.data.keys() else value

    @field_validator("balancers", mode="before")
    @classmethod
    def _check_balancers(cls, value: Any, info: ValidationInfo) -> tuple[str, ...]:
        texts = Spec.split(joined("specs", value))
        tasks = [problem.task_names for problem in _problems(info)]
        check_each(partial(check_balancer, text, tasks) for text in texts)
        return without_repeats("balancer", tuple(str(Spec.parse(text)) for text in texts))

    @field_validator("tune")
    @classmethod
    def _check_tune(cls, value: int) -> int:
        return value if value == 0 else whole("tune", value, least=2)

    @field_validator("epochs", "workers")
    @classmethod
    def _check_positive(cls, value: int | None, info: ValidationInfo) -> int | None:
        return None if value is None else whole(str(info.field_name), value, least=1)

    @field_validator("learning_rate")
    @classmethod
    def _check_learning_rate(cls, value: float | None) -> float | None:
        return None if value is None else number("learning_rate", value, above=0)

    @field_validator("engine", mode="before")
    @classmethod
    def _check_engine(cls, value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            raise InputError(f"Expected `engine` to be a spec such as local or ray:cpus=2; got {short(value)}.")
        spec = EngineSpec.parse(value)
        spec.build()
        return str(spec)

    @field_validator("accelerator")
    @classmethod
    def _check_accelerator(cls, value: str) -> str:
        check_names("accelerator", [value], ACCELERATORS)
        return value

    @field_validator(*RECIPE, mode="before")
    @classmethod
    def _check_recipe(cls, value: Any, info: ValidationInfo) -> Any:
        check_tuned(value, KINDS[info.data.get("kind", BALANCERS)].tunes and bool(info.data.get("tune", True)))
        return recipe_part(str(info.field_name), value, known_accelerator(info.data))

    @field_validator("protocol")
    @classmethod
    def _check_protocol(cls, value: str, info: ValidationInfo) -> str:
        check_names("protocol", [value], PROTOCOLS)
        if value == PUBLISHED and {"problems", "networks", "balancers", "tune", "kind"} <= info.data.keys():
            check_protocol(info.data, _problems(info))
        return value

    @field_validator("reference")
    @classmethod
    def _check_reference(cls, value: str, info: ValidationInfo) -> str:
        if value == "published":
            check_each(partial(check_reference, problem) for problem in _problems(info))
        return value


def _problems(info: ValidationInfo) -> list[Problem]:
    """The plan's problems while it is being checked; none if these are wrong themselves."""
    return [load_problem(name) for name in info.data.get("problems", ())]


def _kind_settings() -> list[str]:
    """The settings that ask for another kind of study than one of balancers."""
    return [name for name in KINDS if name != BALANCERS]


def _with_kind(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with `kind` and `compared` in place of a setting that is named after a kind of study.

    Raises:
        InputError: they ask for several kinds.
    """
    named = {name: settings[name] for name in _kind_settings() if name in settings}
    # False or nothing asks for no kind: files of older versions may have `orders: false`.
    asked = {name: value for name, value in named.items() if value is not False and value not in (None, (), [], "")}
    kinds = list(asked)
    if asked and settings.get("kind", kinds[0]) not in kinds:
        kinds.append(settings["kind"] if isinstance(settings["kind"], str) else short(settings["kind"]))
    if len(kinds) > 1:
        raise InputError(f"A study compares one thing: give one of {', '.join(kinds)}.")
    others = {name: value for name, value in settings.items() if name not in named}
    return others | {key: content for name, value in asked.items() for key, content in (("kind", name), ("compared", value))}
