"""Two processes with different data, under DDP or under FSDP2.

    torchrun --standalone --nproc-per-node 2 examples/04_ranks.py         # DistributedDataParallel
    torchrun --standalone --nproc-per-node 2 examples/04_ranks.py fsdp    # fully_shard

      dist.init_process_group("gloo")
      network = DistributedDataParallel(Network())       # or fully_shard(...)
    + balancer = hardfirst.DTP(["digit", "zero"])
      for images, targets in batches_of_this_rank:
          outputs = network(images)
          losses = {task: F.cross_entropy(outputs[task], targets[task]) for task in outputs}
    -     loss = sum(losses.values())
    +     kpis = {task: accuracy(outputs[task], targets[task]) for task in outputs}
    +     loss = balancer(losses, kpis)
          loss.backward()

The balancer averages the KPIs over the ranks, in one small collective per step, so that all ranks have the same weights.
All ranks must make the same calls. docs/guides/loops.md explains what to do if a rank lacks labels for a task.
"""

import sys
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

import hardfirst
from hardfirst.kpi import accuracy

TASKS = ["digit", "zero"]


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(64, 16), nn.ReLU())
        self.heads = nn.ModuleDict({"digit": nn.Linear(16, 10), "zero": nn.Linear(16, 2)})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.trunk(images)
        return {task: head(features) for task, head in self.heads.items()}


def data() -> tuple[Tensor, dict[str, Tensor]]:
    """Return real handwritten digits [images, 64], which digit it is, and whether it is a zero."""
    pixels, digits = (torch.as_tensor(array) for array in load_digits(return_X_y=True))
    return pixels.float() / 16, {"digit": digits.long(), "zero": (digits == 0).long()}


def main(strategy: str = "ddp") -> dict[str, Any]:
    """Join the process group and train; each process calls this once, with "ddp" or "fsdp"."""
    dist.init_process_group("gloo")
    result = train(strategy)  # in a function, so that its network is freed before the group is destroyed
    dist.destroy_process_group()
    return result


def train(strategy: str) -> dict[str, Any]:
    """Train on this rank's share of the images."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(0)  # all ranks start from the same weights and use the same order of images
    images, targets = data()
    bare = Network()
    network: nn.Module = bare
    if strategy == "fsdp":
        mesh = init_device_mesh("cpu", (ranks,))
        for part in (bare.trunk, *bare.heads.values(), bare):
            fully_shard(part, mesh=mesh)
    else:
        network = DistributedDataParallel(bare)
    balancer = hardfirst.DTP(TASKS)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    history = []
    for _ in range(3):
        for batch in torch.randperm(len(images)).split(64):
            rows = batch[rank::ranks]
            outputs = network(images[rows])
            losses = {task: F.cross_entropy(outputs[task], targets[task][rows]) for task in TASKS}
            kpis = {task: accuracy(outputs[task], targets[task][rows]) for task in TASKS}
            loss = balancer(losses, kpis)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            history.append({task: (float(losses[task].detach()), float(kpis[task])) for task in TASKS})
    parameters = {name: parameter.detach() for name, parameter in bare.named_parameters()}
    whole = {name: value.full_tensor() if isinstance(value, DTensor) else value for name, value in parameters.items()}
    print(f"{strategy}, rank {rank}: losses and KPIs {history[-1]}, weights {dict(balancer.weights)}", flush=True)
    return {"history": history, "weights": dict(balancer.weights), "parameters": whole}


if __name__ == "__main__":
    main(*sys.argv[1:])
