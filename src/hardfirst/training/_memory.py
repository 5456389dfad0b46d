"""What a run took of the machine's memory."""

import sys

import torch


def peak_memory(device: torch.device) -> int | None:
    """The most bytes held so far: of the GPU by torch, else by the whole process; None where neither can be told."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # Linux counts in KiB
