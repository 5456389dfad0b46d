"""The user's folders for data and for caches."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from hardfirst.errors import MissingPackage

if TYPE_CHECKING:
    from platformdirs import PlatformDirs


def data_folder() -> Path:
    """Return the folder for data files: `HARDFIRST_DATA`, or `hardfirst` in the user's data folder.

    Example:
        >>> data_folder().is_absolute()
        True
    """
    folder = os.environ.get("HARDFIRST_DATA")
    return Path(folder) if folder else _user_folders().user_data_path


def cache_folder() -> Path:
    """Return the folder for files that can be created again: `hardfirst` in the user's cache folder.

    Example:
        >>> cache_folder().is_absolute()
        True
    """
    return _user_folders().user_cache_path


def _user_folders() -> "PlatformDirs":
    try:
        from platformdirs import PlatformDirs
    except ImportError:
        raise MissingPackage('Finding the user\'s folders needs platformdirs: pip install "hardfirst[cli]"') from None
    return PlatformDirs("hardfirst", appauthor=False)  # no parent folder named after the author on Windows
