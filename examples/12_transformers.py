"""Hugging Face: a small BERT with random weights and two heads, on sentences of the Brown corpus, without the hub.

    + class MultiTask(Balanced, Trainer):
    +     def task_losses(self, model, inputs):
    +         outputs = model(inputs["words"])
    +         losses = {task: F.cross_entropy(outputs[task], inputs[task]) for task in TASKS}
    +         kpis = {task: accuracy(outputs[task], inputs[task]) for task in TASKS}
    +         return losses, kpis, outputs

    - trainer = Trainer(model, arguments, train_dataset=train)
    + trainer = MultiTask(model, arguments, train_dataset=train, balancer=hardfirst.DTP(TASKS))

The tasks are the part of speech of each word and the genre of the sentence. Losses are divided by the number of
micro-batches, each checkpoint contains the balancer's state, and the log has weights and KPIs as well as the loss.
"""

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import BertConfig, BertModel, Trainer, TrainingArguments

from hardfirst.balancers import Spec
from hardfirst.integrations.transformers import Balanced
from hardfirst.kpi import accuracy
from hardfirst.problems import TensorTable, brown

TASKS = ["part_of_speech", "genre"]


class Sentences(Dataset[dict[str, Tensor]]):
    """Sentences of a split in the form that the Trainer needs: a dict of tensors each."""

    def __init__(self, table: TensorTable, count: int) -> None:
        rows = torch.linspace(0, len(table) - 1, count).long()
        inputs, targets = table[rows]
        self.columns = {"words": inputs["words"].long(), **targets}

    def __len__(self) -> int:
        return len(self.columns["words"])

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: column[index] for name, column in self.columns.items()}


class TinyBert(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        sizes = {"hidden_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 96}
        words = 2 + brown.VOCABULARY["words"]
        self.bert = BertModel(BertConfig(vocab_size=words, max_position_embeddings=48, **sizes))
        self.heads = nn.ModuleDict(
            {"part_of_speech": nn.Linear(48, len(brown.CLASSES)), "genre": nn.Linear(48, len(brown.GENRES))}
        )

    def forward(self, words: Tensor) -> dict[str, Tensor]:
        features = self.bert(words, attention_mask=(words > 0).long())
        tags = self.heads["part_of_speech"](features.last_hidden_state).transpose(1, 2)
        return {"part_of_speech": tags, "genre": self.heads["genre"](features.pooler_output)}

    def shared_parameters(self) -> list[nn.Parameter]:
        return list(self.bert.parameters())


class MultiTask(Balanced, Trainer):
    def task_losses(self, model: nn.Module, inputs: Any) -> Any:
        outputs = model(inputs["words"])
        losses = {task: F.cross_entropy(outputs[task], inputs[task]) for task in TASKS}
        kpis = {task: accuracy(outputs[task], inputs[task]) for task in TASKS}
        return losses, kpis, outputs


def main(folder: Path | None = None, balancer: str = "dtp", steps: int = 60) -> dict[str, Any]:
    """Train for some steps of two micro-batches each.

    Args:
        folder: for checkpoints; default: a temporary one.
        balancer: any spec.
        steps: number of steps.
    """
    warnings.simplefilter("ignore")
    with TemporaryDirectory() as temporary:
        folder = folder or Path(temporary)
        torch.manual_seed(0)
        train = brown.data().train
        assert isinstance(train, TensorTable)
        arguments = TrainingArguments(
            str(folder),
            max_steps=steps,
            per_device_train_batch_size=16,
            gradient_accumulation_steps=2,
            learning_rate=3e-3,
            logging_steps=10,
            save_steps=steps,
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        mine = Spec.parse(balancer).build(TASKS)
        trainer = MultiTask(TinyBert(), arguments, train_dataset=Sentences(train, 2000), balancer=mine)
        trainer.train()
        logs = [entry for entry in trainer.state.log_history if "loss" in entry]
        saved = torch.load(folder / f"checkpoint-{steps}" / "balancer.pt", weights_only=True)
        return {"logs": logs, "weights": {task: float(weight) for task, weight in mine.weights.items()}, "saved": saved}


if __name__ == "__main__":
    main()
