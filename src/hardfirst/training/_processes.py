"""Processes that start quickly, and do not outlive the one that started them."""

import multiprocessing
import os
from collections.abc import Sequence
from typing import Any


def process_context(preload: Sequence[str]) -> Any:  # typeshed gives the contexts' common base no Process
    """A way to start processes that have these modules already, where the system has one; else fresh interpreters.

    A module that is not installed is passed over.
    """
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    found = multiprocessing.get_context(method)
    if method == "forkserver":
        found.set_forkserver_preload(list(preload))
    return found


def exit_with_parent() -> None:
    """Wait until the parent has ended, then end; for a thread."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
