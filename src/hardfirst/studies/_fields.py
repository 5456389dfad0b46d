"""The settings of a plan, each with its check."""

from collections.abc import Iterable
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from hardfirst.balancers import Spec
from hardfirst.errors import InputError, check_names, number, short, whole
from hardfirst.problems import OWN, Problem, load_problem
from hardfirst.records.objective import Objective
from hardfirst.studies._settings import (
    RECIPE,
    check_balancer,
    check_each,
    check_protocol,
    check_reference,
    check_settled,
    check_tuned,
    joined,
    known_accelerator,
    network_names,
    problem_names,
    recipe_part,
    two_rates,
    without_repeats,
)
from hardfirst.studies.candidates import check_candidates, check_kept, default_candidates
from hardfirst.studies.executors import EngineSpec
from hardfirst.studies.kinds import BALANCERS, KINDS, SEARCH
from hardfirst.training import ACCELERATORS, HELD_OUT, PROTOCOLS, PUBLISHED


def _one_of(kind: str, known: Iterable[str]) -> AfterValidator:
    def check(name: str) -> str:
        check_names(kind, [name], known)
        return name

    return AfterValidator(check)


class PlanFields(BaseModel):
    """The settings of a `Plan`, which says what they are; a wrong one raises `ValidationError`."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=False)

    problems: Annotated[tuple[str, ...], BeforeValidator(problem_names)]
    networks: Annotated[tuple[str, ...], BeforeValidator(network_names)] = (OWN,)
    kind: Annotated[str, _one_of("kind of study", KINDS)] = BALANCERS
    compared: Any = Field(default=None, validate_default=True)
    keep: tuple[str, ...] | None = Field(default=None, validate_default=True)
    candidates: tuple[str, ...] | None = Field(default=None, validate_default=True)
    balancers: tuple[str, ...] = ("equal", "uncertainty", "dtp", "dtp:uniform=0.8")
    seeds: Annotated[int, BeforeValidator(lambda value: whole("seeds", value, least=1))] = 7
    tune: int = Field(default=0, validate_default=True)
    learning_rates: Annotated[tuple[float, float] | None, BeforeValidator(two_rates)] = None
    learning_rate: float | None = None
    epochs: int | None = None
    criterion: str = "mean"
    baselines: bool = True
    controls: bool = True
    engine: str = "local"
    workers: int | None = None
    accelerator: Annotated[str, _one_of("accelerator", ACCELERATORS)] = "auto"
    vectorize: bool = True
    cost: bool = True
    optimizer: str | None = None
    schedule: str | None = None
    precision: str | None = None
    clip: float | str | None = None
    accumulate: int | None = None
    average: float | str | None = None
    loaders: int | None = None
    drop_last: bool | None = None
    protocol: Annotated[str, _one_of("protocol", PROTOCOLS)] = HELD_OUT
    reference: Literal["own", "published"] = "own"

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

    @field_validator("compared")
    @classmethod
    def _check_compared(cls, value: Any, info: ValidationInfo) -> Any:
        return KINDS[info.data["kind"]].check(value, _problems(info)) if {"kind", "problems"} <= info.data.keys() else value

    @field_validator("balancers", "tune", "criterion", "baselines", "controls", mode="before")
    @classmethod
    def _check_applies(cls, value: Any, info: ValidationInfo) -> Any:
        kind, name = info.data.get("kind", BALANCERS), str(info.field_name)
        default = cls.model_fields[name].default
        if value != default and name in (refuses := KINDS[kind].refuses):
            raise InputError(f"A {kind} does not take this setting: {refuses[name]}.")
        return value

    @field_validator("keep", "candidates", mode="before")
    @classmethod
    def _check_search(cls, value: Any, info: ValidationInfo) -> tuple[str, ...] | None:
        """Of a search, fill in the default, so that the plan's file holds what was tried."""
        if not {"problems", "kind", "compared"} <= info.data.keys():  # one of them is wrong, which is said
            return None
        if info.data["kind"] != SEARCH:
            if value is not None:
                raise InputError("It is a setting of a search: give `search`, the objective to maximise, as well.")
            return None
        (problem,) = _problems(info)
        if info.field_name == "keep":
            return check_kept(value, info.data["compared"], problem.measured)
        if value is None and "networks" in info.data:
            value = default_candidates(problem, info.data["networks"][0])
        return None if value is None else check_candidates(value, problem.task_names)

    @field_validator("balancers", mode="before")
    @classmethod
    def _check_balancers(cls, value: Any, info: ValidationInfo) -> tuple[str, ...]:
        texts = Spec.split(joined("specs", value))
        tasks = [problem.task_names for problem in _problems(info)]
        check_each(partial(check_balancer, text, tasks) for text in texts)
        return without_repeats("balancer", tuple(str(Spec.parse(text)) for text in texts))

    @field_validator("tune")
    @classmethod
    def _check_tune(cls, value: int, info: ValidationInfo) -> int:
        value = value if value == 0 else whole("tune", value, least=2)
        if not value:
            check_each(partial(check_settled, text) for text in info.data.get("balancers", ()))
        return value

    @field_validator("epochs", "workers")
    @classmethod
    def _check_positive(cls, value: int | None, info: ValidationInfo) -> int | None:
        return None if value is None else whole(str(info.field_name), value, least=1)

    @field_validator("learning_rate")
    @classmethod
    def _check_learning_rate(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is not None and info.data.get("kind") == SEARCH and info.data.get("learning_rates") is not None:
            raise InputError("Give one learning rate, or the range of those to try in `learning_rates`.")
        return None if value is None else number("learning_rate", value, above=0)

    @field_validator("criterion", mode="before")
    @classmethod
    def _check_criterion(cls, value: Any, info: ValidationInfo) -> Any:
        check_each(partial(Objective.parse, value, problem.measured) for problem in _problems(info))
        return value.strip() if isinstance(value, str) else value

    @field_validator("engine", mode="before")
    @classmethod
    def _check_engine(cls, value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            raise InputError(f"Expected `engine` to be a spec such as local or ray:cpus=2; got {short(value)}.")
        spec = EngineSpec.parse(value)
        spec.build()
        return str(spec)

    @field_validator(*RECIPE, mode="before")
    @classmethod
    def _check_recipe(cls, value: Any, info: ValidationInfo) -> Any:
        check_tuned(value, KINDS[info.data.get("kind", BALANCERS)].tunes and bool(info.data.get("tune", True)))
        return recipe_part(str(info.field_name), value, known_accelerator(info.data))

    @field_validator("protocol")
    @classmethod
    def _check_protocol(cls, value: str, info: ValidationInfo) -> str:
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
