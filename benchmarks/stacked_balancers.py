"""Steps of many balancers as one, against a step for each: `python benchmarks/stacked_balancers.py [METHOD ...]`.

Of each method, the CPU time of the steps of 4, 8, 10 and 20 balancers of three tasks, one after the other, over that of the
stacked step. The two are measured in turns, and the shortest time of each counts.
"""

import sys
import time

import torch

from hardfirst.balancers import BALANCERS, LossBalancer, Spec, card
from hardfirst.balancers._stacked import StackedBalancers
from hardfirst.training.vectorized._balancers import EachBalancer

TASKS = ("a", "b", "c")
COUNTS = (4, 8, 10, 20)
STEPS, ROUNDS = 30, 6


def balancers(method: str, count: int) -> list[LossBalancer]:
    maker = Spec(method).method
    return [maker(TASKS, **maker.example_options(TASKS)) for _ in range(count)]


def seconds(balancer: EachBalancer | StackedBalancers, losses: torch.Tensor, kpis: torch.Tensor) -> float:
    start = time.process_time()
    for _ in range(STEPS):
        balancer.step(losses, kpis)
    return time.process_time() - start


def ratio(method: str, count: int) -> float:
    each, stacked = EachBalancer(balancers(method, count)), StackedBalancers(balancers(method, count))
    losses, kpis = torch.rand(count, len(TASKS), requires_grad=True), torch.rand(count, len(TASKS))
    rounds = [(seconds(each, losses, kpis), seconds(stacked, losses, kpis)) for _ in range(ROUNDS)]
    return min(one for one, _ in rounds) / min(other for _, other in rounds)


def main(methods: list[str]) -> None:
    print("method".ljust(20), *(f"{count:>5}" for count in COUNTS))
    for method in methods or [name for name in BALANCERS if name != "frozen" and card(name).trials == "vectorized"]:
        print(method.ljust(20), *(f"{ratio(method, count):5.1f}" for count in COUNTS), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
