"""Child processes that start quickly and end with their parent."""

import multiprocessing
import os
from collections.abc import Sequence
from typing import Any


def process_context(preload: Sequence[str]) -> Any:  # typeshed gives the contexts' common base no Process
    """The multiprocessing context for child processes: a fork server that has imported `preload`, or spawn.

    A fork server starts a child in milliseconds, where a fresh interpreter would import torch for seconds; systems without
    one spawn. Modules that are not installed are ignored.
    """
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(list(preload))
    return context


def exit_with_parent() -> None:
    """Wait for the parent process to end, then exit; run it in a daemon thread."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
