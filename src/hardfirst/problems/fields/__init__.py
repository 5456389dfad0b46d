"""Published benchmarks: problems that read their data from a folder given by the user, as in `nyuv2?data=DIR`."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from hardfirst._registry import resolve
from hardfirst.errors import InputError

if TYPE_CHECKING:
    from hardfirst.problems._base import Problem

_HASHED_FILES, _HASHED_BYTES = 8, 2**24


@dataclass(frozen=True)
class FolderProblem:
    """A problem that reads its data from a folder given by the user.

    Args:
        module: the module with the functions `problem(folder)`, which returns the Problem without reading its data, and
            `check(folder)`, which returns sentences about the folder. It is imported when one of them is called.
        tasks: the tasks, for `hardfirst list problems`.
        description: one sentence, for `hardfirst list problems`.
        layout: the expected files, below DIR.
        source: where to get the data.
        size: the size of the data, as text.
        variant: the second argument of both functions, for a module with several problems; None if it has only one.

    Example:
        >>> FIELDS["nyuv2"].size
        '9 GB'
    """

    module: str
    tasks: str
    description: str
    layout: str
    source: str
    size: str
    variant: str | None = None

    def call(self, function: str, folder: Path) -> Any:
        """Return the result of one of the module's functions."""
        of_variant: Callable[..., Any] = resolve(f"{self.module}:{function}")
        return of_variant(folder, *[self.variant] * (self.variant is not None))


_MTAN = "the README of MTAN, github.com/lorenmt/mtan"
_LIBMTL = "the README of LibMTL, github.com/median-research-group/LibMTL"
_DOMAINS = "DIR/DOMAIN/CLASS/*.jpg and the lists DIR/DOMAIN_{train,val,test}.txt"

_NYUV2 = FolderProblem(
    f"{__name__}.nyuv2",
    "segment, depth, normals",
    "Indoor pictures with 13 classes, depth and surface normals, 288×384.",
    "DIR/{train,val}/{image,label,depth,normal}/0.npy, 1.npy, …",
    _MTAN,
    "9 GB",
)

FIELDS: dict[str, FolderProblem] = {
    "nyuv2": _NYUV2,
    "nyuv2:deeplab": replace(
        _NYUV2,
        description="The same with LibMTL's recipe: a dilated ResNet-50 with DeepLab's heads.",
        variant="deeplab",
    ),
    "cityscapes": FolderProblem(
        f"{__name__}.cityscapes",
        "segment, depth",
        "Street pictures with 7 classes and inverse depth, 128×256.",
        "DIR/{train,val}/{image,label_7,depth}/0.npy, 1.npy, …; label in place of label_7 is read as well",
        _MTAN,
        "650 MB",
    ),
    "celeba": FolderProblem(
        f"{__name__}.celeba",
        "40 attributes",
        "Forty yes-or-no attributes of faces, 64×64.",
        "DIR/Img/img_align_celeba/000001.jpg, …, DIR/Anno/list_attr_celeba.txt and DIR/Eval/list_eval_partition.txt, or "
        "torchvision's DIR/celeba/ with the same files",
        "mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
        "2.5 GB decoded",
    ),
    "qm9_pyg": FolderProblem(
        f"{__name__}.qm9_pyg",
        "11 properties of molecules",
        "Eleven properties of molecules as graphs, in the files of PyTorch Geometric.",
        "DIR/raw/qm9_v3.pt or DIR/processed/data_v3.pt",
        "torch_geometric.datasets.QM9, which downloads it",
        "130,831 graphs",
    ),
    "office_31": FolderProblem(
        f"{__name__}.office",
        "amazon, dslr, webcam",
        "Objects of an office in three kinds of pictures, a task each, 31 classes.",
        _DOMAINS,
        _LIBMTL,
        "4,110 pictures",
        "office_31",
    ),
    "office_home": FolderProblem(
        f"{__name__}.office",
        "Art, Clipart, Product, Real_World",
        "Objects of office and home in four kinds of pictures, a task each, 65 classes.",
        _DOMAINS,
        _LIBMTL,
        "15,500 pictures",
        "office_home",
    ),
    **{
        f"aliexpress:{country}": FolderProblem(
            f"{__name__}.aliexpress",
            "click, conversion",
            f"Clicks and purchases of a shop's visitors in {name}.",
            f"DIR/AliExpress_{country.upper()}/{{train,test}}.csv",
            "the README of MTReclib, github.com/easezyc/Multitask-Recommendation-Library",
            "–",
            country,
        )
        for country, name in {"nl": "the Netherlands", "es": "Spain", "fr": "France", "us": "the United States"}.items()
    },
    "coco_persons": FolderProblem(
        f"{__name__}.coco_persons",
        "presence, mask, box, keypoints",
        "Pictures with one person or none: the four tasks of the DTP paper, 256×256.",
        "DIR/annotations/person_keypoints_{train,val}2017.json and DIR/{train,val}2017/*.jpg",
        "cocodataset.org",
        "17 GB decoded",
    ),
}
"""The problems that read a folder, by name."""


def folder_name(name: str, folder: Path) -> str:
    """Return the name under which `load_problem` loads a problem with its folder.

    Args:
        name: one of `FIELDS`.
        folder: the folder of its data; the name contains the absolute path.

    Raises:
        InputError: the problem does not read a folder.

    Example:
        >>> folder_name("nyuv2", Path("/data/NYU v2; 100%"))
        'nyuv2?data=/data/NYU%20v2%3B%20100%25'
    """
    if name not in FIELDS:
        raise InputError(f"{name} does not read a folder; the problems that do: {', '.join(FIELDS)}.")
    return f"{name}?data={quote(str(folder.expanduser().absolute()), safe='/:')}"


def is_folder_problem(problem: str) -> bool:
    """Return whether a problem's name is one of `FIELDS`, with or without its folder."""
    return problem.partition("?")[0] in FIELDS


def load(problem: str) -> "Problem":
    """Load a problem that reads a folder.

    Args:
        problem: a name from `folder_name`.

    Raises:
        InputError: the name has no folder, or the folder is missing or does not fit the problem.
    """
    name, folder = _resolved(problem)
    loaded: Problem = FIELDS[name].call("problem", folder)
    return loaded


def check(problem: str) -> list[str]:
    """Check a problem's folder, and return sentences about its contents.

    Args:
        problem: a name from `folder_name`.

    Raises:
        InputError: as in `load`, or a file is damaged or of the wrong kind.
    """
    name, folder = _resolved(problem)
    sentences: list[str] = FIELDS[name].call("check", folder)
    return sentences


def digest(problem: str) -> str:
    """Return a checksum of a problem's folder, which does not depend on its path.

    It covers the names and sizes of all files, and the first 16 MiB of eight of them. Hidden files are left out. It is
    computed once per process.

    Args:
        problem: a name from `folder_name`.
    """
    name, folder = _resolved(problem)
    return hashlib.sha256(f"{name} {_folder_digest(folder)}".encode()).hexdigest()


def _resolved(problem: str) -> tuple[str, Path]:
    """Return the problem's name and its folder.

    Raises:
        InputError: no folder is given, or it does not exist.
    """
    name, _, query = problem.partition("?")
    key, _, text = query.partition("=")
    expected = _expected(name)
    if query and (key != "data" or not text):
        raise InputError(f"Expected {name}?data=DIR; got {problem}. {expected}")
    if not query:
        raise InputError(f"{name} reads its data from a folder: add --data DIR (or write {name}?data=DIR). {expected}")
    folder = Path(unquote(text))
    if folder.is_file():
        raise InputError(f"{folder} is a file; {name} reads its data from a folder. {expected}")
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder} for the data of {name}. {expected}")
    return name, folder


def lacks(name: str, what: str) -> InputError:
    """Return the error for a problem's folder in which a file or folder is missing."""
    return InputError(f"There is no {what}. {_expected(name)}")


def _expected(name: str) -> str:
    return f"Expected {FIELDS[name].layout}; get it from {FIELDS[name].source}."


def held_out(name: str) -> bool:
    """Return whether an example of the published training split is held out for validation: 10%, by a hash of the name.

    Args:
        name: the name of the example's file, or its identifier.

    Example:
        >>> [name for name in map(str, range(20)) if held_out(name)]
        ['0', '7', '9', '10']
    """
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % 10 == 0


@cache
def _folder_digest(folder: Path) -> str:
    sizes = sorted(_sizes(folder))
    if not sizes:
        return "empty"
    text = hashlib.sha256(repr(sizes).encode())
    last = len(sizes) - 1
    for index in sorted({last * step // (_HASHED_FILES - 1) for step in range(_HASHED_FILES)}):
        with (folder / sizes[index][0]).open("rb") as file:
            text.update(hashlib.sha256(file.read(_HASHED_BYTES)).digest())
    return text.hexdigest()


def _sizes(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield the path of each file below the folder, with forward slashes, and its size."""
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = _visible(folders)
        for path in (Path(parent) / file for file in _visible(files)):
            yield path.relative_to(folder).as_posix(), path.stat().st_size


def _visible(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.startswith(".")]
