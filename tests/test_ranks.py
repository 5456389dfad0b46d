"""Two gloo ranks with different data have the same weights, for every method in the registry."""

import json
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from hardfirst.balancers import DTP, Spec
from table import SHARED, SPECS, TASKS, make


def run(rank: int, port: int, folder: Path) -> None:
    torch.set_num_threads(1)
    store = dist.TCPStore("127.0.0.1", port, 2, is_master=rank == 0)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    states = {}
    easy, _, last = TASKS
    for spec in SPECS:
        balancer = make(spec)
        generator = torch.Generator().manual_seed(rank)
        for step in range(20):
            losses = dict(zip(TASKS, (torch.rand(3, generator=generator) + 0.1) * SHARED.mean(), strict=True))
            kpis = dict(zip(TASKS, torch.rand(3, generator=generator), strict=True))
            if step == 5:  # one rank alone has labels for the first task; nobody has any for the last
                losses[easy] = losses[easy] * rank
                kpis[easy] = kpis[easy] if rank else kpis[easy] * torch.nan
                del losses[last], kpis[last]
            balancer(losses, kpis)
            if step % 5 == 4:
                balancer.end_epoch()
        states[str(spec)] = {name: tensor.tolist() for name, tensor in balancer.state_dict().items()}
    alone = DTP(TASKS, process_group=False)
    alone.update({easy: float(rank)})
    states["alone"] = {"average": alone.kpi.average.tolist()}
    (folder / f"{rank}.json").write_text(json.dumps(states))
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, dict]:
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(run, args=(port, folder), nprocs=2)
    one, other = (json.loads((folder / f"{rank}.json").read_text()) for rank in range(2))
    return one, other


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_both_ranks_have_the_same_state(ranks: tuple[dict, dict], spec: Spec) -> None:
    one, other = (states[str(spec)] for states in ranks)
    assert one.keys() == other.keys()
    for name, values in one.items():
        torch.testing.assert_close(torch.tensor(values), torch.tensor(other[name]), rtol=0, atol=0, equal_nan=True)


def test_the_average_is_over_the_ranks_that_measured(ranks: tuple[dict, dict]) -> None:
    expected = torch.full((3,), torch.nan)
    data = [torch.Generator().manual_seed(rank) for rank in range(2)]
    for step in range(20):
        kpis = []
        for generator in data:
            torch.rand(3, generator=generator)
            kpis.append(torch.rand(3, generator=generator))
        new = torch.stack(kpis).mean(0)
        if step == 5:
            new = torch.stack([kpis[1][0], new[1], torch.tensor(torch.nan)])
        new = torch.where(new.isnan(), expected, new)
        expected = torch.where(expected.isnan(), new, 0.9 * expected + 0.1 * new)
    torch.testing.assert_close(torch.tensor(ranks[0]["dtp"]["kpi.average"]), expected)


def test_no_group_no_averaging(ranks: tuple[dict, dict]) -> None:
    assert [states["alone"]["average"][0] for states in ranks] == [0.0, 1.0]
