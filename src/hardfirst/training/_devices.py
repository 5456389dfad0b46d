"""The devices of a run: checks, and the setup of Lightning Fabric."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from hardfirst.errors import InputError, unknown, whole
from hardfirst.training._precision import fabric_precision

if TYPE_CHECKING:
    from lightning.fabric import Fabric  # imported by `setup_fabric`: it takes seconds, which a study's parent does not need

ACCELERATORS = ("auto", "cpu", "cuda", "gpu", "mps", "tpu")
STRATEGIES = ("auto", "ddp")


def check_devices(devices: int, strategy: str, accelerator: str, precision: str = "32-true") -> None:
    """Check that a run can train on these devices in this precision.

    Raises:
        InputError: an option is unknown, or there are too few devices.
    """
    whole("devices", devices, least=1)
    for option, name, names in (("strategy", strategy, STRATEGIES), ("accelerator", accelerator, ACCELERATORS)):
        if name not in names:
            raise unknown(option, name, names)
    kind, local = device_kind(accelerator), _local_devices(devices)
    if devices > 1 and (kind not in ("cpu", "cuda") or not dist.is_available()):
        raise InputError(f"Several devices train together only on cpu or cuda; got {kind}. Leave out `devices`, or use cpu.")
    if kind == "cuda" and local > torch.cuda.device_count():
        raise InputError(
            f"Expected as many CUDA devices as `devices`, {local}; there are {torch.cuda.device_count()}. Use fewer, or "
            "accelerator cpu, where each device is a process."
        )
    check_precision(precision, kind)
    if devices > 1 and precision.endswith("true") and precision != "32-true":
        raise InputError(f"Several devices train in precision 32-true, bf16-mixed or 16-mixed; got {precision}.")


def check_precision(precision: str, accelerator: str) -> None:
    """Check that an accelerator supports this precision.

    Raises:
        InputError: the precision is 16-mixed, and the accelerator is not a CUDA GPU.
    """
    if precision == "16-mixed" and (kind := device_kind(accelerator)) != "cuda":
        raise InputError(f"Precision 16-mixed needs a CUDA GPU, but the device is {kind}. Use bf16-mixed.")


def device_name(device: torch.device) -> str:
    """Return the model of a CUDA GPU, or the kind of any other device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def peak_memory(device: torch.device) -> int | None:
    """Return the peak memory in bytes: of torch's tensors on a GPU, else of the whole process; None if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # Linux counts in KiB


def torchrun_world_size() -> int:
    """Return the number of processes that torchrun started, including this one; 0 outside torchrun."""
    return int(os.environ["WORLD_SIZE"]) if dist.is_available() and dist.is_torchelastic_launched() else 0


def is_main_process(devices: int) -> bool:
    """Return whether this process prints and writes files: the only one, or the first that torchrun started.

    Raises:
        InputError: the number of processes that torchrun started differs from `devices`.
    """
    world_size = torchrun_world_size()
    if world_size not in (0, devices):
        raise InputError(f"`devices` is {devices}, but torchrun's --nproc-per-node is {world_size}; they must be equal.")
    return not world_size or os.environ["RANK"] == "0"


def setup_fabric(devices: int, accelerator: str, precision: str = "32-true") -> "Fabric":
    """Set up Fabric on one device, or as one of several processes whose environment torchrun or `_launch` has set.

    Like Fabric, this never destroys the process group. Destroying it here could deadlock: DDP would hold the last reference,
    and release it while holding the GIL, for which a thread of gloo may be waiting.
    """
    from lightning.fabric import Fabric

    if devices == 1:
        return Fabric(accelerator=accelerator, devices=1, precision=fabric_precision(precision))
    local = _local_devices(devices)
    fabric = Fabric(
        accelerator=accelerator,
        devices=local,
        num_nodes=devices // local,
        strategy="ddp",
        precision=fabric_precision(precision),
    )
    with _without_info_logs():
        fabric.launch()
    return fabric


def _local_devices(devices: int) -> int:
    return int(os.environ["LOCAL_WORLD_SIZE"]) if devices > 1 and torchrun_world_size() else devices


def device_kind(accelerator: str) -> str:
    """Return the kind of device that Fabric uses for an accelerator; does not initialize CUDA if NVML can count devices."""
    if accelerator == "auto":
        return "mps" if torch.backends.mps.is_available() else "cuda" if torch.cuda.device_count() else "cpu"
    return "cuda" if accelerator == "gpu" else accelerator


@contextmanager
def _without_info_logs() -> Iterator[None]:
    """Suppress Lightning's banner."""
    disabled_level = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(disabled_level)
