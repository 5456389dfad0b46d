"""Accelerate: only the balancer is imported from hardfirst.

    + balancer = hardfirst.DTP(TASKS)
      network, optimizer, batches = accelerator.prepare(network, optimizer, batches)
    + accelerator.register_for_checkpointing(balancer)
      for images, *targets in batches:
          with accelerator.accumulate(network):
              losses, kpis = measure(network(images), targets)
    -         accelerator.backward(sum(losses.values()))
    +         balancer.train(accelerator.sync_gradients)    # learn from the last micro-batch of a step
    +         balancer.backward(losses, kpis, using=accelerator.backward)
              optimizer.step()
              optimizer.zero_grad()

`accelerator.backward` divides the total by the number of micro-batches, and scales it for float16. For two processes, start
the script with `torchrun --nproc-per-node 2`; `accelerate launch --cpu --num_processes 2` runs only one.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import hardfirst
from hardfirst.kpi import accuracy
from hardfirst.networks import HardSharing

TASKS = ["digit", "zero"]


def main(folder: Path | None = None, epochs: int = 3) -> dict[str, Any]:
    """Train with two micro-batches in a step, and save after each epoch.

    Args:
        folder: for the state; default: a temporary one.
        epochs: number of epochs.
    """
    torch.manual_seed(0)
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    pixels, digits = (torch.as_tensor(array) for array in load_digits(return_X_y=True))
    table = TensorDataset(pixels.float() / 16, digits.long(), (digits == 0).long())
    bare = HardSharing(nn.Sequential(nn.Linear(64, 16), nn.ReLU()), {"digit": nn.Linear(16, 10), "zero": nn.Linear(16, 2)})
    balancer = hardfirst.DTP(TASKS)
    network, optimizer, batches = accelerator.prepare(
        bare, torch.optim.Adam(bare.parameters(), lr=3e-3), DataLoader(table, batch_size=16, shuffle=True)
    )
    accelerator.register_for_checkpointing(balancer)
    history: list[dict[str, float]] = []
    with TemporaryDirectory() as temporary:
        for _ in range(epochs):
            for images, *targets in batches:
                with accelerator.accumulate(network):
                    outputs = network(images)
                    pairs = {task: (outputs[task], target) for task, target in zip(TASKS, targets, strict=True)}
                    losses = {task: F.cross_entropy(*pair) for task, pair in pairs.items()}
                    kpis = {task: accuracy(*pair) for task, pair in pairs.items()}
                    balancer.train(accelerator.sync_gradients)
                    balancer.backward(losses, kpis, using=accelerator.backward)
                    optimizer.step()
                    optimizer.zero_grad()
                history.append({task: float(kpi) for task, kpi in kpis.items()})
            accelerator.save_state(str(folder or temporary))
    weights = {task: float(weight) for task, weight in balancer.weights.items()}
    accelerator.print(f"weights {weights}")
    return {"kpis": history, "weights": weights, "balancer": balancer.state_dict()}


if __name__ == "__main__":
    main()
