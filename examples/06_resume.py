"""Save in the middle of an epoch, and resume in a new process with an identical result.

      checkpoint = {
          "network": network.state_dict(),
          "optimizer": optimizer.state_dict(),
    +     "balancer": balancer.state_dict(),
          "random": torch.get_rng_state(),
          "order": order,                                # of the images in this epoch
          "step": step,
      }
      torch.save(checkpoint, path)

      checkpoint = torch.load(path, weights_only=True)
      network.load_state_dict(checkpoint["network"])
      optimizer.load_state_dict(checkpoint["optimizer"])
    + balancer.load_state_dict(checkpoint["balancer"])

A balancer's state consists of tensors whose shapes are the same in every step, and the names of the tasks. It does not
contain the options: construct the balancer with the same ones. A loop with dropout and shuffled batches needs the rest of
this checkpoint in any case.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

import hardfirst
from hardfirst.kpi import accuracy

TASKS = ["digit", "zero"]
STEPS, EPOCH, BATCH = 60, 28, 64  # an epoch has 28 steps; its last five images are dropped


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.2))
        self.heads = nn.ModuleDict({"digit": nn.Linear(32, 10), "zero": nn.Linear(32, 2)})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.trunk(images)
        return {task: head(features) for task, head in self.heads.items()}


def data() -> tuple[Tensor, dict[str, Tensor]]:
    """Return real handwritten digits [images, 64], which digit it is, and whether it is a zero."""
    pixels, digits = (torch.as_tensor(array) for array in load_digits(return_X_y=True))
    return pixels.float() / 16, {"digit": digits.long(), "zero": (digits == 0).long()}


def train(path: Path, *, stop: int = STEPS, seed: int = 0) -> dict[str, Any]:
    """Train until step `stop` and save; resume from `path` if it exists."""
    torch.manual_seed(seed)
    images, targets = data()
    network, balancer = Network(), hardfirst.DTP(TASKS)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    begin, order = 0, torch.empty(0)
    if path.exists():
        checkpoint = torch.load(path, weights_only=True)
        network.load_state_dict(checkpoint["network"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        balancer.load_state_dict(checkpoint["balancer"])
        torch.set_rng_state(checkpoint["random"])
        begin, order = checkpoint["step"], checkpoint["order"]
    for step in range(begin, stop):
        if step % EPOCH == 0:
            order = torch.randperm(len(images))
        rows = order.split(BATCH)[step % EPOCH]
        outputs = network(images[rows])
        losses = {task: F.cross_entropy(outputs[task], targets[task][rows]) for task in TASKS}
        kpis = {task: accuracy(outputs[task], targets[task][rows]) for task in TASKS}
        optimizer.zero_grad()
        balancer(losses, kpis).backward()
        optimizer.step()
    objects = {"network": network, "optimizer": optimizer, "balancer": balancer}
    state = {name: each.state_dict() for name, each in objects.items()}
    torch.save(state | {"random": torch.get_rng_state(), "order": order, "step": stop}, path)
    return state


def main(stop: int = 40) -> dict[str, Any]:
    """Train without interruption, and again with a stop at step `stop` and a resumed run."""
    with TemporaryDirectory() as folder:
        whole = train(Path(folder) / "whole.pt")
        stopped = train(Path(folder) / "stopped.pt", stop=stop)
        resumed = train(Path(folder) / "stopped.pt", seed=1)
    same = all(torch.equal(whole["network"][name], tensor) for name, tensor in resumed["network"].items())
    print(f"stopped at step {stop}, {stop % EPOCH} steps into an epoch of {EPOCH}")
    before, after = (dict(zip(TASKS, run["balancer"]["kpi.average"].tolist(), strict=True)) for run in (stopped, resumed))
    print(f"averages of the KPIs: {before} at the stop, {after} at the end")
    print(f"same parameters as without interruption: {same}")
    return {"whole": whole, "stopped": stopped, "resumed": resumed}


if __name__ == "__main__":
    main()
