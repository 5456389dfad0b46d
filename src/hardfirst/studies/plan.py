"""A study's settings: one model for YAML files, flags and Python."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import ValidationError

from hardfirst.balancers import Spec
from hardfirst.errors import InputError, short
from hardfirst.problems import Problem, load_problem
from hardfirst.recipes._names import CAN_BE_OFF, OFF
from hardfirst.studies._fields import PlanFields
from hardfirst.studies._settings import as_input_error, recipe_of
from hardfirst.studies.executors import EngineSpec
from hardfirst.studies.kinds import BALANCERS, KINDS, SEARCH
from hardfirst.studies.ranges import middle
from hardfirst.studies.trials import CaseBase
from hardfirst.studies.tuning import EQUAL
from hardfirst.training import Trial


class Plan(PlanFields):
    """A study: methods × seeds on problems × networks, with the baselines of a fair comparison.

    Methods share seeds, so that differences are paired. Seeds are 0, 1, 2, …, never chosen.

    A study compares balancers unless `kind` says otherwise. The name of a kind is also a setting, which sets `kind` and
    `compared` in one: `losses=["cross_entropy", "focal_2"]`, `orders=True` or `search="worst"`.

    Args:
        problems: names of built-in problems or paths of Python files.
        networks: which of each problem's networks; "own" is the first. Where a problem has parts, also specs such as
            "mmoe" or "task_hierarchy:order=hard_first"; see `hardfirst.networks.NETWORKS`.
        kind: what is compared: "balancers"; "losses" of the one task that offers several (`Task.losses`); "orders" of
            tasks in a `TaskHierarchy`, all with equal weights; or a "search" for the best method.
        compared: of losses, the names of those to compare, the baseline first. Default: all that the task has. Of a search,
            the objective to maximise, such as "worst" or "0.7*a+0.3*b".
        keep: of a search, what may not be lost, such as "mean:0.5": points below equal weights. Default: "mean:0.5",
            and nothing if the mean is maximised.
        candidates: of a search, the specs to try, as a list or joined by commas. `fixed:weights=dtp` are static weights at
            the average of DTP's; `fixed:easy=1,hard=4` gives the hard tasks four times the weight of the others. Default:
            `hardfirst.studies.candidates.CANDIDATES`.
        balancers: specs, as a list or joined by commas. Equal weights are added unless `baselines` is false.
            `potential=stl` takes a task's potential from the study's own single-task runs.
        seeds: the number of reported runs of each method. Seven are the fewest by which three methods can be told apart from
            equal weights.
        tune: the number of trials that each method gets, on a separate seed, to choose its learning rate and options by the
            validation split, 2 or more; 0 for the problem's learning rate and the options as given.
        learning_rates: the least and the greatest rate that tuning tries. Default: a tenth and ten times the problem's. Of a
            search, those of three rates of which equal weights choose one for all; default: a third and three times the
            problem's.
        learning_rate: the middle of the tuned range, or without tuning the only one. Default: the problem's.
        epochs: passes over the training split. Default: the problem's.
        criterion: what settings and epochs of all methods are chosen by on the validation split: an objective such as
            "mean", "worst", "hard", "a,b" or "0.7*a+0.3*b" with names of tasks. A run with equal weights on the tuning seed
            measures which tasks are "hard": those below the mean over tasks.
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
        cost: measure what a training step of each method costs when all runs have ended, alone on the machine.
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
          balancers: Unknown balancer 'dpt'; did you mean 'dtp'? Others near it: ....
          seed: there is no such setting; did you mean 'seeds'?
    """

    def __init__(self, /, **settings: Any) -> None:
        fields = _with_kind(EngineSpec.with_engine(settings))
        try:
            super().__init__(**fields)
        except ValidationError as error:
            names = [*type(self).model_fields, *_kind_settings()]
            kind = fields.get("kind")  # not a string if that is the error: its text may be as long as memory allows
            typed = {"compared": kind} if isinstance(kind, str) and "compared" not in settings else {}
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
        if SEARCH in settings and settings[SEARCH] is None:  # else it would be an ordinary comparison
            raise InputError(f"{path}: `search` is empty. Give the objective to maximise, such as worst, or leave it out.")
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
    def names(self) -> dict[str, str]:
        """By problem as it was given, what reports call it: its name, and its file's where several have one name."""
        names = {given: load_problem(given).name for given in self.problems}
        files = {given: f"{name} ({Path(given.partition('?')[0]).name})" for given, name in names.items()}
        texts = {given: f"{name} ({given})" for given, name in names.items()}
        forms = [(form, list(form.values())) for form in (names, files, texts)]
        return {given: next(form[given] for form, all_ in forms if all_.count(form[given]) == 1) for given in names}

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
        return Trial.plan(
            name,
            EQUAL,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            network=network,
            criterion=self.criterion,
            recipe=middle(self.recipe),
            protocol=self.protocol,
            loaded=problem,
        )


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
