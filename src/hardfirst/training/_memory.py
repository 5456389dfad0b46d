"""Peak memory of a run."""

import sys

import torch


def peak_memory(device: torch.device) -> int | None:
    """Return the peak memory in bytes: of torch's tensors on a GPU, else of the whole process; None if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # Linux counts in KiB
