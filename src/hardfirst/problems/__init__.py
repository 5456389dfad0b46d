"""Problems to train on: data, a network and tasks. Each built-in problem is one file; plug-ins add more."""

from typing import TYPE_CHECKING, Any

from hardfirst._registry import Registry, lazy_names
from hardfirst.records.names import OWN

if TYPE_CHECKING:
    from hardfirst.problems._augmented import Augmented as Augmented
    from hardfirst.problems._base import Problem as Problem
    from hardfirst.problems._base import Splits as Splits
    from hardfirst.problems._cache import cached as cached
    from hardfirst.problems._data import IGNORE as IGNORE
    from hardfirst.problems._data import Batch as Batch
    from hardfirst.problems._data import ConcatSplit as ConcatSplit
    from hardfirst.problems._data import Split as Split
    from hardfirst.problems._data import TensorTable as TensorTable
    from hardfirst.problems._data import collate as collate
    from hardfirst.problems._folders import cache_folder as cache_folder
    from hardfirst.problems._folders import data_folder as data_folder
    from hardfirst.problems._load import digest as digest
    from hardfirst.problems._load import explained as explained
    from hardfirst.problems._load import load_problem as load_problem
    from hardfirst.problems._load import modules_digest as modules_digest
    from hardfirst.problems._published import Published as Published
    from hardfirst.problems._published import PublishedMeasure as PublishedMeasure
    from hardfirst.problems._published import batch_mean as batch_mean
    from hardfirst.problems._sources import Debian as Debian
    from hardfirst.problems._sources import Npm as Npm
    from hardfirst.problems._sources import Package as Package
    from hardfirst.problems._sources import PyPI as PyPI
    from hardfirst.problems._sources import Source as Source
    from hardfirst.problems._task import LossOption as LossOption
    from hardfirst.problems._task import Measure as Measure
    from hardfirst.problems._task import Metric as Metric
    from hardfirst.problems._task import Task as Task
    from hardfirst.problems.builtin import brown as brown
    from hardfirst.problems.builtin import census as census
    from hardfirst.problems.builtin import digits as digits
    from hardfirst.problems.builtin import mnist_fashion as mnist_fashion
    from hardfirst.problems.builtin import optical as optical
    from hardfirst.problems.builtin import qm9 as qm9
    from hardfirst.problems.fields import FIELDS as FIELDS
    from hardfirst.problems.fields import FolderProblem as FolderProblem
    from hardfirst.problems.fields import folder_name as folder_name
    from hardfirst.problems.tables import TableTransform as TableTransform
    from hardfirst.problems.tables import table_name as table_name
    from hardfirst.problems.tables import table_transform as table_transform
    from hardfirst.problems.tables._card import data_card as data_card

_BUILTIN = "hardfirst.problems.builtin"

PROBLEMS: Registry[Any] = Registry(
    "problem",
    {
        "digits": f"{_BUILTIN}.digits:problem",
        "mnist_fashion": f"{_BUILTIN}.mnist_fashion:problem",
        "mnist_fashion:crowded": f"{_BUILTIN}.mnist_fashion:crowded",
        "mnist_fashion:apart": f"{_BUILTIN}.mnist_fashion:apart",
        "census": f"{_BUILTIN}.census:problem",
        "qm9": f"{_BUILTIN}.qm9:problem",
        "brown": f"{_BUILTIN}.brown:problem",
        "optical": f"{_BUILTIN}.optical:problem",
    },
    group="hardfirst.problems",
    distributions={"scenes": "hardfirst-scenes", "scenes:small": "hardfirst-scenes"},
)
"""By name, the function that returns the problem. Plug-ins add names."""

_NAMES = {
    "_augmented": ("Augmented",),
    "_base": ("Problem", "Splits"),
    "_cache": ("cached",),
    "_data": ("Batch", "ConcatSplit", "IGNORE", "Split", "TensorTable", "collate"),
    "_folders": ("cache_folder", "data_folder"),
    "_load": ("digest", "explained", "load_problem", "modules_digest"),
    "_published": ("Published", "PublishedMeasure", "batch_mean"),
    "_sources": ("Debian", "Npm", "Package", "PyPI", "Source"),
    "_task": ("LossOption", "Measure", "Metric", "Task"),
    "fields": ("FIELDS", "FolderProblem", "folder_name"),
    "tables": ("TableTransform", "table_name", "table_transform"),
    "tables._card": ("data_card",),
}
"""By module, what it has for users."""

_HOMES = {name: f"{__name__}.{module}:{name}" for module, names in _NAMES.items() for name in names}
_MODULES = ("brown", "census", "digits", "mnist_fashion", "optical", "qm9")

__all__ = ["OWN", "PROBLEMS", *_HOMES]  # noqa: PLE0604  # the names of a table, all strings

__getattr__, __dir__ = lazy_names(__name__, _HOMES | {module: f"{_BUILTIN}.{module}" for module in _MODULES})
