"""Two gloo ranks with different data stay one: the same weights, the same parameters, and the update of the full batch."""

import json
import math
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hardfirst._task_state import Group
from hardfirst.balancers import DTP, Balancer, GradNorm, LossBalancer, Spec
from hardfirst.balancers._nonlinear import NonlinearLossBalancer
from hardfirst.errors import InputError
from hardfirst.networks import HardSharing
from table import EVERY, GRADIENT, SPECS, TASKS, make

STEPS, BATCH = 10, 6
SHARDABLE = [spec for spec in SPECS if "shared" not in spec.build(TASKS).needs]
NONLINEAR = [spec for spec in SPECS if isinstance(make(spec), NonlinearLossBalancer)]
NAMED = ["dtp", "uncertainty", "gradnorm", "geometric", "pcgrad"]
TASKS_OF_RANKS = {  # by rank, what it takes for the tasks
    "alike": (["a", "b"], ["a", "b"]),
    "in another order": (["a", "b"], ["b", "a"]),
    "of another name": (["a", "b"], ["a", "z"]),
    "in another number": (["a", "b"], ["a", "b", "c"]),
}
SIZES = dict(zip(TASKS, (0.1, 1.0, 5.0), strict=True))


def network() -> HardSharing:
    torch.manual_seed(0)
    return HardSharing(nn.Sequential(nn.Linear(4, 6), nn.Tanh()), {task: nn.Linear(6, 1) for task in TASKS})


def batches(rank: int) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Inputs and targets of each step on this rank."""
    generator = torch.Generator().manual_seed(rank + 1)
    for _ in range(STEPS):
        inputs = torch.randn(BATCH, 4, generator=generator)
        yield inputs, {task: inputs[:, place] * inputs[:, 0].cos() for place, task in enumerate(TASKS)}


def measured(outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    errors = {task: outputs[task].squeeze(1) - targets[task] for task in TASKS}
    losses = {task: SIZES[task] * error.square().mean() for task, error in errors.items()}
    return losses, {task: (error.abs() < 0.3).float().mean() for task, error in errors.items()}


def train(
    model: nn.Module, balancer: Balancer, data: list, shared: Callable[[], list], *, gaps: Callable[[int], list[str]]
) -> None:
    """Some steps of SGD; the tasks in `gaps(step)` have no label there, so that their loss is 0 and their KPI is NaN."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    for step, (inputs, targets) in enumerate(data):
        losses, kpis = measured(model(inputs), targets)
        for task in gaps(step):
            losses[task], kpis[task] = losses[task] * 0, torch.tensor(torch.nan)
        optimizer.zero_grad()
        balancer.backward(losses, kpis, shared=shared())
        optimizer.step()
        if step % 3 == 2:
            balancer.end_epoch()


def run(rank: int, port: int, folder: Path) -> None:
    torch.set_num_threads(1)
    store = dist.TCPStore("127.0.0.1", port, 2, is_master=rank == 0)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    found = {
        "ddp": {str(spec): under_ddp(spec, lambda step: gaps(rank, step)) for spec in EVERY},
        "exact": {str(spec): under_ddp(spec, lambda step: []) for spec in GRADIENT},
        "fsdp": {str(spec): under_fsdp(spec, lambda step: gaps(rank, step)) for spec in SHARDABLE},
        "refused": {str(spec): refusal(spec) for spec in EVERY if spec not in SHARDABLE},
        "kpis": averages(rank, None),
        "alone": averages(rank, False),
        "names": {
            f"{text} {kind}": other_tasks(text, TASKS_OF_RANKS[kind][rank]) for text in NAMED for kind in TASKS_OF_RANKS
        },
        "totals": {str(spec): totals(make(spec), [rank], 2) for spec in NONLINEAR},
        "broken": {str(spec): total_of_a_broken_loss(make(spec), rank) for spec in NONLINEAR},
        "gradnorm": gradnorm_step(lambda shared: batch_losses(shared, inputs(rank))),
        "torchjd": with_torchjd(rank),
    }
    (folder / f"{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


def gaps(rank: int, step: int) -> list[str]:
    """In step 5 rank 0 has no label for the first task, and no rank one for the last; in step 7 rank 1 has none at all."""
    easy, _, last = TASKS
    return {5: [last] if rank else [easy, last], 7: list(TASKS) if rank else []}.get(step, [])


def under_ddp(spec: Spec, gaps: Callable[[int], list[str]]) -> dict[str, list]:
    bare, balancer = network(), spec.build(TASKS)
    train(DistributedDataParallel(bare), balancer, list(batches(dist.get_rank())), bare.shared_parameters, gaps=gaps)
    return as_lists(balancer.state_dict(), dict(bare.named_parameters()))


def under_fsdp(spec: Spec, gaps: Callable[[int], list[str]]) -> dict[str, list]:
    model, balancer = sharded(), spec.build(TASKS)
    train(model, balancer, list(batches(dist.get_rank())), model.shared_parameters, gaps=gaps)
    whole = {name: parameter.full_tensor() for name, parameter in model.named_parameters()}
    return as_lists(balancer.state_dict(), whole)


def sharded() -> HardSharing:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model = network()
    mesh = init_device_mesh("cpu", (2,))
    for part in (model.trunk, *model.heads.values(), model):
        fully_shard(part, mesh=mesh)
    return model


def refusal(spec: Spec) -> str:
    model = sharded()
    inputs, targets = next(batches(0))
    with pytest.raises(InputError) as caught:
        spec.build(TASKS).backward(measured(model(inputs), targets)[0], shared=model.shared_parameters())
    return str(caught.value)


def averages(rank: int, group: Group) -> list[float]:
    """What DTP makes of a first observation: 0.2 and 0.6 for the first task, and on one rank alone 0.8 for the second."""
    balancer = DTP(TASKS, process_group=group)
    balancer.update({TASKS[0]: 0.6, TASKS[1]: 0.8} if rank else {TASKS[0]: 0.2, TASKS[2]: torch.nan})
    return balancer.kpi.average.tolist()


def other_tasks(text: str, tasks: list[str]) -> str:
    """The error of two steps in which the ranks have these tasks; empty if there is none."""
    shared = nn.Parameter(torch.ones(2))
    balancer = Spec.parse(text).build(tasks)
    try:
        for _ in range(2):
            losses = {task: (number + 1) * shared.square().sum() for number, task in enumerate(tasks)}
            balancer.backward(losses, dict.fromkeys(tasks, 0.5), shared=[shared])
    except InputError as error:
        return str(error)
    return ""


def totals(balancer: LossBalancer, ranks: list[int], world: int) -> list[list[float]]:
    """Totals and gradients, the latter averaged over `world`, of a run on the mean losses of some ranks' batches."""
    rows = []
    for step in range(12):
        scale = torch.ones(3, requires_grad=True)  # the shared parameters
        generators = [torch.Generator().manual_seed(2 * step + rank) for rank in ranks]
        sizes = [torch.rand(3, generator=generator) for generator in generators]
        vector = scale * (torch.stack(sizes).mean(0) * torch.tensor([0.3, 2.0, 5.0]) + 0.1)
        total = balancer(dict(zip(TASKS, vector.unbind(), strict=True)), dict.fromkeys(TASKS, 0.1 * (step % 7)))
        (gradient,) = torch.autograd.grad(total, scale)
        if world > 1:
            dist.all_reduce(gradient)  # as DistributedDataParallel does
            gradient /= world
        rows.append([total.item(), *gradient.tolist()])
        if step % 3 == 2:
            balancer.end_epoch()
    return rows


def total_of_a_broken_loss(balancer: LossBalancer, rank: int) -> float:
    """The total where the first task's loss is infinite on rank 1 alone."""
    losses = {task: torch.tensor(torch.inf if task == TASKS[0] and rank else 2.0) for task in TASKS}
    return balancer(losses, dict.fromkeys(TASKS, 0.5)).item()


def batch_losses(shared: Tensor, inputs: Tensor) -> dict[str, Tensor]:
    """Means over a batch, so that two half batches make a whole one; the last task has no labels in the first half."""
    errors = inputs @ shared
    losses = [errors.square().mean(), (3 * errors - 1).square().mean(), (errors + 1).square().mean()]
    return dict(zip(TASKS, losses[: 2 if inputs[0, 0] < 0 else 3], strict=False))


def inputs(rank: int) -> Tensor:
    data = torch.randn(4, 3, generator=torch.Generator().manual_seed(rank))
    data[0, 0] = data[0, 0].abs() * (2 * rank - 1)
    return data


def gradnorm_step(losses: Callable[[Tensor], dict[str, Tensor]]) -> list[list[float]]:
    """The weights and the squares of the norms after a step of GradNorm."""
    shared, balancer = nn.Parameter(torch.tensor([0.5, -1.0, 2.0])), GradNorm(TASKS)
    balancer(losses(shared), shared=[shared])
    return [balancer.weight.tolist(), balancer.adam.moments[:, 1].tolist()]


def with_torchjd(rank: int) -> dict[str, list]:
    """A step of TorchJD's own backward under DDP, which the README says takes the ranks apart."""
    from torchjd.aggregation import UPGrad
    from torchjd.autojac import jac_to_grad, mtl_backward

    class Seen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network()

        def forward(self, inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            features = self.network.trunk(inputs)
            return features, dict(zip(TASKS, (head(features) for head in self.network.heads.values()), strict=True))

    model = DistributedDataParallel(Seen())
    inputs, targets = next(batches(rank))
    features, outputs = model(inputs)
    mtl_backward(list(measured(outputs, targets)[0].values()), features=features)
    shared = list(model.module.network.trunk.parameters())
    jac_to_grad(shared, UPGrad())
    torch.optim.SGD(model.parameters(), lr=0.02).step()
    return as_lists(model.module.state_dict())


def as_lists(*states: dict[str, Tensor]) -> dict[str, list]:
    return {name: tensor.tolist() for state in states for name, tensor in state.items()}


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, dict]:
    pytest.importorskip("torchjd")  # an oracle of these tests
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(run, args=(port, folder), nprocs=2)
    one, other = (json.loads((folder / f"{rank}.json").read_text()) for rank in range(2))
    return one, other


def assert_close(found: dict[str, list], expected: dict[str, list], tolerance: float) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        one, other = torch.tensor(found[name]), torch.tensor(values)
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance, equal_nan=True, msg=f"{name}: {one} {other}")


@pytest.mark.parametrize("spec", EVERY, ids=str)
def test_under_ddp_both_ranks_have_the_same_state_and_parameters(ranks: tuple[dict, dict], spec: Spec) -> None:
    one, other = (states["ddp"][str(spec)] for states in ranks)
    assert_close(one, other, tolerance=0)
    assert torch.tensor(one["trunk.0.weight"]).isfinite().all()
    assert not torch.equal(torch.tensor(one["trunk.0.weight"]), network().trunk[0].weight)


@pytest.mark.parametrize("spec", SHARDABLE, ids=str)
def test_under_fsdp_all_is_as_under_ddp(ranks: tuple[dict, dict], spec: Spec) -> None:
    one, other = (states["fsdp"][str(spec)] for states in ranks)
    assert_close(one, other, tolerance=0)
    assert_close(one, ranks[0]["ddp"][str(spec)], tolerance=1e-5)


@pytest.mark.parametrize("spec", [spec for spec in EVERY if spec not in SHARDABLE], ids=str)
def test_sharded_gradients_are_refused(ranks: tuple[dict, dict], spec: Spec) -> None:
    assert "cannot use gradients that are sharded over ranks" in ranks[0]["refused"][str(spec)]


@pytest.mark.parametrize("spec", GRADIENT, ids=str)
def test_gradient_balancers_make_the_update_of_the_full_batch(ranks: tuple[dict, dict], spec: Spec) -> None:
    together = [
        (torch.cat([a, b]), {task: torch.cat([first[task], second[task]]) for task in TASKS})
        for (a, first), (b, second) in zip(batches(0), batches(1), strict=True)
    ]
    bare, balancer = network(), spec.build(TASKS)
    train(bare, balancer, together, bare.shared_parameters, gaps=lambda step: [])
    expected = as_lists(dict(bare.named_parameters()))
    found = {name: ranks[0]["exact"][str(spec)][name] for name in expected}
    assert_close(found, expected, tolerance=1e-5)


@pytest.mark.parametrize("spec", NONLINEAR, ids=str)
def test_two_ranks_give_the_totals_and_the_update_of_the_whole_batch(ranks: tuple[dict, dict], spec: Spec) -> None:
    expected = torch.tensor(totals(make(spec), [0, 1], 1))
    for states in ranks:
        torch.testing.assert_close(torch.tensor(states["totals"][str(spec)]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("spec", NONLINEAR, ids=str)
def test_a_loss_that_is_broken_on_one_rank_reaches_that_ranks_total(ranks: tuple[dict, dict], spec: Spec) -> None:
    assert not math.isfinite(ranks[1]["broken"][str(spec)])


def test_gradnorm_takes_the_norms_of_the_whole_batch(ranks: tuple[dict, dict]) -> None:
    def whole(shared: Tensor) -> dict[str, Tensor]:
        every, second = torch.cat([inputs(1), inputs(0)]), inputs(1)
        return {**batch_losses(shared, every), TASKS[2]: batch_losses(shared, second)[TASKS[2]]}  # of those with a label

    for states in ranks:
        torch.testing.assert_close(torch.tensor(states["gradnorm"]), torch.tensor(gradnorm_step(whole)))


def test_a_kpi_is_averaged_over_the_ranks_that_measured_it(ranks: tuple[dict, dict]) -> None:
    """0.2 and 0.6 for the first task, one rank's 0.8 alone for the second, nobody's for the third."""
    expected = torch.tensor([0.4, 0.8, torch.nan])
    for states in ranks:
        torch.testing.assert_close(torch.tensor(states["kpis"]), expected, equal_nan=True)


def test_no_group_no_averaging(ranks: tuple[dict, dict]) -> None:
    assert [states["alone"][0] for states in ranks] == pytest.approx([0.2, 0.6])


@pytest.mark.parametrize("text", NAMED)
@pytest.mark.parametrize("kind", TASKS_OF_RANKS)
def test_ranks_compare_the_names_of_tasks(ranks: tuple[dict, dict], text: str, kind: str) -> None:
    one, other = (states["names"][f"{text} {kind}"] for states in ranks)
    first, second = (", ".join(tasks) for tasks in TASKS_OF_RANKS[kind])
    sentence = "Expected the same tasks in the same order on every rank"
    assert one == other
    assert one == ("" if kind == "alike" else f"{sentence}; rank 0 has {first}, and rank 1 has {second}.")


def test_torchjds_own_backward_takes_the_ranks_apart(ranks: tuple[dict, dict]) -> None:
    first, second = (found["torchjd"] for found in ranks)
    assert any(not torch.allclose(torch.tensor(first[name]), torch.tensor(second[name]), atol=1e-4) for name in first)
