"""The GPUs of this machine that the local engine shares out."""

import os

import torch

from hardfirst.training import device_kind

VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus(accelerator: str) -> tuple[str, ...]:
    """The GPUs that trials may use, by the names that CUDA_VISIBLE_DEVICES takes; none if the accelerator is not CUDA.

    Where the user has set CUDA_VISIBLE_DEVICES, the names are those in it: numbers, or UUIDs of GPUs or of MIG instances.
    Only as many count as CUDA finds, since it ignores all from the first unknown one on.
    """
    if device_kind(accelerator) != "cuda":
        return ()
    count = torch.cuda.device_count()  # asks NVML, so that this process has no context on a GPU
    given = os.environ.get(VISIBLE)
    names = [str(index) for index in range(count)] if given is None else [name.strip() for name in given.split(",")]
    return tuple(names[:count])
