"""What holds for every method whose weights are a function of the losses of the very step."""

import json
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from hardfirst.balancers import LossBalancer, Spec, task_weights
from hardfirst.balancers._nonlinear import NonlinearLossBalancer
from table import SPECS, TASKS, make

CURRENT = [spec for spec in SPECS if isinstance(make(spec), NonlinearLossBalancer)]
STEPS = 12


def losses_of(step: int, rank: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(2 * step + rank)
    sizes = torch.tensor([0.3, 2.0, 5.0])
    return list((torch.rand(3, generator=generator) * sizes + 0.1).requires_grad_().unbind())


def work(balancer: LossBalancer, ranks: list[int], world: int) -> list[list[float]]:
    """Totals and gradients, the latter averaged over `world`, of a run on the mean losses of some ranks' batches."""
    rows = []
    for step in range(STEPS):
        scale = torch.ones(3, requires_grad=True)  # the shared parameters
        parts = [torch.stack(losses_of(step, rank)).detach() * scale for rank in ranks]
        vector = torch.stack(parts).mean(0)
        total = balancer(dict(zip(TASKS, vector.unbind(), strict=True)), dict.fromkeys(TASKS, 0.1 * (step % 7)))
        (gradient,) = torch.autograd.grad(total, scale)
        if world > 1:
            dist.all_reduce(gradient)  # as DistributedDataParallel does
            gradient /= world
        rows.append([total.item(), *gradient.tolist()])
        if step % 3 == 2:
            balancer.end_epoch()
    return rows


def run(rank: int, port: int, folder: Path) -> None:
    torch.set_num_threads(1)
    store = dist.TCPStore("127.0.0.1", port, 2, is_master=rank == 0)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    found: dict[str, object] = {str(spec): work(make(spec), [rank], 2) for spec in CURRENT}
    for spec in CURRENT:  # a loss that is broken on one rank alone
        balancer = make(spec)
        losses = {task: torch.tensor(torch.inf if task == TASKS[0] and rank else 2.0) for task in TASKS}
        found[f"broken {spec}"] = balancer(losses, dict.fromkeys(TASKS, 0.5)).isfinite().item()
    (folder / f"{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(run, args=(port, folder), nprocs=2)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("spec", CURRENT, ids=str)
def test_two_ranks_give_the_totals_and_the_update_of_the_whole_batch(ranks: list[dict], spec: Spec) -> None:
    expected = torch.tensor(work(make(spec), [0, 1], 1))
    for rank in ranks:
        torch.testing.assert_close(torch.tensor(rank[str(spec)]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("spec", CURRENT, ids=str)
def test_a_loss_that_is_broken_on_one_rank_reaches_that_ranks_total(ranks: list[dict], spec: Spec) -> None:
    assert [rank[f"broken {spec}"] for rank in ranks][1] is False


@pytest.mark.parametrize("spec", CURRENT, ids=str)
def test_weights_are_what_the_tasks_counted_in_the_latest_step(spec: Spec) -> None:
    balancer = make(spec)
    for step in range(STEPS):
        losses = dict(zip(TASKS, losses_of(step, 0), strict=True))
        total = balancer(losses, dict.fromkeys(TASKS, 0.1 * (step % 7)))
        torch.testing.assert_close(dict(balancer.weights), task_weights(total, losses))
        if step % 3 == 2:
            balancer.end_epoch()


@pytest.mark.parametrize("spec", CURRENT, ids=str)
def test_float64_losses_are_balanced_in_float64(spec: Spec) -> None:
    balancer = make(spec)
    losses = {task: torch.tensor(1.0 + 1e-12 * number, dtype=torch.float64) for number, task in enumerate(TASKS)}
    assert balancer(losses, dict.fromkeys(TASKS, 0.5)).dtype == torch.float64
