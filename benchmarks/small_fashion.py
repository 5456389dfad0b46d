"""`mnist_fashion:crowded` with the first 12,800 training images and batches of 64, for benchmarks of many runs."""

from dataclasses import replace

from hardfirst.problems import Problem, Splits, TensorTable
from hardfirst.problems.builtin import mnist_fashion

TRAIN = 200 * 64


def problem() -> Problem:
    """Return the problem."""
    return replace(mnist_fashion.crowded(), name="small_fashion", data=data, batch_size=64, epochs=2)


def data() -> Splits:
    """Return the splits."""
    whole = mnist_fashion.data(crowded=True)
    images, targets = whole.train.inputs, whole.train.targets
    return replace(whole, train=TensorTable(images[:TRAIN], {task: target[:TRAIN] for task, target in targets.items()}))
