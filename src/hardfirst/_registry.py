"""Lazy imports: registries whose entries are imported on first use, and the names of a package."""

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from hardfirst.errors import InputError, MissingPackage, unknown

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """A read-only mapping from names to objects that imports an object's module only when it is looked up.

    Listing the names imports nothing, so shell completion and `hardfirst --help` stay fast. A package can add names by entry
    points in `group`; it cannot replace a built-in name.

    Args:
        kind: the word for the objects in error messages.
        targets: by name, the location of the object, as "module:attribute".
        group: the entry-point group of plug-ins.
        distributions: by name, the plug-in's package on PyPI, for the error that says what to install.

    Example:
        >>> registry = Registry("function", {"sqrt": "math:sqrt"}, group="hardfirst.example")
        >>> list(registry), registry["sqrt"](9.0)
        (['sqrt'], 3.0)
        >>> registry["root"]
        Traceback (most recent call last):
        hardfirst.errors.InputError: Unknown function 'root'. Known: sqrt.
    """

    def __init__(
        self, kind: str, targets: Mapping[str, str], *, group: str, distributions: Mapping[str, str] | None = None
    ) -> None:
        self.kind, self.group = kind, group
        self._targets = dict(targets)
        self._distributions = dict(distributions or {})
        self.loaded: dict[str, T] = {}

    @cached_property
    def plugins(self) -> Mapping[str, EntryPoint]:
        """The entry points of installed packages, by name."""
        return {point.name: point for point in entry_points(group=self.group) if point.name not in self._targets}

    @property
    def classes(self) -> dict[str, str]:
        """Return, by class name, the target of each class that hardfirst's own names are built from, for `lazy_names`."""
        targets = (target.partition(":") for target in self._targets.values())
        names = ((module, attribute.partition(".")[0]) for module, _, attribute in targets)
        return {name: f"{module}:{name}" for module, name in names}

    def __getitem__(self, name: str) -> T:
        if name not in self.loaded:
            self.loaded[name] = self._load(name)
        return self.loaded[name]

    def _load(self, name: str) -> Any:
        if name in self._targets:
            return resolve(self._targets[name])
        if name not in self.plugins:
            raise self.unknown(name)
        point = self.plugins[name]
        try:
            return point.load()
        except Exception as error:  # a plug-in's module may raise anything
            package = f" of {point.dist.name}" if point.dist else ""
            raise InputError(
                f"The {self.kind} {name!r} comes from the plug-in {point.value}{package}, which cannot be imported: "
                f"{type(error).__name__}: {error}"
            ) from error

    @property
    def missing(self) -> Mapping[str, str]:
        """The names of plug-ins that are not installed, with the package to install for each."""
        installed = {*self._targets, *self.plugins}
        return {name: package for name, package in self._distributions.items() if name not in installed}

    def unknown(self, name: str) -> InputError:
        """Return the error for a name that is not in the registry; for a plug-in's name it says what to install."""
        packages = {missing.partition(":")[0]: package for missing, package in self.missing.items()}
        if package := packages.get(name.partition(":")[0]):
            reason = f"comes with {package}, which is not installed"
            return MissingPackage(f"The {self.kind} {name!r} {reason}: pip install {package}")
        return unknown(self.kind, name, self, listing=f"hardfirst list {self.kind}s")

    def __contains__(self, name: object) -> bool:
        return name in self.loaded or name in self._targets or name in self.plugins

    def __iter__(self) -> Iterator[str]:
        return iter({**self._targets, **self.plugins, **self.loaded})

    def __len__(self) -> int:
        return len(list(iter(self)))


def resolve(target: str) -> Any:
    """Return the object that "module:attribute" or "module" names.

    >>> resolve("math:pi.__class__")
    <class 'float'>
    """
    module, _, attributes = target.partition(":")
    resolved: Any = import_module(module)
    for attribute in filter(None, attributes.split(".")):
        resolved = getattr(resolved, attribute)
    return resolved


def lazy_names(package: str, targets: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` for a package whose names are imported on first use (PEP 562).

    Importing the package then stays fast: `hardfirst --help` and shell completion do not wait for torch.

    Args:
        package: the package's `__name__`.
        targets: by name, the location of the object, as "module:attribute" or "module".
    """

    def get_attribute(name: str) -> Any:
        if name not in targets:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        resolved = resolve(targets[name])
        setattr(sys.modules[package], name, resolved)  # the next lookup skips this function
        return resolved

    def list_names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *targets})

    return get_attribute, list_names
