"""The mixin for the Hugging Face Trainer: training gives the result of a plain loop. Nothing uses the hub."""

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from transformers import BertConfig, BertModel, Trainer, TrainerCallback, TrainingArguments

from hardfirst.balancers import Spec
from hardfirst.errors import InputError
from hardfirst.integrations import RunRecorder
from hardfirst.integrations.transformers import START_FILE, STATE_FILE, Balanced
from hardfirst.report import Comparison
from host_loops import adam_steps, assert_same_parameters, assert_same_state, states_of_two_ranks
from transfers import ON_HOST, Transfers

TASKS = ("first", "pair")
WORDS, LENGTH = 20, 6


pytestmark = pytest.mark.filterwarnings("ignore")


class Sentences(Dataset[dict[str, Tensor]]):
    """Random words; whether the first is a late one, and whether the first two are both late or both early."""

    def __init__(self, seed: int = 0, count: int = 32) -> None:
        self.words = torch.randint(0, WORDS, (count, LENGTH), generator=torch.Generator().manual_seed(seed))

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        words = self.words[index]
        late = words >= WORDS // 2
        return {"input_ids": words, "first_labels": late[0].float(), "pair_labels": (late[0] == late[1]).float()}


class TinyBert(nn.Module):
    """A BERT with random weights and two heads."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        self.bert = BertModel(BertConfig(vocab_size=WORDS, max_position_embeddings=LENGTH, **sizes, **dropout))
        self.heads = nn.ModuleDict({task: nn.Linear(16, 1) for task in TASKS})

    # because of **labels the Trainer believes that the model scales its loss by the number of micro-batches
    def forward(self, input_ids: Tensor, **labels: Tensor) -> dict[str, Tensor]:
        features = self.bert(input_ids).pooler_output
        return {task: head(features).squeeze(1) for task, head in self.heads.items()}

    def shared_parameters(self) -> list[nn.Parameter]:
        return list(self.bert.parameters())


def measured(model: nn.Module, inputs: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor], Any]:
    outputs = model(inputs["input_ids"])
    targets = {task: inputs[f"{task}_labels"] for task in TASKS}
    losses = {task: F.binary_cross_entropy_with_logits(outputs[task], targets[task]) for task in TASKS}
    kpis = {task: ((outputs[task] > 0) == (targets[task] > 0.5)).float().mean() for task in TASKS}
    return losses, kpis, outputs


def penalty(model: Any) -> Tensor:
    """A term of a loss that is no task's."""
    return model.bert.embeddings.word_embeddings.weight.square().sum()  # type: ignore[no-any-return]


class MultiTask(Balanced, Trainer):  # type: ignore[misc]
    penalised = False

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        total = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        return total / 2 + penalty(getattr(model, "module", model)) if self.penalised and model.training else total

    def task_losses(self, model: Any, inputs: Any) -> Any:
        losses, kpis, outputs = measured(model, inputs)
        return losses, kpis, {"logits": torch.stack([outputs[task] for task in TASKS], dim=1)}

    def get_train_dataloader(self) -> Any:  # in order, so that a plain loop sees the same batches
        batches = DataLoader(self.train_dataset, batch_size=self._train_batch_size)
        return self.accelerator.prepare(batches)


def accuracies(prediction: Any) -> dict[str, float]:
    labels = dict(zip(TASKS, prediction.label_ids, strict=True))
    outputs = prediction.predictions
    logits = outputs if isinstance(outputs, np.ndarray) else outputs[0]
    return {f"kpi_{task}": float(((logits[:, at] > 0) == (labels[task] > 0.5)).mean()) for at, task in enumerate(TASKS)}


def trainer(tmp_path: Path, spec: str = "dtp", *, rate: float = 0.5, kpis_from: str = "batch", **settings: Any) -> Any:
    model = TinyBert()
    of_trainer = {"compute_metrics": accuracies, "record": None, "compute_loss_func": None}
    of_trainer = {name: settings.pop(name, default) for name, default in of_trainer.items()}
    kind = settings.pop("kind", MultiTask)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    constant = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    arguments = TrainingArguments(
        **{
            "output_dir": str(tmp_path / "out"),
            "num_train_epochs": 2,
            "per_device_train_batch_size": 8,
            "max_grad_norm": 0.0,
            "use_cpu": True,
            "report_to": [],
            "disable_tqdm": True,
            "save_strategy": "no",
            "logging_steps": 2,
            "remove_unused_columns": False,
            "label_names": [f"{task}_labels" for task in TASKS],
        }
        | settings
    )
    return kind(
        model,
        arguments,
        train_dataset=Sentences(),
        eval_dataset=Sentences(1),
        optimizers=(optimizer, constant),
        balancer=Spec.parse(spec).build(TASKS),
        kpis_from=kpis_from,
        **of_trainer,
    )


def by_hand(
    spec: str, *, epochs: int = 2, batch: int = 8, micro: int = 1, penalised: bool = False, rate: float = 0.5
) -> nn.Module:
    """The same training in a plain loop, each micro-batch balanced by itself."""
    model, balancer = TinyBert(), Spec.parse(spec).build(TASKS)
    optimizer, loader = torch.optim.SGD(model.parameters(), lr=rate), DataLoader(Sentences(), batch_size=batch)
    balancer.plan_steps(epochs * len(loader) // micro)
    for _ in range(epochs):
        for number, inputs in enumerate(loader):
            losses, kpis, _ = measured(model, inputs)
            divisor = 2 * micro if penalised else micro
            scaled = {task: loss / divisor for task, loss in losses.items()}
            balancer.backward(scaled, kpis, shared=model.shared_parameters())
            if penalised:
                (penalty(model) / micro).backward()
            if number % micro == micro - 1:
                optimizer.step()
                optimizer.zero_grad()
                if balancer.restarted:
                    model.load_state_dict(TinyBert().state_dict())
        balancer.end_epoch()
    return model


CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.mark.parametrize(
    "spec", ["dtp", "dtp:anneal=0.2+0.9", "hard_first:search=0.4", "uncertainty", "dwa", "gradnorm", "pcgrad"]
)
def test_training_is_that_of_a_plain_loop(spec: str, tmp_path: Path) -> None:
    mine = trainer(tmp_path, spec)
    mine.train()
    assert_same_parameters(mine.model, by_hand(spec), **CLOSE)


@pytest.mark.parametrize("spec", ["equal", "mgda"])
def test_accumulation_divides_the_losses(spec: str, tmp_path: Path) -> None:
    """The model's forward takes any keywords, which makes the Trainer believe that it has scaled its loss."""
    mine = trainer(tmp_path, spec, gradient_accumulation_steps=2, per_device_train_batch_size=4)
    mine.train()
    assert_same_parameters(mine.model, by_hand(spec, batch=4, micro=2), **CLOSE)
    if spec == "equal":
        assert_same_parameters(mine.model, by_hand(spec, batch=8), **CLOSE)


@pytest.mark.parametrize("spec", ["dtp", "pcgrad"])
def test_what_is_added_to_the_loss_is_differentiated_too(spec: str, tmp_path: Path) -> None:
    micro = 2 if spec == "pcgrad" else 1
    mine = trainer(tmp_path, spec, num_train_epochs=1, gradient_accumulation_steps=micro, rate=0.05)
    mine.penalised = True
    mine.train()
    assert_same_parameters(mine.model, by_hand(spec, epochs=1, micro=micro, penalised=True, rate=0.05), **CLOSE)


def test_a_step_of_micro_batches_is_one_observation(tmp_path: Path) -> None:
    mine = trainer(tmp_path, "dtp", gradient_accumulation_steps=4, per_device_train_batch_size=4, num_train_epochs=1)
    seen: list[dict[str, Any]] = []
    mine.balancer.update = seen.append
    mine.train()
    assert len(seen) == 2
    batches = list(DataLoader(Sentences(), batch_size=4))[:4]
    expected = sum(float(measured(TinyBert(), batch)[1]["first"]) for batch in batches) / 4
    assert seen[0]["first"] == pytest.approx(expected)


def test_methods_that_learn_do_so_on_the_last_micro_batch(tmp_path: Path) -> None:
    mine = trainer(tmp_path, "uncertainty", gradient_accumulation_steps=2, per_device_train_batch_size=4, num_train_epochs=1)
    mine.train()
    assert adam_steps(mine.balancer.adam) == [4, 4]


@pytest.mark.parametrize("spec", ["gradnorm", "hard_first:search=0.25", "hard_first:search=0.5", "hard_first:search=0.75"])
def test_the_state_is_in_the_checkpoint(spec: str, tmp_path: Path) -> None:
    """Of 16 steps, the checkpoint is from the middle."""
    whole = trainer(tmp_path / "whole", spec, num_train_epochs=4)
    whole.train()
    half = trainer(tmp_path, spec, num_train_epochs=4, save_strategy="steps", save_steps=8)

    class Stop(TrainerCallback):
        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
            control.should_training_stop = True
            return control

    half.add_callback(Stop())
    checkpoint = tmp_path / "out" / "checkpoint-8"
    checkpoint.mkdir(parents=True)
    (checkpoint / START_FILE).touch()  # of an earlier run in the same folder
    half.train()
    assert torch.load(checkpoint / STATE_FILE, weights_only=True).keys() == whole.balancer.state_dict().keys()
    assert (checkpoint / START_FILE).exists() == (spec == "hard_first:search=0.75")
    rest = trainer(tmp_path / "rest", spec, num_train_epochs=4)
    rest.train(resume_from_checkpoint=str(checkpoint))
    assert_same_parameters(rest.model, whole.model)
    assert_same_state(rest.balancer, whole.balancer)


def test_weights_and_kpis_are_in_the_log(tmp_path: Path) -> None:
    mine = trainer(tmp_path, "fixed:first=1,pair=3")
    mine.train()
    logs = [entry for entry in mine.state.log_history if "loss" in entry]
    assert len(logs) == 4
    for entry in logs:
        assert (entry["weight_first"], entry["weight_pair"]) == pytest.approx((1, 3))
        assert 0 <= entry["kpi_pair"] <= 1
    assert set(by_name(mine)) >= {"weight_first", "kpi_first", "kpi_pair"}


def test_weights_and_kpis_reach_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    trainer(tmp_path, "fixed:first=1,pair=3", report_to=["tensorboard"]).train()
    events = EventAccumulator(str(tmp_path / "board")).Reload()
    assert [event.value for event in events.Scalars("train/weight_pair")] == pytest.approx([3] * 4)
    assert len(events.Scalars("train/kpi_first")) == 4


def by_name(mine: Any) -> dict[str, float]:
    return {name: value for entry in mine.state.log_history for name, value in entry.items()}


def test_only_evaluations_during_training_update_the_balancer(tmp_path: Path) -> None:
    mine = trainer(tmp_path, "dtp:alpha=1", kpis_from="validation", eval_strategy="epoch")
    before = mine.evaluate()
    assert mine.balancer.kpi.average.isnan().all()
    mine.train()
    last = [entry for entry in mine.state.log_history if "eval_kpi_pair" in entry][-1]
    assert mine.balancer.kpi.average.tolist() == pytest.approx([last[f"eval_kpi_{task}"] for task in TASKS])
    assert before["eval_worst_task"] == min(before[f"eval_kpi_{task}"] for task in TASKS)


def test_the_worst_task_chooses_the_best_model(tmp_path: Path) -> None:
    mine = trainer(
        tmp_path,
        "equal",
        num_train_epochs=3,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="worst_task",
        greater_is_better=True,
    )
    mine.train()
    reached = [entry["eval_worst_task"] for entry in mine.state.log_history if "eval_worst_task" in entry]
    assert mine.state.best_metric == max(reached)


@pytest.mark.parametrize("spec", ["dtp:alpha=0.5", "uncertainty", "pcgrad"])
def test_the_loss_of_evaluations_does_not_follow_the_weights(spec: str, tmp_path: Path) -> None:
    mine = trainer(tmp_path, spec, rate=0.0, num_train_epochs=3, eval_strategy="epoch")
    mine.train()
    (batch,) = DataLoader(Sentences(1), batch_size=32)
    losses, _, _ = measured(TinyBert().eval(), batch)
    evaluated = [entry["eval_loss"] for entry in mine.state.log_history if "eval_loss" in entry]
    assert evaluated == pytest.approx([float(sum(losses.values()))] * 3)


def test_the_losses_may_contain_that_of_the_trainer(tmp_path: Path) -> None:
    class Reusing(MultiTask):
        def task_losses(self, model: Any, inputs: Any) -> Any:
            loss = super().compute_loss(model, {"input_ids": inputs["input_ids"], "labels": inputs["first_labels"]})
            losses, kpis, outputs = super().task_losses(model, inputs)
            seen.append((float(loss), float(losses["first"])))
            return {**losses, "first": loss}, kpis, outputs

    def own_loss(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        return F.binary_cross_entropy_with_logits(outputs["first"], labels)

    seen: list[tuple[float, float]] = []
    mine = trainer(tmp_path, "dtp", kind=Reusing, num_train_epochs=1, compute_loss_func=own_loss)
    mine.train()
    mine.evaluate()
    assert [own for own, _ in seen] == pytest.approx([loss for _, loss in seen])
    assert_same_parameters(mine.model, by_hand("dtp", epochs=1), **CLOSE)


def one_kpi(prediction: Any) -> dict[str, float]:
    return {"kpi_first": accuracies(prediction)["kpi_first"]}


def another_name(prediction: Any) -> dict[str, float]:
    return dict.fromkeys(TASKS, 0.5)


LOST = {
    "no metrics": (
        {"compute_metrics": None},
        "no KPI for 'first', 'pair': DTP, .* Looked for eval_kpi_first, eval_kpi_pair",
    ),
    "other names": ({"compute_metrics": another_name}, "`compute_metrics` must return kpi_first, kpi_pair"),
    "one of two": ({"compute_metrics": one_kpi}, "no KPI for 'pair': DTP, which uses KPIs, .* Looked for eval_kpi_pair"),
    "no labels": ({"label_names": ["labels"]}, r"columns of `label_names`, which is \['labels'\]"),
}


@pytest.mark.parametrize("name", LOST)
def test_kpis_that_never_arrive_are_named_once(name: str, tmp_path: Path) -> None:
    settings, text = LOST[name]
    mine = trainer(tmp_path, "dtp", kpis_from="validation", eval_strategy="epoch", rate=0.0, **settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mine.train()
    (warning,) = [each for each in caught if "no KPI for" in str(each.message)]
    assert re.search(text, str(warning.message)), warning.message
    assert warning.filename == __file__, "not a line of the Trainer"


def test_a_data_set_for_each_task_gives_both_their_kpis(tmp_path: Path) -> None:
    def metrics(prediction: Any) -> dict[str, float]:
        reached.append(accuracies(prediction)[f"kpi_{TASKS[len(reached) % 2]}"])
        return {f"kpi_{TASKS[(len(reached) - 1) % 2]}": reached[-1]}

    reached: list[float] = []
    mine = trainer(tmp_path, "dtp:alpha=1", kpis_from="validation", eval_strategy="epoch", compute_metrics=metrics)
    mine.eval_dataset = {"one": Sentences(1), "two": Sentences(2)}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mine.train()
    assert not [warning for warning in caught if "no KPI for" in str(warning.message)]
    assert mine.balancer.kpi.average.tolist() == pytest.approx(reached[-2:])


def test_report_reads_a_record(tmp_path: Path) -> None:
    for spec in ("equal", "dtp"):
        record = RunRecorder(tmp_path / "runs", {"problem": "toy", "balancer": spec, "seed": 0})
        mine = trainer(tmp_path, spec, eval_strategy="epoch", record=record)
        mine.train()
        tested = mine.predict(Sentences(2)).metrics
    (case,) = Comparison.read(tmp_path / "runs").cases
    assert (case.methods, case.tasks) == (("equal", "dtp"), TASKS)
    record = case.runs["dtp", 0]
    assert [line["epoch"] for line in record.epochs] == [1, 2]
    assert record.test_kpi("pair") == pytest.approx(tested["test_kpi_pair"])
    assert record.validation_kpi("first") == pytest.approx(max_of(mine, "eval_kpi_first", record))
    assert set(record.epochs[0]["tasks"]["first"]) == {"loss", "kpi", "weight", "validation_kpi"}
    assert record.outcome == "finished"


def max_of(mine: Any, name: str, record: Any) -> float:
    """The metric at the epoch that the record selects."""
    entries = [entry[name] for entry in mine.state.log_history if name in entry]
    return float(entries[record.selected()[0] - 1])


def test_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Expected `kpis_from` to be 'batch' or 'validation'; got 'test'"):
        trainer(tmp_path, kpis_from="test")
    with pytest.raises(InputError, match="Expected settings with problem, balancer and seed; 'seed' is missing"):
        RunRecorder(tmp_path, {"problem": "toy", "balancer": "dtp"})
    mine = trainer(tmp_path, "pcgrad")
    mine.model.shared_parameters = None
    with pytest.raises(InputError, match=r"PCGrad needs the parameters that several tasks use. Give `shared=\.\.\.`"):
        mine.train()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        trainer(tmp_path, record=RunRecorder(tmp_path / "file", {"problem": "t", "balancer": "b", "seed": 0})).train()


RANKS = """
import os, sys
from host_loops import save_state
from test_transformers import *
folder, *specs = sys.argv[1:]
for spec in specs:
    mine = trainer(Path(folder), spec, per_device_train_batch_size=4)
    mine.train()
    save_state(mine.model, mine.balancer, folder, spec, os.environ["LOCAL_RANK"])
"""


@pytest.mark.slow
def test_two_ranks_are_one_process(tmp_path: Path) -> None:
    for spec, state in states_of_two_ranks(RANKS, tmp_path, ["dtp", "pcgrad"]).items():
        torch.testing.assert_close(state, by_hand(spec).state_dict(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("spec", "waits"), [("dtp", []), ("uncertainty", []), ("upgrad", ["cpu"])])
def test_a_step_adds_no_wait_for_the_device(spec: str, waits: list[str], tmp_path: Path, monkeypatch: Any) -> None:
    class Counted(MultiTask):
        def compute_loss(self, model: Any, *args: Any, **named: Any) -> Any:
            losses = measured(model, *args)
            self.task_losses = lambda *_: losses  # what the user computes is not counted
            with Transfers() as transfers:
                total = super().compute_loss(model, *args, **named)
            found.append(transfers.waits)
            return total

    for name in (ON_HOST, "hardfirst.kpi._moving.on_host"):
        monkeypatch.setattr(name, lambda state: False)
    found: list[list[str]] = []
    trainer(tmp_path, spec, kind=Counted, num_train_epochs=1).train()
    assert found[1:] == [waits] * 3, "the range of a KPI is checked in the first step"
