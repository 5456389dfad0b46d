"""`WeightMethods` in a trainer of the form that the line of CAGrad, Nash-MTL and FAMO has, against plain loops."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hardfirst.balancers import FAMO, GradientBalancer, Spec
from hardfirst.compat import METHODS, WeightMethods
from hardfirst.errors import InputError

TASKS = ["0", "1", "2"]
STEPS = 7


class Network(nn.Module):
    """A trunk, what the heads read, and three heads."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk, self.last = nn.Linear(4, 6), nn.Linear(6, 5)
        self.heads = nn.ModuleList(nn.Linear(5, 1) for _ in TASKS)

    def forward(self, inputs: Tensor) -> tuple[list[Tensor], Tensor]:
        features = self.last(self.trunk(inputs).tanh()).tanh()
        return [head(features).squeeze(1) for head in self.heads], features

    def shared_parameters(self) -> Iterator[nn.Parameter]:
        yield from self.trunk.parameters()
        yield from self.last.parameters()


def batches() -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        inputs = torch.randn(8, 4, generator=generator)
        yield inputs, inputs[:, :3] * torch.tensor([0.3, 1.0, 5.0])


def losses_of(outputs: list[Tensor], targets: Tensor) -> list[Tensor]:
    return [(output - target).square().mean() for output, target in zip(outputs, targets.T, strict=True)]


def by_the_line(method: str, kpis: list[float] | None = None, **options: Any) -> tuple[list[Tensor], WeightMethods]:
    """A trainer of the line's form."""
    model, device = Network(), torch.device("cpu")
    weight_method = WeightMethods(method, n_tasks=3, device=device, **options)
    optimizer = torch.optim.Adam(
        [{"params": model.parameters(), "lr": 1e-2}, {"params": weight_method.parameters(), "lr": 0.025}]
    )
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=100, gamma=0.5)
    more = {} if kpis is None else {"kpis": torch.tensor(kpis)}
    for inputs, targets in batches():
        optimizer.zero_grad()
        outputs, features = model(inputs)
        losses = torch.stack(losses_of(outputs, targets))
        loss, extra_outputs = weight_method.backward(
            losses=losses,
            shared_parameters=list(model.shared_parameters()),
            task_specific_parameters=list(model.heads.parameters()),
            last_shared_parameters=list(model.last.parameters()),
            representation=features,
            **more,
        )
        optimizer.step()
        assert not loss.requires_grad
        assert extra_outputs["weights"].shape == (3,)
        if "famo" in method:
            with torch.no_grad():
                new_losses = torch.stack(losses_of(model(inputs)[0], targets))
                weight_method.method.update(new_losses.detach())
    scheduler.step()
    return [parameter.detach() for parameter in model.parameters()], weight_method


def by_a_loop(
    spec: str,
    *,
    max_norm: float = 0,
    logs: bool = False,
    epoch: int = 0,
    kpis: list[float] | None = None,
    how: str = "shared",
) -> list[Tensor]:
    """The same training with one of our balancers."""
    model, balancer = Network(), Spec.parse(spec).build(TASKS)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    shared = list(model.last.parameters() if spec == "gradnorm" else model.shared_parameters())
    measured = None if kpis is None else dict(zip(TASKS, kpis, strict=True))
    for step, (inputs, targets) in enumerate(batches()):
        optimizer.zero_grad()
        outputs, features = model(inputs)
        losses = dict(zip(TASKS, losses_of(outputs, targets), strict=True))
        if logs:
            losses = {task: loss.log() for task, loss in losses.items()}
        given: dict[str, Any] = {"features": features} if how == "rep" else {"shared": shared}
        balancer.backward(losses, measured, **given)
        if max_norm:
            nn.utils.clip_grad_norm_(model.shared_parameters(), max_norm)
        optimizer.step()
        if isinstance(balancer, FAMO):
            with torch.no_grad():
                balancer.learn_after_step(dict(zip(TASKS, losses_of(model(inputs)[0], targets), strict=True)))
        if epoch and step % epoch == epoch - 1:
            balancer.end_epoch()
    return [parameter.detach() for parameter in model.parameters()]


# the line's name and options, and our spec and what is around it
SAME: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    ("stl", {"main_task": 1}, "fixed:0=0,1=1,2=0", {}),
    ("ls", {}, "equal", {}),
    ("ls", {"task_weights": [1, 2, 0.5]}, "fixed:0=1,1=2,2=0.5", {}),
    ("scaleinvls", {}, "equal", {"logs": True}),
    ("rlw", {"seed": 3}, "random:seed=3", {}),
    ("dwa", {"iteration_window": 2, "temp": 0.5}, "dwa:temperature=0.5", {"epoch": 2}),
    ("uw", {}, "uncertainty:lr=0.025", {}),
    ("pcgrad", {"reduction": "sum"}, "pcgrad", {"max_norm": 1}),
    ("mgda", {}, "mgda", {}),
    ("mgda", {"params": "rep", "normalization": "none"}, "mgda", {"how": "rep"}),
    ("log_mgda", {}, "mgda", {"logs": True, "max_norm": 1}),
    ("graddrop", {}, "graddrop", {"max_norm": 1}),
    ("cagrad", {"c": 0.5}, "cagrad:c=0.5", {"max_norm": 1}),
    ("log_cagrad", {}, "cagrad", {"logs": True, "max_norm": 1}),
    ("imtl", {}, "imtl_g", {}),
    ("log_imtl", {}, "imtl_g", {"logs": True}),
    ("nashmtl", {"update_weights_every": 1, "optim_niter": 20}, "nash_mtl:max_norm=0", {"max_norm": 1}),
    ("famo", {"gamma": 0.01, "w_lr": 0.1}, "famo:decay=0.01,lr=0.1", {"max_norm": 1}),
    ("fairgrad", {"alpha": 2.0, "max_norm": 0.3}, "fairgrad:alpha=2,max_norm=0", {"max_norm": 0.3}),
    ("dtp", {"kpis": [0.2, 0.9, 0.5], "gamma": 2.0}, "dtp:gamma=2", {"kpis": [0.2, 0.9, 0.5]}),
    ("gradnorm", {}, "gradnorm", {}),
]


@pytest.mark.parametrize(
    ("method", "options", "spec", "around"), SAME, ids=lambda value: value if type(value) is str else ""
)
def test_a_trainer_of_the_line_is_a_loop_of_ours(
    method: str, options: dict[str, Any], spec: str, around: dict[str, Any]
) -> None:
    if spec.startswith("cagrad"):
        pytest.importorskip("cvxpy")
    found, weight_method = by_the_line(method, **options)
    torch.testing.assert_close(found, by_a_loop(spec, **around), rtol=1e-5, atol=1e-6)
    assert weight_method.parameters() == []


def test_every_name_of_the_line_is_tested() -> None:
    assert {method for method, *_ in SAME} >= set(METHODS)


def test_famo_is_the_papers() -> None:
    """Algorithm 1 of Liu et al. by autograd and torch's Adam; ξ moves by the fall on the same batch."""
    model = Network()
    xi = torch.zeros(3, requires_grad=True)
    own = torch.optim.Adam([xi], lr=0.025, weight_decay=0.001)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for inputs, targets in batches():
        optimizer.zero_grad()
        losses = torch.stack(losses_of(model(inputs)[0], targets))
        shares = xi.softmax(0)
        factor = (shares / (losses + 1e-8)).sum().detach()
        ((losses + 1e-8).log() * shares.detach() / factor).sum().backward()
        optimizer.step()
        with torch.no_grad():
            after = torch.stack(losses_of(model(inputs)[0], targets))
        fall = (losses + 1e-8).log() - (after + 1e-8).log()
        (xi.grad,) = torch.autograd.grad(shares, xi, fall.detach())
        own.step()
    found, weight_method = by_the_line("famo", max_norm=0)
    assert isinstance(weight_method.balancer, FAMO)
    torch.testing.assert_close(found, [parameter.detach() for parameter in model.parameters()], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(weight_method.balancer.xi, xi.detach(), rtol=1e-3, atol=1e-4)


def test_the_weights_of_the_step_are_given_back() -> None:
    for method, expected in {"ls": [2.0, 1.0, 0.5], "scaleinvls": [2.0, 1.0, 0.5]}.items():
        weight_method = WeightMethods(method, n_tasks=3, task_weights=[2, 1, 0.5])
        _, extra = weight_method.backward(torch.ones(3, requires_grad=True) * 1.5)
        assert extra["weights"].tolist() == expected
    shared = nn.Parameter(torch.ones(2))
    loss, extra = WeightMethods("mgda", 2).backward(shared * torch.tensor([1.0, 2.0]), [shared])
    assert loss == 3
    torch.testing.assert_close(extra["weights"], torch.tensor([1.6, 0.4]))


def test_a_task_without_labels_is_absent() -> None:
    parameter = nn.Parameter(torch.tensor([0.0, 2.0]))
    loss, _ = WeightMethods("scaleinvls", 2).backward(parameter * 1)
    torch.testing.assert_close(loss, torch.tensor(2.0).log())
    assert parameter.grad is not None
    assert parameter.grad.tolist() == [0, 0.5]


def test_names_of_tasks_and_kpis_by_name() -> None:
    weight_method = WeightMethods("dtp", 2, tasks=["depth", "normals"], alpha=1)
    parameter = nn.Parameter(torch.ones(2))
    weight_method.backward([parameter[0], parameter[1]], kpis={"normals": 0.3, "depth": 0.8})
    assert isinstance(weight_method.method, WeightMethods)
    assert weight_method.balancer.state_dict()["kpi.average"].tolist() == pytest.approx([0.8, 0.3])


WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: WeightMethods("cagrd", 2), "Unknown weighting method 'cagrd'; did you mean 'cagrad'"),
    (lambda: WeightMethods("ls", 0), "`n_tasks`"),
    (lambda: WeightMethods("ls", 2, tasks=["a"]), "Expected 2 names in `tasks`"),
    (lambda: WeightMethods("stl", 2), "`main_task`"),
    (lambda: WeightMethods("stl", 2, main_task=2), "`main_task` to be below 2"),
    (lambda: WeightMethods("ls", 2, task_weights=[1]), "Expected 2 `task_weights`"),
    (lambda: WeightMethods("famo", 2, w_rl=1), "Unknown option of famo: 'w_rl'; did you mean 'w_lr'"),
    (lambda: WeightMethods("dwa", 2, iteration_window=-1), "`iteration_window`"),
    (lambda: WeightMethods("mgda", 2, normalization="loss+"), "mgda supports only `normalization` = 'none'; got 'loss\\+'"),
    (lambda: WeightMethods("nashmtl", 2, update_weights_every=10), "`update_weights_every` = 1; got 10"),
    (lambda: WeightMethods("mgda", 2, params="last"), "`params` to be 'shared' or 'rep' for this method; got 'last'"),
    (lambda: WeightMethods("ls", 2, params="rep"), "`params` to be 'shared' for this method"),
    (lambda: WeightMethods("ls", 2).backward(torch.ones(3)), r"`losses` of shape \[2\], one for each task; got \[3\]"),
    (lambda: WeightMethods("dtp", 2).backward(torch.ones(2), kpis=[0.1]), "Expected 2 `kpis`"),
    (lambda: WeightMethods("mgda", 2).backward(torch.ones(2, requires_grad=True)), "MGDA needs `shared_parameters`"),
    (lambda: WeightMethods("gradnorm", 2).backward(torch.ones(2)), "GradNorm needs `last_shared_parameters`"),
    (lambda: WeightMethods("mgda", 2, params="rep").backward(torch.ones(2)), "MGDA needs `representation`"),
]


@pytest.mark.parametrize(("call", "words"), WRONG, ids=[words for _, words in WRONG])
def test_wrong_input(call: Callable[[], object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()


@pytest.mark.parametrize("given", [lambda shared: shared, lambda shared: iter([shared])], ids=["tensor", "iterator"])
def test_gradient_methods_take_max_norm_by_the_line(given: Callable[[nn.Parameter], Any]) -> None:
    """Those that clip in the line clip here; others only when told."""
    clipped = {name for name, row in METHODS.items() if row.max_norm}
    assert clipped == {"pcgrad", "log_mgda", "graddrop", "cagrad", "log_cagrad", "nashmtl", "famo", "fairgrad"}
    shared = nn.Parameter(torch.ones(2))
    weight_method = WeightMethods("mgda", 2, max_norm=0.1)
    assert isinstance(weight_method.balancer, GradientBalancer)
    weight_method.backward(shared * torch.tensor([1.0, 2.0]), given(shared))
    assert shared.grad is not None
    assert float(shared.grad.norm()) == pytest.approx(0.1, rel=1e-4)


def test_the_signature_is_the_lines() -> None:
    names = list(inspect.signature(WeightMethods.backward).parameters)
    line = ["losses", "shared_parameters", "task_specific_parameters", "last_shared_parameters", "representation"]
    assert names[1:6] == line
