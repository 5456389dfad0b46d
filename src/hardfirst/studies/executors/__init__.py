"""Engines: what runs the trials of a study. One engine a file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hardfirst._registry import Registry
from hardfirst._spec import SpecBase
from hardfirst.studies.executors.base import Executor

ENGINES: Registry[type[Executor]] = Registry(
    "engine",
    {
        "local": "hardfirst.studies.executors.local:Local",
        "ray": "hardfirst.studies.executors.ray:Ray",
        "slurm": "hardfirst.studies.executors.slurm:Slurm",
    },
    group="hardfirst.engines",
)
"""By name, the class whose keyword arguments are the engine's options."""

# Settings of plans written before engines were specs, and the options that they became.
_OLD_SETTINGS = {"address": "address", "trial_cpus": "cpus", "trial_gpus": "gpus"}


@dataclass(frozen=True)
class EngineSpec(SpecBase):
    """An engine as a line of text: a name and options, in the grammar of `hardfirst.Spec`.

    Example:
        >>> str(EngineSpec.parse("ray:gpus=0.5,cpus=2,address=auto"))
        'ray:address=auto,cpus=2,gpus=0.5'
    """

    kind = "engine"
    registry = ENGINES

    def build(self) -> Executor:
        """Make the engine; nothing is started.

        Raises:
            InputError: an option is out of range.
        """
        engine: Executor = self.maker()(**self.arguments())
        return engine

    @staticmethod
    def with_engine(settings: Mapping[str, Any]) -> dict[str, Any]:
        """A plan's settings with the spec of its engine in place of the settings that older plans have for its options.

        >>> EngineSpec.with_engine({"seeds": 3, "engine": "ray", "trial_cpus": 2})
        {'seeds': 3, 'engine': 'ray:cpus=2'}
        """
        engine = settings.get("engine", "local")
        if engine not in ("local", "ray"):  # not a plan of that age
            return dict(settings)
        plain = str | int | float | None  # anything else is no value of an option
        old = {name: settings[name] for name in _OLD_SETTINGS.keys() & settings if isinstance(settings[name], plain)}
        options = {_OLD_SETTINGS[name]: value for name, value in old.items() if value is not None}
        others = {name: value for name, value in settings.items() if name not in old}
        if engine == "ray" and options:  # the local engine never had options, and passed over them
            others["engine"] = str(EngineSpec("ray", tuple(sorted(options.items()))))
        return others
