"""The devices that a run trains on: whether they are there, and how their processes find each other."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from hardfirst.errors import InputError, unknown, whole

if TYPE_CHECKING:
    from lightning.fabric import (
        Fabric,  # loaded by `setup_fabric`: it takes seconds, which a study's parent need not wait for
    )

ACCELERATORS = ("auto", "cpu", "cuda", "gpu", "mps", "tpu")
STRATEGIES = ("auto", "ddp")


def check_devices(devices: int, strategy: str, accelerator: str) -> None:
    """Whether a run can train on so many devices.

    Raises:
        InputError: it cannot.
    """
    whole("devices", devices, least=1)
    for what, name, known in (("strategy", strategy, STRATEGIES), ("accelerator", accelerator, ACCELERATORS)):
        if name not in known:
            raise unknown(what, name, known)
    kind, here = _device_kind(accelerator), _local_devices(devices)
    if devices > 1 and (kind not in ("cpu", "cuda") or not dist.is_available()):
        raise InputError(f"Several devices train together on cpu or cuda; got {kind}. Leave out `devices`, or take cpu.")
    if kind == "cuda" and here > torch.cuda.device_count():
        raise InputError(
            f"Expected as many CUDA devices as `devices`, {here}; there are {torch.cuda.device_count()}. Take fewer, or "
            "accelerator cpu, where a device is a process."
        )


def torchrun_world_size() -> int:
    """How many processes torchrun started, of which this is one; 0 if it was started otherwise."""
    return int(os.environ["WORLD_SIZE"]) if dist.is_available() and dist.is_torchelastic_launched() else 0


def is_main_process(devices: int) -> bool:
    """Whether this process is the one that shows and writes things: the only one, or the first that torchrun started.

    Raises:
        InputError: torchrun started another number of processes than there are to be devices.
    """
    started = torchrun_world_size()
    if started not in (0, devices):
        raise InputError(f"`devices` is {devices}, and torchrun's --nproc-per-node gives {started}; they have to agree.")
    return not started or os.environ["RANK"] == "0"


def setup_fabric(devices: int, accelerator: str) -> "Fabric":
    """Fabric on one device, or in one of as many processes as there are devices: see `_launch`, which sets the environment
    that torchrun would.

    The process group stays, as Fabric leaves it. To destroy it here can deadlock: DDP then holds the last reference, and
    lets go of it with the GIL that a thread of gloo may wait for.
    """
    from lightning.fabric import Fabric

    if devices == 1:
        return Fabric(accelerator=accelerator, devices=1)
    here = _local_devices(devices)
    fabric = Fabric(accelerator=accelerator, devices=here, num_nodes=devices // here, strategy="ddp")
    with _without_info_logs():
        fabric.launch()
    return fabric


def _local_devices(devices: int) -> int:
    return int(os.environ["LOCAL_WORLD_SIZE"]) if devices > 1 and torchrun_world_size() else devices


def _device_kind(accelerator: str) -> str:
    if accelerator == "auto":
        return "mps" if torch.backends.mps.is_available() else "cuda" if torch.cuda.is_available() else "cpu"
    return "cuda" if accelerator == "gpu" else accelerator


@contextmanager
def _without_info_logs() -> Iterator[None]:
    """Without Lightning's banner."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)
