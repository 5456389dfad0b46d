"""Balancers by name, and the one-line text that makes one: `dtp:gamma=2,alpha=0.05`."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hardfirst._spec import SpecBase
from hardfirst.balancers._base import Balancer
from hardfirst.balancers._search_space import Range
from hardfirst.balancers.achievement import Achievement
from hardfirst.balancers.aligned_mtl import AlignedMTL
from hardfirst.balancers.cagrad import CAGrad
from hardfirst.balancers.config import ConFIG
from hardfirst.balancers.curriculum import Curriculum
from hardfirst.balancers.db_mtl import DBMTL
from hardfirst.balancers.dtp import DTP
from hardfirst.balancers.dwa import DWA
from hardfirst.balancers.equal import Equal
from hardfirst.balancers.famo import FAMO
from hardfirst.balancers.fixed import Fixed
from hardfirst.balancers.geometric import Geometric
from hardfirst.balancers.graddrop import GradDrop
from hardfirst.balancers.gradnorm import GradNorm
from hardfirst.balancers.gradvac import GradVac
from hardfirst.balancers.imtl_g import IMTLG
from hardfirst.balancers.imtl_l import IMTLL
from hardfirst.balancers.learning_progress import LearningProgress
from hardfirst.balancers.mgda import MGDA
from hardfirst.balancers.nash_mtl import NashMTL
from hardfirst.balancers.pcgrad import PCGrad
from hardfirst.balancers.random import RLW
from hardfirst.balancers.self_paced import SelfPaced
from hardfirst.balancers.stch import STCH
from hardfirst.balancers.uncertainty import Uncertainty
from hardfirst.balancers.upgrad import UPGrad
from hardfirst.balancers.uw_so import UWSO
from hardfirst.errors import InputError

BALANCERS: dict[str, Callable[..., Balancer]] = {
    "dtp": DTP,
    "dtp_paper": DTP.paper,
    "equal": Equal,
    "fixed": Fixed,
    "frozen": Fixed.frozen,
    "dwa": DWA,
    "geometric": Geometric,
    "imtl_l": IMTLL,
    "random": RLW,
    "stch": STCH,
    "uncertainty": Uncertainty,
    "gradnorm": GradNorm,
    "famo": FAMO,
    "achievement": Achievement,
    "curriculum": Curriculum,
    "self_paced": SelfPaced,
    "learning_progress": LearningProgress,
    "uw_so": UWSO,
    "pcgrad": PCGrad,
    "mgda": MGDA,
    "cagrad": CAGrad,
    "imtl_g": IMTLG,
    "nash_mtl": NashMTL,
    "aligned_mtl": AlignedMTL,
    "upgrad": UPGrad,
    "gradvac": GradVac,
    "graddrop": GradDrop,
    "config": ConFIG,
    "db_mtl": DBMTL,
}


@dataclass(frozen=True)
class Spec(SpecBase):
    """A balancer as a line of text: a name, and options sorted by their keys.

    `name:key=value,key=value`. A value is a number, true, false, none, a word, or a list joined by "+". An option that takes
    one value per task is written `gamma.depth=2` (the task is all that follows the first dot); a method whose first
    option is such a mapping takes the tasks directly: `fixed:depth=1,segment=2`.

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
    makers = BALANCERS

    @classmethod
    def parse_list(cls, text: str) -> list["Spec"]:
        """Read specs joined by commas; a piece with "=" but no name goes on with the spec before it.

        The word "all" stands for every method that can be made from its name alone.

        >>> [str(spec) for spec in Spec.parse_list("equal,dtp:gamma=2,alpha=0.05,uncertainty")]
        ['equal', 'dtp:alpha=0.05,gamma=2', 'uncertainty']
        """
        specs = [cls.parse(text) for text in cls.split(text)]
        for position, spec in enumerate(specs):
            if spec in specs[:position]:
                raise InputError(f"Balancer {str(spec)!r} is given twice.")
        return specs

    @classmethod
    def split(cls, text: str) -> list[str]:
        """The texts of the single specs in a list as `parse_list` reads it.

        Raises:
            InputError: there is none.
        """
        simple = ",".join(name for name in sorted(BALANCERS) if not needed_options(name))
        return super().split(",".join(simple if piece.strip() == "all" else piece for piece in text.split(",")))

    def build(self, tasks: Sequence[str], *, seed: int = 0) -> Balancer:
        """Make the balancer for these tasks; `seed` is for methods that draw random numbers, unless the spec has one.

        Raises:
            InputError: the method refuses an option, or lacks one that it needs.
        """
        arguments = self._arguments()
        if arguments.get("potential") == "stl":
            raise InputError(
                f"{str(self)!r} takes potentials from single-task runs, which only a study has: use it in `hardfirst "
                "compare`, or give a potential for each task, potential.TASK=0.9."
            )
        if missing := [option for option in needed_options(self.name) if option not in arguments]:
            example = ",".join(f"{option}=…" for option in missing)
            raise InputError(f"Balancer {self.name!r} needs the options {', '.join(missing)}; write {self.name}:{example}.")
        if "seed" in inspect.signature(BALANCERS[self.name]).parameters:
            arguments.setdefault("seed", seed)
        return BALANCERS[self.name](tasks, **arguments)

    def per_task(self, option: str, values: Mapping[str, float]) -> "Spec":
        """The spec with the option's value for each task, in place of one for all.

        >>> str(Spec.parse("dtp:potential=stl").per_task("potential", {"a": 0.9}))
        'dtp:potential.a=0.9'
        """
        return self.replace({option: None, **{f"{option}.{task}": value for task, value in values.items()}})

    @property
    def method(self) -> type[Balancer]:
        """The class that makes it."""
        made: Any = BALANCERS[self.name]
        found: type[Balancer] = getattr(made, "__self__", made)  # dtp_paper is a classmethod of DTP
        return found

    @property
    def free(self) -> Mapping[str, Range]:
        """The ranges of the options that a study may tune: those that the method declares and the spec leaves open.

        >>> list(Spec.parse("dtp:gamma=2").free)
        ['alpha', 'uniform']
        """
        made = BALANCERS[self.name]
        declared: Mapping[str, Range] = made.ranges if isinstance(made, type) and issubclass(made, Balancer) else {}
        given = {key.partition(".")[0] for key, _ in self.options}
        return {option: found for option, found in declared.items() if option not in given}


def needed_options(name: str) -> list[str]:
    """The options without which the method cannot be made.

    >>> needed_options("curriculum")
    ['order', 'epochs']
    """
    parameters = inspect.signature(BALANCERS[name]).parameters.values()
    return [parameter.name for parameter in parameters if parameter.default is parameter.empty and parameter.name != "tasks"]
