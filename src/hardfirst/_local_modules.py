"""The modules that a user's Python file imports and that are not installed, since the file's behaviour depends on them."""

import ast
import hashlib
import importlib.util
import sysconfig
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import NamedTuple

from hardfirst.errors import InputError

_OWN = Path(__file__).resolve().parent
_NEVER_LOCAL = ("hardfirst", "torch")  # may be installed from a folder, and are identified by their versions


class LocalModule(NamedTuple):
    """A module's file, and the SHA-256 of its bytes."""

    file: Path
    sha256: str


def local_modules(path: Path, source: bytes) -> dict[str, LocalModule]:
    """Find the modules, by name, that a file imports, directly or indirectly, and that are not installed.

    Import statements, also those in functions, are parsed rather than executed, so that every process gets the same result
    regardless of what it has imported. Modules imported in another way, for example by `importlib`, are not found.

    Args:
        path: the file.
        source: its bytes.

    Raises:
        InputError: the file imports a name that a neighbouring file has, but Python finds another module for it.
    """
    importlib.invalidate_caches()  # for folders whose files have just been written
    modules: dict[str, LocalModule] = {}
    waiting = sorted(_imports(source, ""), reverse=True)
    seen = set(waiting)
    while waiting:
        name = waiting.pop()
        spec = _spec(name)
        if "." not in name:
            _check_neighbour(path, name, spec)
        file = _file(spec)
        if spec is None or file is None or file == path.resolve() or not _is_local(file):
            continue
        content = file.read_bytes()
        modules[name] = LocalModule(file, hashlib.sha256(content).hexdigest())
        if file.suffix == ".py":
            package = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
            new = _imports(content, package) - seen
            waiting += sorted(new, reverse=True)
            seen |= new
    return dict(sorted(modules.items()))


@lru_cache(maxsize=256)
def _imports(source: bytes, package: str) -> frozenset[str]:
    """Return the dotted names that a module may import, with the packages that contain them.

    Args:
        source: the bytes of the module.
        package: what relative imports are relative to.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # executing it reports the error
        return frozenset()
    names = {name for node in ast.walk(tree) for name in _names(node, package)}
    parents = {".".join(name.split(".")[:end]) for name in names for end in range(1, name.count(".") + 1)}
    return frozenset(names | parents)


def _names(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
        module = ".".join(filter(None, [*base, node.module]))
        yield from (f"{module}.{alias.name}".strip(".") for alias in node.names)


def _spec(name: str) -> ModuleSpec | None:
    """Find a module without executing code, unlike `find_spec`, which executes the packages that contain it."""
    top, *rest = name.split(".")
    spec = _top_spec(top)
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(f"{spec.name}.{part}", spec.submodule_search_locations)
    return spec


def _top_spec(name: str) -> ModuleSpec | None:
    if name in _NEVER_LOCAL:
        return None
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):  # a module without a spec, such as `__main__`
        return None


def _file(spec: ModuleSpec | None) -> Path | None:
    return Path(spec.origin).resolve() if spec is not None and spec.has_location and spec.origin else None


def _is_local(file: Path) -> bool:
    return not any(file.is_relative_to(folder) for folder in _installed()) and not {"site-packages", "dist-packages"} & set(
        file.parts
    )


@cache
def _installed() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    return (_OWN, *(Path(paths[name]).resolve() for name in ("stdlib", "platstdlib")))


def _check_neighbour(path: Path, name: str, spec: ModuleSpec | None) -> None:
    """Raise `InputError` if the file imports a neighbouring file's name but would get a module of another user folder.

    An installed module takes precedence over the neighbouring file: the file's folder is last on Python's path.
    """
    file, folder = _file(spec), path.resolve().parent
    neighbours = [each.resolve() for each in (folder / f"{name}.py", folder / name / "__init__.py") if each.is_file()]
    if neighbours and file is not None and _is_local(file) and file not in neighbours:
        raise InputError(
            f"{path} imports `{name}`, which is in the same folder, but Python finds another module of this name, {file}. "
            f"Rename {neighbours[0]}."
        )
