"""Memory and seconds of a training step at NYUv2's shapes: `python benchmarks/dense.py [NETWORK …]`.

Trains the problem's networks on made-up frames of 288×384 in batches of 2, each in a separate process, with the losses,
KPIs and optimizer of `nyuv2` and equal weights. Prints the parameters, the least seconds of a step, and the most memory that
the process held above what it held before the network was made. Networks are as for `--network`; the default is SegNet with
MTAN's attention, SegNet alone, and DeepLab's ResNet. Set OMP_NUM_THREADS for the number of cores.
"""

import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from hardfirst.balancers import Spec
from hardfirst.networks import parameters
from hardfirst.problems import collate
from hardfirst.problems.fields import nyuv2

NETWORKS = ("segnet_mtan", "segnet", "deeplab")
STEPS = 3
BATCH = 2


def write(folder: Path) -> None:
    """Write a batch of frames in NYUv2's layout."""
    random = np.random.default_rng(0)
    height, width = nyuv2.LAYOUT.size
    for split in ("train", "val"):
        for number in range(BATCH):
            normals = random.normal(size=(height, width, 3))
            frame = {
                "image": random.uniform(size=(height, width, 3)),
                "label": random.integers(-1, 13, size=(height, width)),
                "depth": random.uniform(1, 10, size=(height, width, 1)),
                "normal": normals / np.linalg.norm(normals, axis=-1, keepdims=True),
            }
            for name, values in frame.items():
                path = folder / split / name / f"{number}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, values)


def gigabytes() -> float:
    """The most memory that this process has held so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def measure(name: str, folder: Path) -> None:
    """Print the figures of a network."""
    problem = nyuv2.problem(folder).variant(network=name)
    frames = problem.published.data().train  # type: ignore[union-attr]  # nyuv2 has a published protocol
    inputs, targets = collate([frames.drawn(index, seed=0, epoch=0) for index in range(BATCH)])
    before = gigabytes()
    network, balancer = problem.network().train(), Spec.parse("equal").build(problem.task_names, seed=0)
    optimizer, shared = problem.recipe.make_optimizer(network, problem.learning_rate), network.shared_parameters()
    wall, cpu = [], []
    for _ in range(STEPS):
        start = time.perf_counter(), time.process_time()
        outputs = network(inputs)
        losses = {task.name: task.loss(outputs[task.name], targets[task.name]) for task in problem.tasks}
        kpis = {task.name: task.kpi(outputs[task.name], targets[task.name]) for task in problem.tasks}
        optimizer.zero_grad()
        balancer.backward(losses, kpis, shared=shared)
        optimizer.step()
        wall.append(time.perf_counter() - start[0])
        cpu.append(time.process_time() - start[1])
    print(
        f"{name}: {parameters(network):,} parameters; a step takes {min(wall):.1f} s, {min(cpu):.1f} s of CPU time, on "
        f"{torch.get_num_threads()} threads; {gigabytes() - before:.1f} GiB",
        flush=True,
    )


def main(names: list[str]) -> None:
    """Measure each network in a separate process."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        for name in names or NETWORKS:
            process = multiprocessing.get_context("spawn").Process(target=measure, args=(name, Path(folder)))
            process.start()
            process.join()


if __name__ == "__main__":
    main(sys.argv[1:])
