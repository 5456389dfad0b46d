"""How many trials of a block are trained together."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hardfirst.studies.trials import StudyTrial
from hardfirst.studies.tuning import EQUAL
from hardfirst.training import Preview, Trial, device_kind, preview

MOST = 32  # more trials at a time save little, and leave other processes without work
_SHARE = 1 / 4  # of the machine's memory, for all processes together
_CGROUP = Path("/sys/fs/cgroup/memory.max")  # of a container


class Together:
    """Looks up, once for each problem and network, whether trials can be trained together and how many fit into memory.

    Args:
        workers: the number of blocks at a time.
        accelerator: as in Lightning Fabric.
        tell: called with a trial, and the reason why those like it are trained one by one.
    """

    def __init__(self, workers: int, accelerator: str, tell: Callable[[StudyTrial, str], None]) -> None:
        self.bytes, self.device, self.tell = int(_SHARE * _memory() / workers), device_kind(accelerator), tell
        self._previews: dict[Trial, Preview] = {}

    def __call__(self, trial: StudyTrial) -> int:
        """The greatest number of trials like this one in a block."""
        single = trial.trial
        only = single.only if single.loss else None  # a block has single-task runs of several tasks
        like = replace(single, balancer=EQUAL, seed=0, learning_rate=trial.problem.learning_rate, only=only)
        if like not in self._previews:
            self._previews[like] = found = preview(like, self.device)
            if found.reason:
                self.tell(trial, found.reason)
            elif self.bytes < 2 * found.size:
                size = f"{found.size / 2**20:.0f} MiB"
                self.tell(trial, f"two at a time would take more than a quarter of the machine's memory, at {size} each.")
        found = self._previews[like]
        return 1 if found.reason else min(MOST, max(1, self.bytes // max(1, found.size)))


def _memory() -> int:
    """The machine's memory in bytes, or that of the container."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 * 2**30
    limit = _CGROUP.read_text().strip() if _CGROUP.is_file() else "max"
    return min(memory, int(limit)) if limit.isdecimal() else memory
