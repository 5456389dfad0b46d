"""What a module makes of the balanced total, how often it asks for it, and what it logs and evaluates."""

import copy
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as host
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging
from torch import Tensor, nn

from hardfirst.balancers import Spec
from hardfirst.errors import InputError
from hardfirst.stopping import TaskEarlyStopping
from host_loops import adam_steps, assert_same_parameters, assert_same_state
from lightning_loops import TASKS, by_hand, loader, measured, module, network, penalty, trainer
from transfers import ON_HOST, Transfers

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice on workers and loggers

Losses, KPIs = dict[str, Tensor], dict[str, Tensor]
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def with_penalty(mine: Any, losses: Losses, kpis: KPIs) -> Tensor:
    return mine.balance(losses, kpis) * 0.5 + penalty(mine.network)


@pytest.mark.parametrize("micro", [1, 2])
@pytest.mark.parametrize("spec", ["dtp", "gradnorm", "pcgrad"])
def test_the_rest_of_the_loss_is_differentiated_too(spec: str, micro: int, tmp_path: Path) -> None:
    spec = "equal" if (spec, micro) == ("dtp", 2) else spec  # KPIs of micro-batches count from the next step on
    mine = module(host, spec, step=with_penalty)
    trainer(host, tmp_path, max_epochs=1, accumulate_grad_batches=micro).fit(mine, loader(batch=16 // micro))
    expected = by_hand(spec, epochs=1, batch=16 // micro, micro=micro, factor=0.5, penalised=True)
    assert_same_parameters(mine.network, expected, **CLOSE)


@pytest.mark.parametrize("spec", ["dtp", "upgrad"])
def test_the_rest_of_the_loss_is_scaled_for_float16(spec: str, tmp_path: Path) -> None:
    mine = module(host, spec, step=with_penalty)
    plugin = host.plugins.MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=2.0**8))
    trainer(host, tmp_path, max_epochs=1, plugins=[plugin]).fit(mine, loader())
    assert_same_parameters(mine.network, by_hand(spec, epochs=1, factor=0.5, penalised=True), rtol=0.05, atol=0.01)


@pytest.mark.parametrize("spec", ["dtp", "uncertainty", "pcgrad"])
def test_each_total_of_a_step_is_a_step_of_the_balancer(spec: str, tmp_path: Path) -> None:
    def twice(mine: Any, losses: Losses, kpis: KPIs) -> Tensor:
        first, second = ({task: values[task] for task in TASKS[:1]} for values in (losses, kpis))
        return mine.balance(first, second) + mine.balance(losses, kpis)

    mine = module(host, spec, step=twice)
    trainer(host, tmp_path, max_epochs=1).fit(mine, loader())
    net, balancer = network(), Spec.parse(spec).build(TASKS)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for batch in loader():
        losses, kpis = measured(net, batch)
        optimizer.zero_grad()
        keep: list[Tensor] = []
        balancer.backward(
            {"plain": losses["plain"]}, {"plain": kpis["plain"]}, shared=net.shared_parameters(), using=keep.append
        )
        balancer.backward(losses, kpis, shared=net.shared_parameters(), using=keep.append)
        sum(keep).backward()  # type: ignore[union-attr]
        optimizer.step()
    assert_same_parameters(mine.network, net, **CLOSE)
    assert_same_state(mine.balancer, balancer)


def test_manual_optimization_balances_too(tmp_path: Path) -> None:
    def manual(mine: Any, losses: Losses, kpis: KPIs) -> Tensor:
        optimizer = mine.optimizers()
        optimizer.zero_grad()
        mine.manual_backward(with_penalty(mine, losses, kpis))
        optimizer.step()
        return torch.zeros(())

    mine = module(host, "pcgrad", step=manual)
    mine.automatic_optimization = False
    trainer(host, tmp_path, max_epochs=1).fit(mine, loader())
    assert_same_parameters(mine.network, by_hand("pcgrad", epochs=1, factor=0.5, penalised=True), **CLOSE)


def test_a_module_in_eval_mode_is_balanced_in_training(tmp_path: Path) -> None:
    """Lightning leaves a module in the mode in which it was, as for batch norms that keep their averages."""
    mine = module(host, "pcgrad").eval()
    trainer(host, tmp_path, max_epochs=1).fit(mine, loader())
    assert_same_parameters(mine.network, by_hand("pcgrad", epochs=1), **CLOSE)


def lbfgs(parameters: Any, lr: float) -> torch.optim.Optimizer:
    return torch.optim.LBFGS(parameters, lr=lr, max_iter=4, line_search_fn="strong_wolfe")


def by_lbfgs(spec: str) -> tuple[nn.Module, Any]:
    """LBFGS in a plain loop: the balancer's step in the first evaluation, and the same equation in the others."""
    net, balancer = network(), Spec.parse(spec).build(TASKS)
    optimizer = lbfgs(net.parameters(), 0.5)
    for batch in loader():
        before, firsts = copy.deepcopy(balancer), []

        def closure(batch: Any = batch, before: Any = before, firsts: list[KPIs] = firsts) -> Tensor:
            optimizer.zero_grad()
            losses, kpis = measured(net, batch)
            firsts.append(kpis)
            totals: list[Tensor] = []
            which = balancer if len(firsts) == 1 else copy.deepcopy(before)
            which.backward(losses, firsts[0], shared=net.shared_parameters(), using=totals.append)
            totals[0].backward()
            return totals[0]

        optimizer.step(closure)
        assert len(firsts) > 2
    return net, balancer


@pytest.mark.parametrize("spec", ["dtp", "uncertainty", "gradnorm", "db_mtl"])
def test_an_optimizer_with_a_closure_teaches_once_a_batch(spec: str, tmp_path: Path) -> None:
    mine = module(host, spec, rate=0.5, optimizer=lbfgs)
    trainer(host, tmp_path, max_epochs=1).fit(mine, loader())
    net, balancer = by_lbfgs(spec)
    assert_same_parameters(mine.network, net, **CLOSE)
    assert_same_state(mine.balancer, balancer)
    if spec == "uncertainty":
        assert adam_steps(mine.balancer.adam) == [4, 4]


class Twice(torch.optim.SGD):
    """Evaluates the loss twice before it steps, as sharpness-aware optimizers do."""

    def step(self, closure: Any = None) -> Any:
        closure()
        return super().step(closure)


def test_any_optimizer_that_evaluates_again_teaches_once_a_batch(tmp_path: Path) -> None:
    mine = module(host, "uncertainty", optimizer=Twice)
    for _ in range(2):  # the second fit counts its batches from 0 again
        trainer(host, tmp_path, max_epochs=1).fit(mine, loader())
    assert adam_steps(mine.balancer.adam) == [8, 8]
    assert adam_steps(copy.deepcopy(mine).balancer.adam) == [8, 8]


@pytest.mark.parametrize("spec", ["dtp", "geometric", "pcgrad"])
def test_a_validation_loss_is_the_plain_sum(spec: str, tmp_path: Path) -> None:
    mine = module(host, spec, stopping=TaskEarlyStopping(TASKS, patience=1))
    mine.balancer.update({"plain": 0.9, "product": 0.1})
    mine.stopping.waited.fill_(1)
    seen: list[tuple[float, float]] = []

    def validation_step(batch: Any, batch_idx: int) -> None:
        losses, kpis = measured(mine.network, batch)
        seen.append((float(mine.balance(losses, kpis)), float(sum(losses.values()))))

    mine.validation_step, mine.on_validation_epoch_end = validation_step, lambda: None
    trainer(host, tmp_path).validate(mine, loader(1), verbose=False)
    assert [total for total, _ in seen] == pytest.approx([plain for _, plain in seen])


def test_a_batch_without_labels_leaves_the_mean_of_the_epoch(tmp_path: Path) -> None:
    seen: list[float] = []

    def partly(mine: Any, losses: Losses, kpis: KPIs) -> Tensor:
        kpi = torch.tensor(torch.nan) if mine.trainer.fit_loop.batch_idx == 1 else kpis["plain"]
        seen.append(float(kpi))
        return mine.balance(losses, {**kpis, "plain": kpi})  # type: ignore[no-any-return]

    stop = EarlyStopping("kpi/plain", mode="max", patience=5)
    fit = trainer(host, tmp_path, max_epochs=3, callbacks=[stop])
    fit.fit(module(host, "dtp", step=partly), loader())
    assert fit.current_epoch == 3
    labelled = [seen[index] for index in (8, 10, 11)]
    assert float(fit.callback_metrics["kpi/plain"]) == pytest.approx(sum(labelled) / 3)


def test_a_training_step_logs_nothing(tmp_path: Path) -> None:
    """Lightning's log of 2·T metrics in each step cost as much as a small network."""
    mine = module(host, "dtp")
    logged: list[str] = []
    log_dict = mine.log_dict
    mine.log_dict = lambda values, **named: (logged.append(mine.trainer.fit_loop.batch_idx), log_dict(values, **named))
    trainer(host, tmp_path, max_epochs=2).fit(mine, loader())
    assert len(logged) == 2


def never(mine: Any) -> None:
    """A hook that forgets `evaluated`."""


def partial(mine: Any) -> None:
    mine.evaluated({"product": mine._mean()["product"]})


LOST: dict[str, tuple[str, Callable[[Any], None], dict[str, Any], str]] = {
    "no validation": ("validation", never, {"limit_val_batches": 0}, "with a validation loader in `fit`"),
    "not reported": (
        "validation",
        never,
        {},
        r"no KPI for 'plain', 'product': DTP, which uses KPIs, .* Call `self.evaluated",
    ),
    "a task left out": ("validation", partial, {}, "no KPI for 'plain': DTP, .* Also give `evaluated` the KPI of plain"),
    "a task left out of the log": ("batch", partial, {}, "no KPI for 'plain': worst_task is NaN"),
}


def warned(tmp_path: Path, source: str, hook: Callable[[Any], None] | None, **of_trainer: Any) -> list[str]:
    """The warnings about KPIs in two epochs."""
    mine = module(host, "dtp", kpis_from=source)
    if hook is not None:
        mine.on_validation_epoch_end = lambda: hook(mine)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer(host, tmp_path, max_epochs=2, **of_trainer).fit(mine, loader(), loader(1))
    found = [warning for warning in caught if "KPI" in str(warning.message)]
    assert all(warning.filename == __file__ for warning in found), "not a line of Lightning"
    return [str(warning.message) for warning in found]


@pytest.mark.parametrize("name", LOST)
def test_a_kpi_that_never_arrives_is_named_once(name: str, tmp_path: Path) -> None:
    source, hook, of_trainer, text = LOST[name]
    (message,) = [each for each in warned(tmp_path, source, hook, **of_trainer) if "gave no KPI for" in each]
    assert re.search(text, message), message


@pytest.mark.parametrize(
    ("source", "hook", "every"), [("validation", None, 1), ("validation", None, 2), ("batch", never, 1)]
)
def test_kpis_that_arrive_or_are_not_needed_give_no_warning(source: str, hook: Any, every: int, tmp_path: Path) -> None:
    assert not warned(tmp_path, source, hook, check_val_every_n_epoch=every)


WRONG: dict[str, tuple[Any, Any, str]] = {
    "a percentage": ({"plain": 50.0, "product": 70.0}, None, r"KPI of task 'plain' to be in \[0, 1\]; got 50.0"),
    "another task": ({"plain": 0.5, "prodct": 0.5}, None, "Unknown task 'prodct'; did you mean 'product'"),
    "a vector": (
        {"plain": torch.zeros(2), "product": 0.5},
        None,
        r"KPI of task 'plain' to be a 0-d tensor; got shape \[2\]",
    ),
    "a list": ([0.5, 0.5], None, "Expected `kpis` to be a mapping by task"),
    "a missing baseline": ({}, {"plain": 0.5}, "a KPI above 0 for task 'product', since `delta_m` is relative .*; got none"),
    "a baseline of 0": ({}, {"plain": 0.5, "product": 0.0}, "a KPI above 0 for task 'product'.*; got 0.0"),
    "another baseline": ({}, {"plain": 0.5, "x": 0.5}, "Unknown task 'x'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_figures_are_refused_in_the_sanity_validation(name: str) -> None:
    kpis, single_task, text = WRONG[name]
    mine = module(host, "dtp", single_task=single_task)
    mine._trainer = SimpleNamespace(sanity_checking=True)
    with pytest.raises(InputError, match=text):
        mine.evaluated(kpis)


def test_a_network_loads_without_its_balancer(tmp_path: Path) -> None:
    """The lines of docs/guides/lightning.md on inference."""
    fit = trainer(host, tmp_path, max_epochs=1)
    fit.fit(module(host, "dtp", stopping=TaskEarlyStopping(TASKS)), loader())
    fit.save_checkpoint(tmp_path / "last.ckpt")
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    net = network()
    net.load_state_dict(
        {name.removeprefix("network."): value for name, value in state.items() if name.startswith("network.")}
    )
    assert_same_parameters(net, fit.lightning_module.network)


def test_an_average_of_the_weights_leaves_the_balancer_out(tmp_path: Path) -> None:
    mine = module(host, "dtp", kpis_from="validation")
    average = EMAWeightAveraging(use_buffers=False, decay=0.9)
    trainer(host, tmp_path, callbacks=[average]).fit(mine, loader(), loader(1))
    plain = module(host, "dtp", kpis_from="validation")
    trainer(host, tmp_path).fit(plain, loader(), loader(1))
    assert mine.balancer.kpi.average.isfinite().all()
    assert not torch.equal(mine.network.trunk[0].weight, plain.network.trunk[0].weight)


@pytest.mark.parametrize(("spec", "waits"), [("dtp", []), ("uncertainty", []), ("upgrad", ["cpu"])])
@pytest.mark.parametrize("stops", [False, True], ids=["plain", "stopping"])
def test_a_step_adds_no_wait_for_the_device(
    spec: str, waits: list[str], stops: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counted(mine: Any, losses: dict[str, Tensor], kpis: dict[str, Tensor]) -> Tensor:
        with Transfers() as transfers:
            total: Tensor = mine.balance(losses, kpis)
        found.append(transfers.waits)
        return total

    for name in (ON_HOST, "hardfirst.kpi._moving.on_host"):
        monkeypatch.setattr(name, lambda state: False)
    found: list[list[str]] = []
    mine = module(host, spec, step=counted, **({"stopping": TaskEarlyStopping(TASKS)} if stops else {}))
    trainer(host, tmp_path, max_epochs=1).fit(mine, loader(), loader(1))
    assert found[1:] == [waits] * 3, "the range of a KPI is checked in the first step"
