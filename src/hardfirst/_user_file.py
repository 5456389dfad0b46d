"""Python files of the user: each is executed once per process, and errors name the line in the file."""

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, TypeVar

from hardfirst._local_modules import LocalModule, local_modules
from hardfirst.errors import InputError

T = TypeVar("T")


class _Executed(NamedTuple):
    module: ModuleType
    sha256: str
    modules: Mapping[str, LocalModule]


_executed: dict[Path, _Executed] = {}


def load_module(path: Path, *, contract: str) -> ModuleType:
    """Execute a Python file once per process; again only if it or a module that it imports has changed.

    Modules in the same folder can be imported, also by processes that its code starts: the folder is added at the end of
    Python's path, so that no installed module is replaced by one of the same name.

    Args:
        path: an existing file.
        contract: a sentence on what such a file must define, for errors.

    Raises:
        InputError: the code raises an error, or a module in the same folder has the name of another one.
    """
    source = path.read_bytes()
    key = path.resolve()
    if str(key.parent) not in sys.path:
        sys.path.append(str(key.parent))
    sha256, modules = hashlib.sha256(source).hexdigest(), local_modules(path, source)
    before = _executed.get(key)
    if before is None or (before.sha256, before.modules) != (sha256, modules):
        for name in before.modules if before else ():
            sys.modules.pop(name, None)
        _executed[key] = _Executed(_execute(path, source, contract), sha256, modules)
    return _executed[key].module


def _execute(path: Path, source: bytes, contract: str) -> ModuleType:
    name = _module_name(path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise InputError(f"{path} cannot be read as a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # so that what the file defines can be pickled
    # the bytes that were hashed, rather than the loader's own second look at the file
    explain_errors(path, lambda: exec(compile(source, str(path), "exec"), vars(module)), contract=contract)
    return module


def _module_name(path: Path) -> str:
    """Return the name under which other processes can import the file, unless another module has it."""
    try:
        spec = importlib.util.find_spec(path.stem) if "." not in path.stem else None
    except (ImportError, ValueError):
        spec = None
    if spec is not None and spec.origin and Path(spec.origin).resolve() == path.resolve():
        return path.stem
    return f"hardfirst_user_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"


def file_sha256(path: Path) -> str:
    """Compute the SHA-256 of a file's bytes: those that this process has executed, if it has."""
    executed = _executed.get(path.resolve())
    return executed.sha256 if executed else hashlib.sha256(path.read_bytes()).hexdigest()


def modules_sha256(path: Path) -> str | None:
    """Compute one SHA-256 for the names and bytes of the local modules that a file imports; None if there are none."""
    modules = modules_of(path)
    text = "\n".join(f"{name} {module.sha256}" for name, module in modules.items())
    return hashlib.sha256(text.encode()).hexdigest() if modules else None


def modules_of(path: Path) -> Mapping[str, LocalModule]:
    """Return, by name, the local modules that a file imports: those executed by this process, if it has executed it."""
    executed = _executed.get(path.resolve())
    return executed.modules if executed else local_modules(path, path.read_bytes())


def explain_errors(path: Path, function: Callable[[], T], *, contract: str = "", located: bool = False) -> T:
    """Call a function; if it fails in the code of a user's file, raise an error that names the file and the line.

    Args:
        path: the user's file. Errors pass unchanged if it is not a `.py` file.
        function: a function that calls the file's code.
        contract: a sentence on what such a file must define, for errors in code that it applies to.
        located: whether errors without a line in the file pass unchanged, since the function also calls other code.

    Raises:
        InputError: the function fails, or raises an `InputError` itself.
    """
    try:
        return function()
    except SystemExit as error:  # raised, for example, by a script that parses its own arguments
        if path.suffix != ".py" or not (line := _line(path, error)):
            raise
        raise InputError(f"{path}{line}: it ends the program, by SystemExit {error.code!r}. {contract}".rstrip()) from error
    except Exception as error:
        line = _line(path, error)
        # without a line, these errors are not caused by the file: for example a missing package, or a full disk
        passes = not line and (located or isinstance(error, InputError | ImportError | OSError))
        if path.suffix != ".py" or passes:
            raise
        text = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        raise InputError(f"{path}{line}: {text} {contract}".rstrip()) from error


def _line(path: Path, error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.lineno:
        return f", line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == path.resolve()]
    return f", line {lines[-1]}" if lines else ""
