"""UPGrad's weights against those of quadprog: `python benchmarks/projections.py`.

For T tasks and gradients in r dimensions, lengths from 0.01 to 100: the largest relative difference of the update over 100
random Jacobians, and CPU microseconds for one Gramian. Gradients are linearly dependent where r is below T.
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor
from torchjd.aggregation import UPGradWeighting
from torchjd.linalg import QuadprogProjector

from hardfirst.balancers.upgrad import REGULARISATION, upgrad_weights

PROJECTOR = QuadprogProjector(reg_eps=REGULARISATION)


def quadprog(gramian: Tensor) -> Tensor:
    lengths = gramian.diagonal().sqrt()
    return UPGradWeighting(pref_vector=lengths, projector=PROJECTOR)(gramian / lengths.outer(lengths)) / lengths


def timed(solve: Callable[[Tensor], Tensor], gramian: Tensor) -> tuple[Tensor, float]:
    start = time.process_time()
    return solve(gramian), time.process_time() - start


def main() -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    print(" T   r  difference  quadprog     ours")
    for tasks in (2, 3, 5, 10, 20, 40):
        for rank in sorted({1, tasks // 2, tasks - 1, tasks, 1000}):
            difference, seconds = 0.0, [0.0, 0.0]
            for _ in range(100):
                exponents = 4 * torch.rand(tasks, 1, generator=generator, dtype=torch.float64) - 2
                rows = 10**exponents * torch.randn(tasks, rank, generator=generator, dtype=torch.float64)
                expected, theirs = timed(quadprog, rows @ rows.T)
                weights, ours = timed(upgrad_weights, rows @ rows.T)
                difference = max(difference, float(((weights - expected) @ rows).norm() / (expected @ rows).norm()))
                seconds = [seconds[0] + theirs, seconds[1] + ours]
            print(f"{tasks:2} {rank:3}  {difference:10.1e} {seconds[0] * 1e4:9.0f} {seconds[1] * 1e4:8.0f}")


if __name__ == "__main__":
    main()
