"""Look up balancers by name or in a user's file, and parse specs such as `dtp:gamma=2,alpha=0.05`."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hardfirst._spec import SpecBase, Value, as_names, name_options
from hardfirst._user_file import explain_errors, file_sha256, load_module
from hardfirst.balancers import BALANCERS
from hardfirst.balancers._search_space import TUNE, AnnealRange, Range
from hardfirst.errors import InputError, unknown

if TYPE_CHECKING:
    from hardfirst.balancers._base import Balancer

T = TypeVar("T")

_CONTRACT = "(A balancer is a subclass of hardfirst.LossBalancer, or of another base class in hardfirst.balancers.)"


@dataclass(frozen=True)
class Spec(SpecBase):
    """A balancer written as text: a name, and options sorted by key.

    `name:key=value,key=value`. A value is a number, true, false, none, a word, or a list joined by "+". Write an option that
    takes one value per task as `gamma.depth=2` (the task is everything after the first dot). A method whose first option is
    such a mapping takes the tasks directly: `fixed:depth=1,segment=2`.

    The name is a key of `BALANCERS`, or a class in a Python file, `path/to/file.py:ClassName`. Building the balancer
    executes the file, so use only files that you trust.

    Example:
        >>> spec = Spec.parse("dtp:gamma=2.0,alpha=0.05")
        >>> str(spec)
        'dtp:alpha=0.05,gamma=2'
        >>> spec.build(["depth", "segment"])
        DTP(
          depth, segment
          (kpi): MovingKPI(depth, segment)
        )
        >>> str(spec.replace({"alpha": 0.5, "gamma": None}))
        'dtp:alpha=0.5'
    """

    kind = "balancer"
    registry = BALANCERS

    @classmethod
    def parse_list(cls, text: str) -> list["Spec"]:
        """Parse specs joined by commas. A piece with "=" but no name is a further option of the spec before it.

        The word "all" stands for every method that can be constructed from its name alone.

        >>> [str(spec) for spec in Spec.parse_list("equal,dtp:gamma=2,alpha=0.05,uncertainty")]
        ['equal', 'dtp:alpha=0.05,gamma=2', 'uncertainty']
        """
        specs = [cls.parse(text) for text in cls.split(text)]
        for index, spec in enumerate(specs):
            if spec in specs[:index]:
                raise InputError(f"Balancer {str(spec)!r} is given twice.")
        return specs

    @classmethod
    def split(cls, text: str) -> list[str]:
        """Split a list into the texts of its specs, by the rules of `parse_list`.

        Raises:
            InputError: the list is empty.
        """
        pieces = [piece.strip() for piece in text.split(",")]
        if "all" in pieces:  # importing every method is slow
            simple = ",".join(name for name in sorted(BALANCERS) if not needed_options(name))
            pieces = [simple if piece == "all" else piece for piece in pieces]
        return super().split(",".join(pieces))

    @property
    def file(self) -> Path | None:
        """The Python file that defines the class; None for a name in `BALANCERS`.

        >>> Spec.read("my_methods.py:LossRank:power=2").file.name
        'my_methods.py'
        """
        path, colon, _ = self.name.rpartition(".py:")
        return Path(f"{path}.py") if colon else None

    def with_file(self, path: Path) -> "Spec":
        """Return the spec with its class in another file, such as a copy.

        >>> str(Spec.read("folder/my_methods.py:LossRank:power=2").with_file(Path("my_methods.py")))
        'my_methods.py:LossRank:power=2'
        """
        return replace(self, name=f"{path}:{self.name.rpartition(':')[2]}")

    @property
    def sha256(self) -> str | None:
        """Compute the SHA-256 of the file's bytes; None for a name in `BALANCERS`."""
        return file_sha256(self.file) if self.file else None

    def maker(self) -> "Callable[..., Balancer]":
        """Return the class or class method that constructs the balancer.

        Raises:
            InputError: the name is unknown, the file or the class does not exist, or the class is not a balancer.
        """
        if self.file:
            return _load_class(self.file, self.name.rpartition(":")[2])
        if self.name.endswith(".py"):
            raise InputError(f"{self.name} is a file. Name the class in it as well: {self.name}:ClassName.")
        maker = BALANCERS[self.name]
        _require_balancer(getattr(maker, "__self__", maker), f"The balancer {self.name!r}")
        return maker

    def build(self, tasks: Sequence[str], *, seed: int = 0) -> "Balancer":
        """Construct the balancer for these tasks.

        Args:
            tasks: distinct non-empty strings.
            seed: the seed for methods that draw random numbers, if the spec has none.

        Raises:
            InputError: the method rejects an option, or a required option is missing.
        """
        arguments = self.arguments()
        for option in self.method.single_task_options:
            if arguments.get(option) == "stl":
                raise InputError(
                    f"{str(self)!r} takes the {option} from single-task runs, which only a study has. Use it in `hardfirst "
                    f"compare`, or give a number for each task: {option}.TASK=0.9."
                )
        if arguments.get("anneal") == TUNE:
            raise InputError(
                f"{str(self)!r} leaves `anneal` to tuning, which only a study has. Use it in `hardfirst compare` with "
                "`--tune`, or give two shares of training, such as anneal=0.6+0.8."
            )
        if missing := [option for option in needed_options(self.name) if option not in arguments]:
            example = ",".join(f"{option}=…" for option in missing)
            raise InputError(f"Balancer {self.name!r} needs the options {', '.join(missing)}; write {self.name}:{example}.")
        maker = self.maker()
        for option in name_options(maker, self.from_caller):
            if option in arguments:
                arguments[option] = as_names(arguments[option], tasks)
        if "seed" in inspect.signature(maker).parameters:
            arguments.setdefault("seed", seed)
        return self.explain_errors(lambda: maker(tasks, **arguments), located=False)

    def explain_errors(self, function: Callable[[], T], *, located: bool = True) -> T:
        """Call a function, and add the file and line to an error raised in the code of the balancer's file.

        Args:
            function: a function that uses the balancer.
            located: whether to pass on unchanged the errors without a line in the file, because the function also calls
                other code.

        Raises:
            InputError: the code of the file raised an error.
        """
        return explain_errors(self.file, function, contract=_CONTRACT, located=located) if self.file else function()

    def per_task(self, option: str, values: Mapping[str, float]) -> "Spec":
        """Replace an option's single value by one value per task.

        >>> str(Spec.parse("dtp:potential=stl").per_task("potential", {"a": 0.9}))
        'dtp:potential.a=0.9'
        """
        return self.replace({option: None, **{f"{option}.{task}": value for task, value in values.items()}})

    @property
    def method(self) -> "type[Balancer]":
        """The balancer's class."""
        maker: Any = self.maker()
        method: type[Balancer] = getattr(maker, "__self__", maker)  # dtp_paper is a class method of DTP
        return method

    @property
    def free(self) -> Mapping[str, Range | AnnealRange]:
        """The ranges of the options that a study may tune: those that the method declares and the spec does not set.

        Annealing is tuned if the spec asks for it, by `anneal=tune`.

        >>> list(Spec.parse("dtp:gamma=2").free), list(Spec.parse("dwa:anneal=tune").free)
        (['alpha', 'uniform'], ['temperature', 'anneal'])
        """
        ranges: Mapping[str, Range] = {} if self._is_variant else self.method.ranges
        given = {key.partition(".")[0] for key, _ in self.options}
        free: dict[str, Range | AnnealRange] = {name: range_ for name, range_ in ranges.items() if name not in given}
        return free | {"anneal": AnnealRange()} if self.option("anneal") == TUNE else free

    @property
    def untuned(self) -> "Spec":
        """The spec with the defaults of the options that it leaves to tuning.

        >>> str(Spec.parse("dtp:anneal=tune,gamma=2").untuned)
        'dtp:gamma=2'
        """
        return self.replace({"anneal": None}) if self.option("anneal") == TUNE else self

    @property
    def controls(self) -> Mapping[str, Mapping[str, Value]]:
        """The method's `controls`; empty for a variant, which does not have these options.

        >>> list(Spec.parse("dtp").controls), list(Spec.parse("dtp_paper").controls)
        (['easy first', 'raw weights'], [])
        """
        return {} if self._is_variant else self.method.controls

    @property
    def _is_variant(self) -> bool:
        """Whether a class method constructs the balancer with fixed options, such as dtp_paper."""
        return self.maker() is not self.method


def needed_options(name: str) -> list[str]:
    """Return the options that the method requires.

    Args:
        name: as in a `Spec`.

    Example:
        >>> needed_options("curriculum")
        ['order', 'epochs']
    """
    parameters = inspect.signature(Spec(name).maker()).parameters.values()
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in variadic and p.name != "tasks"]


def _load_class(path: Path, name: str) -> "type[Balancer]":
    """Load the class of this name from a user's file."""
    if not path.is_file():
        raise InputError(
            f"There is no file {path}. A balancer is a name (see `hardfirst list balancers`) or a class in a Python file, "
            "path/to/file.py:ClassName."
        )
    module = load_module(path, contract=_CONTRACT)
    if not hasattr(module, name):
        own = [key for key, value in vars(module).items() if isinstance(value, type) and value.__module__ == module.__name__]
        raise unknown(f"class in {path}:", name, own)
    loaded: type[Balancer] = getattr(module, name)
    _require_balancer(loaded, f"{name} in {path}")
    return loaded


def _require_balancer(method: object, what: str) -> None:
    from hardfirst.balancers._base import Balancer

    if not (isinstance(method, type) and issubclass(method, Balancer)):
        raise InputError(
            f"{what} is not a balancer. Derive it from hardfirst.LossBalancer, or from another base class in "
            "hardfirst.balancers."
        )
