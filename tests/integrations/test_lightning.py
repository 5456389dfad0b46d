"""The mixin for Lightning, under both names of its package: training gives the result of a plain loop."""

import copy
import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

import hardfirst
from hardfirst import records
from hardfirst.errors import InputError
from hardfirst.integrations.lightning import RecordRuns
from hardfirst.report import Comparison
from hardfirst.stopping import TaskEarlyStopping
from host_loops import adam_steps, assert_same_parameters, assert_same_state, states_of_two_ranks
from lightning_loops import TASKS, by_hand, loader, measured, module, network, trainer

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice on workers and loggers


@pytest.fixture(params=["lightning.pytorch", "pytorch_lightning"])
def host(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


@pytest.fixture
def lightning() -> ModuleType:
    return importlib.import_module("lightning.pytorch")


@pytest.mark.parametrize(
    "spec", ["dtp", "dtp:anneal=0.2+0.9", "hard_first:search=0.4", "uncertainty", "dwa", "gradnorm", "pcgrad", "db_mtl"]
)
def test_training_is_that_of_a_plain_loop(lightning: ModuleType, spec: str, tmp_path: Path) -> None:
    mine = module(lightning, spec)
    trainer(lightning, tmp_path).fit(mine, loader())
    assert_same_parameters(mine.network, by_hand(spec), rtol=1e-5, atol=1e-6)


def test_both_packages_of_lightning_work(host: ModuleType, tmp_path: Path) -> None:
    mine = module(host, "dtp")
    callback = RecordRuns(tmp_path / "runs", problem="toy", balancer="dtp", seed=0)
    assert isinstance(callback, host.Callback)
    trainer(host, tmp_path, callbacks=[callback]).fit(mine, loader(), loader(1))
    assert_same_parameters(mine.network, by_hand("dtp"), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("spec", ["equal", "pcgrad"])
def test_clipping_keeps_working(lightning: ModuleType, spec: str, tmp_path: Path) -> None:
    mine = module(lightning, spec)
    trainer(lightning, tmp_path, gradient_clip_val=0.05).fit(mine, loader())
    assert_same_parameters(mine.network, by_hand(spec, clip=0.05), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(mine.network.trunk[0].weight, by_hand(spec).trunk[0].weight)  # type: ignore[union-attr,index]


def test_annealing_needs_a_limit_of_steps(lightning: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="this Trainer has no limit"):
        trainer(lightning, tmp_path, max_epochs=-1).fit(module(lightning, "dtp:anneal=0.2+0.9"), loader())


@pytest.mark.parametrize("spec", ["equal", "mgda"])
def test_accumulated_gradients_are_divided(lightning: ModuleType, spec: str, tmp_path: Path) -> None:
    """Micro-batches add up for methods linear in the losses; gradient balancers balance each micro-batch."""
    mine = module(lightning, spec)
    trainer(lightning, tmp_path, accumulate_grad_batches=2, max_epochs=1).fit(mine, loader(batch=8))
    assert_same_parameters(mine.network, by_hand(spec, epochs=1, batch=8, micro=2), rtol=1e-4, atol=1e-6)
    if spec == "equal":
        assert_same_parameters(mine.network, by_hand(spec, epochs=1), rtol=1e-4, atol=1e-6)


def test_a_step_of_micro_batches_is_one_observation(lightning: ModuleType, tmp_path: Path) -> None:
    mine = module(lightning, "dtp")
    seen: list[dict[str, Any]] = []
    mine.balancer.update = seen.append  # type: ignore[method-assign]
    trainer(lightning, tmp_path, accumulate_grad_batches=4, max_epochs=1, limit_train_batches=7).fit(mine, loader(batch=8))
    assert len(seen) == 2, "four micro-batches, and the three that are left"
    assert seen[0]["plain"] == pytest.approx(sum(kpis_of(batch) for batch in range(4)) / 4)


def kpis_of(batch: int) -> float:
    """The untrained network's KPI on one of the first micro-batches."""
    return float(measured(network(), list(loader(batch=8))[batch])[1]["plain"])


def test_methods_that_learn_do_so_on_the_last_micro_batch(lightning: ModuleType, tmp_path: Path) -> None:
    mine = module(lightning, "uncertainty")
    trainer(lightning, tmp_path, accumulate_grad_batches=2, max_epochs=1).fit(mine, loader(batch=8))
    assert adam_steps(mine.balancer.adam) == [4, 4]


def test_sanity_validation_never_reaches_the_state(lightning: ModuleType, tmp_path: Path) -> None:
    mine = module(lightning, "dtp", kpis_from="validation", stopping=TaskEarlyStopping(TASKS, patience=1))
    before = copy.deepcopy(mine.balancer.state_dict())

    class Look(lightning.Callback):  # type: ignore[misc,name-defined]
        def on_train_start(self, *_: Any) -> None:
            for name, value in mine.balancer.state_dict().items():
                torch.testing.assert_close(value, before[name], equal_nan=True)
            assert mine.stopping.best.isnan().all()

    fit = trainer(lightning, tmp_path, num_sanity_val_steps=2, callbacks=[Look()], max_epochs=1)
    fit.fit(mine, loader(), loader(1))
    assert not mine.balancer.kpi.average.isnan().any(), "the validation during training updates it"


def test_validation_alone_changes_nothing(lightning: ModuleType, tmp_path: Path) -> None:
    mine = module(lightning, "dtp", kpis_from="validation")
    (metrics,) = trainer(lightning, tmp_path).validate(mine, loader(1), verbose=False)
    assert mine.balancer.kpi.average.isnan().all()
    assert set(metrics) == {"validation_kpi/plain", "validation_kpi/product", "worst_task", "mean_over_tasks"}


def test_kpis_from_validation_drive_the_weights_once_an_epoch(lightning: ModuleType, tmp_path: Path) -> None:
    mine = module(lightning, "dtp:alpha=1", kpis_from="validation")
    fit = trainer(lightning, tmp_path, max_epochs=1)
    fit.fit(mine, loader(), loader(1))
    assert mine.balancer.kpi.average.tolist() == pytest.approx(
        [float(fit.callback_metrics[f"validation_kpi/{task}"]) for task in TASKS]
    )
    assert float(fit.callback_metrics["weight/plain"]) == pytest.approx(1.0), "unmeasured, all are equal"


def test_a_resumed_run_goes_on_bit_for_bit(lightning: ModuleType, tmp_path: Path) -> None:
    whole = module(lightning, "gradnorm")
    trainer(lightning, tmp_path, max_epochs=4).fit(whole, loader())
    half = module(lightning, "gradnorm")
    fit = trainer(lightning, tmp_path, max_epochs=2, enable_checkpointing=True)
    fit.fit(half, loader())
    fit.save_checkpoint(tmp_path / "half.ckpt")
    rest = module(lightning, "gradnorm")
    trainer(lightning, tmp_path, max_epochs=4).fit(rest, loader(), ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    assert_same_parameters(rest, whole)
    assert_same_state(rest.balancer, whole.balancer)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_a_resumed_run_goes_back_to_step_0_bit_for_bit(lightning: ModuleType, share: float, tmp_path: Path) -> None:
    """16 steps; the checkpoint after step 8 is from after the search, from its end, or from before it."""

    def fit(epochs: int, **options: Any) -> Any:
        mine = module(lightning, f"hard_first:steps=16,search={share}", optimizer=torch.optim.Adam)
        mine.run = trainer(lightning, tmp_path, max_epochs=epochs, enable_checkpointing=True)
        mine.run.fit(mine, loader(), **options)
        return mine

    whole = fit(4)
    fit(2).run.save_checkpoint(tmp_path / "half.ckpt")
    rest = fit(4, ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    assert_same_parameters(rest, whole)
    assert_same_state(rest.balancer, whole.balancer)
    for one, other in zip(rest.optimizers().state.values(), whole.optimizers().state.values(), strict=True):
        assert all(torch.equal(one[name], other[name]) for name in other)
        assert int(one["step"]) == 16 - 16 * share


def test_a_module_resumes_from_an_earlier_checkpoint_of_its_own(lightning: ModuleType, tmp_path: Path) -> None:
    """From before the restart, although the module has had it."""
    mine = module(lightning, "hard_first:steps=16,search=0.75")
    fit = trainer(lightning, tmp_path, max_epochs=2, enable_checkpointing=True)
    fit.fit(mine, loader())
    fit.save_checkpoint(tmp_path / "half.ckpt")
    ends = []
    for _ in range(2):
        trainer(lightning, tmp_path, max_epochs=4).fit(mine, loader(), ckpt_path=tmp_path / "half.ckpt", weights_only=True)
        ends.append(copy.deepcopy(mine.network))
    assert_same_parameters(*ends)


def test_statistics_go_back_to_those_before_the_first_batch(lightning: ModuleType, tmp_path: Path) -> None:
    mine = module(lightning, "hard_first:search=0.5")
    mine.network.trunk.append(nn.BatchNorm1d(8))
    trainer(lightning, tmp_path).fit(mine, loader())
    assert mine.network.trunk[-1].num_batches_tracked == 4


def test_a_checkpoint_without_the_initial_weights_is_refused(lightning: ModuleType, tmp_path: Path) -> None:
    mine = module(lightning, "hard_first:steps=16,search=0.75")
    mine.balancer.steps_done += 8
    with pytest.raises(InputError, match="lacks the initial weights"):
        trainer(lightning, tmp_path).fit(mine, loader())


def test_the_record_has_the_restart(lightning: ModuleType, tmp_path: Path) -> None:
    callback = RecordRuns(tmp_path / "runs", problem="toy", balancer="hard_first", seed=0)
    mine = module(lightning, "hard_first:search=0.5")
    trainer(lightning, tmp_path, max_epochs=3, callbacks=[callback]).fit(mine, loader(), loader(1))
    record = records.read(callback.recorder.path)
    assert [line.get("restarted") for line in record.epochs] == [None, 6, None]
    assert record.selected()[0] >= 2


def test_weights_and_monitors_are_logged(lightning: ModuleType, tmp_path: Path) -> None:
    mine = module(lightning, "fixed:plain=1,product=3", single_task={"plain": 1.0, "product": 0.5})
    best = lightning.callbacks.ModelCheckpoint(tmp_path, monitor="worst_task", mode="max", filename="{worst_task:.3f}")
    fit = trainer(lightning, tmp_path, callbacks=[best], enable_checkpointing=True)
    fit.fit(mine, loader(), loader(1))
    logged = {name: float(value) for name, value in fit.callback_metrics.items()}
    assert (logged["weight/plain"], logged["weight/product"]) == pytest.approx((1, 3))
    assert 0 < logged["kpi/plain"] <= 1
    kpis = {task: logged[f"validation_kpi/{task}"] for task in TASKS}
    assert logged["worst_task"] == pytest.approx(min(kpis.values()))
    assert logged["delta_m"] == pytest.approx(100 * ((kpis["plain"] - 1) / 1 + (kpis["product"] - 0.5) / 0.5) / 2, abs=1e-4)
    assert "worst_task=" in best.best_model_path
    state = torch.load(best.best_model_path, weights_only=True)["state_dict"]
    assert any(name.startswith("balancer.") for name in module(lightning, "dtp").state_dict())
    assert any(name.startswith("network.") for name in state)


def test_weights_and_kpis_reach_tensorboard(lightning: ModuleType, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = lightning.loggers.TensorBoardLogger(tmp_path, name="", version="run")
    trainer(lightning, tmp_path, logger=logger).fit(module(lightning, "fixed:plain=1,product=3"), loader(), loader(1))
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    assert [event.value for event in events.Scalars("weight/product")] == pytest.approx([3, 3])
    assert len(events.Scalars("kpi/plain")) == len(events.Scalars("worst_task")) == 2


def test_a_task_that_no_longer_rises_is_stopped(lightning: ModuleType, tmp_path: Path) -> None:
    mine = module(lightning, "equal", stopping=TaskEarlyStopping(TASKS, patience=2, min_delta=2.0))
    fit = trainer(lightning, tmp_path, max_epochs=10)
    fit.fit(mine, loader(), loader(1))
    assert mine.stopping.stopped == TASKS
    assert fit.current_epoch == 3, "the first validation is the best, two do not rise"
    half = module(lightning, "equal", stopping=TaskEarlyStopping(TASKS, patience=1))
    half.stopping.waited.copy_(torch.tensor([1.0, 0.0]))
    head = copy.deepcopy(half.network.heads["plain"].state_dict())
    trainer(lightning, tmp_path, max_epochs=1).fit(half, loader())
    assert all(torch.equal(value, head[name]) for name, value in half.network.heads["plain"].state_dict().items())
    assert "stopping.waited" in half.state_dict()


def test_methods_that_need_shared_parameters_say_so(lightning: ModuleType, tmp_path: Path) -> None:
    mine = module(lightning, "pcgrad")
    mine.network = nn.ModuleDict()
    with pytest.raises(InputError, match=r"PCGrad needs the shared parameters\. Override `shared_parameters"):
        mine.shared_parameters()


def test_report_reads_a_record(lightning: ModuleType, tmp_path: Path) -> None:
    for spec in ("equal", "dtp"):
        for seed in range(2):
            mine = module(lightning, spec, rate=0.1 + seed / 10)
            callback = RecordRuns(tmp_path / "runs", problem="toy", balancer=spec, seed=seed)
            fit = trainer(lightning, tmp_path, callbacks=[callback], max_epochs=3)
            fit.fit(mine, loader(), loader(1))
            tested = fit.test(mine, loader(2), verbose=False)
    comparison = Comparison.read(tmp_path / "runs")
    (case,) = comparison.cases
    assert (case.problem, case.methods, case.seeds, case.tasks) == ("toy", ("equal", "dtp"), (0, 1), TASKS)
    record = case.runs["dtp", 1]
    assert [line["epoch"] for line in record.epochs] == [1, 2, 3]
    assert record.test_kpi("plain") == pytest.approx(tested[0]["test_kpi/plain"])
    assert record.outcome == "finished"
    assert record.parameters == sum(parameter.numel() for parameter in mine.parameters())
    line = record.epochs[-1]["tasks"]["product"]
    assert set(line) == {"loss", "kpi", "weight", "validation_kpi", "validation_loss"}
    assert sum(record.curve(task, "weight")[-1] for task in TASKS) == pytest.approx(2, rel=1e-4)
    assert "toy" in comparison.html()


def test_a_resumed_run_continues_its_record(lightning: ModuleType, tmp_path: Path) -> None:
    def run(epochs: int, **settings: Any) -> Any:
        callback = RecordRuns(tmp_path / "runs", problem="toy", balancer="dtp", seed=0)
        fit = trainer(lightning, tmp_path, callbacks=[callback, *settings.pop("extra", [])], max_epochs=epochs)
        return fit, module(lightning, "dtp")

    class Stop(lightning.Callback):  # type: ignore[misc,name-defined]
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            if trainer.current_epoch == 1:
                trainer.save_checkpoint(tmp_path / "half.ckpt")
                raise KeyboardInterrupt

    fit, mine = run(4, extra=[Stop()])
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fit.fit(mine, loader(), loader(1))
    assert not list((tmp_path / "runs/trials").glob("*.jsonl"))
    fit, mine = run(4)
    fit.fit(mine, loader(), loader(1), ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    fit.test(mine, loader(2), verbose=False)
    (case,) = Comparison.read(tmp_path / "runs").cases
    epochs = [line["epoch"] for line in case.runs["dtp", 0].epochs]
    assert epochs == sorted(set(epochs))
    assert epochs[-1] == 4


def test_a_run_that_fails_is_an_outcome(lightning: ModuleType, tmp_path: Path) -> None:
    mine = module(lightning, "dtp")
    mine.training_step = lambda batch, batch_idx: 1 / 0
    callback = RecordRuns(tmp_path / "runs", problem="toy", balancer="dtp", seed=0)
    with pytest.raises(ZeroDivisionError):
        trainer(lightning, tmp_path, callbacks=[callback]).fit(mine, loader())
    (path,) = (tmp_path / "runs/trials").glob("*.jsonl")
    record = hardfirst.records.read(path)
    assert (record.outcome, record.reason) == ("failed", "ZeroDivisionError: division by zero")


def test_the_recorder_refuses_other_modules(lightning: ModuleType, tmp_path: Path) -> None:
    class Bare(lightning.LightningModule):  # type: ignore[misc,name-defined]
        def training_step(self, batch: Any, index: int) -> None: ...

        def configure_optimizers(self) -> None: ...

    callback = RecordRuns(tmp_path / "runs", problem="toy", balancer="dtp", seed=0)
    with pytest.raises(InputError, match="needs a module with the mixin Balanced; Bare lacks it"):
        trainer(lightning, tmp_path, callbacks=[callback]).fit(Bare(), loader())


RANKS = """
import os, sys
from host_loops import save_state
from lightning_loops import *
from torch.utils.data import DataLoader
import lightning.pytorch as host
folder, *specs = sys.argv[1:]
rank = int(os.environ["LOCAL_RANK"])
share = torch.utils.data.DistributedSampler(table(), 2, rank, shuffle=False)
for spec in specs:
    mine = module(host, spec, step=lambda mine, losses, kpis: mine.balance(losses, kpis) + penalty(mine.network))
    fit = trainer(host, folder, devices=2, strategy="ddp", max_epochs=1, use_distributed_sampler=False)
    fit.fit(mine, DataLoader(table(), batch_size=8, sampler=share), loader(1))
    save_state(mine.network, mine.balancer, folder, spec, rank)
"""


@pytest.mark.slow
def test_two_ranks_have_the_same_weights(tmp_path: Path) -> None:
    """They equal those of one process with the ranks' batches joined, as KPIs and losses are means over equal halves."""
    for spec, state in states_of_two_ranks(RANKS, tmp_path, ["dtp", "pcgrad"]).items():
        expected = by_hand(spec, epochs=1, penalised=True).state_dict()
        torch.testing.assert_close(state, expected, rtol=1e-4, atol=1e-5)


RAY = """
import os, sys
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
import ray
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

folder = sys.argv[1]

def loop(config):
    from host_loops import save_state
    import torch
    from lightning_loops import loader, module, table, trainer
    from torch.utils.data import DataLoader
    import lightning.pytorch as host
    from ray.train.lightning import RayDDPStrategy, RayLightningEnvironment
    rank = ray.train.get_context().get_world_rank()
    mine = module(host, "dtp")
    settings = {"strategy": RayDDPStrategy(), "plugins": [RayLightningEnvironment()], "use_distributed_sampler": False}
    fit = trainer(host, folder, max_epochs=1, devices="auto", **settings)
    share = torch.utils.data.DistributedSampler(table(), 2, rank, shuffle=False)
    fit.fit(mine, DataLoader(table(), batch_size=8, sampler=share), loader(1))
    save_state(mine.network, mine.balancer, folder, "dtp", rank)

variables = {"PYTHONPATH": os.environ["PYTHONPATH"], "OMP_NUM_THREADS": "1"}
settings = {"address": "local", "include_dashboard": False, "log_to_driver": False, "object_store_memory": 80 * 2**20}
ray.init(num_cpus=3, runtime_env={"env_vars": variables}, **settings)
TorchTrainer(loop, scaling_config=ScalingConfig(num_workers=2), run_config=RunConfig(storage_path=folder)).fit()
"""


@pytest.mark.slow
def test_ray_train_has_the_weights_of_one_process(tmp_path: Path) -> None:
    states = states_of_two_ranks(RAY, tmp_path, ["dtp"], start=())
    torch.testing.assert_close(states["dtp"], by_hand("dtp", epochs=1).state_dict(), rtol=1e-4, atol=1e-5)
