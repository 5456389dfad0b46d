"""Lightning: the mixin, a checkpoint by the worst task, and a record for `hardfirst report`.

      class Digits(
    +     Balanced,
          lightning.LightningModule
      ):
          def __init__(self):
              super().__init__()
              self.network = network()
    +         self.balancer = hardfirst.DTP(TASKS)

          def training_step(self, batch, batch_idx):
              losses, kpis = self.measure(batch)
    -         return sum(losses.values())
    +         return self.balance(losses, kpis)

          def on_validation_epoch_end(self):
    +         self.evaluated({task: metric.compute() for task, metric in self.accuracy.items()})

The mixin supports gradient balancers with Lightning's clipping, accumulation and mixed precision. For a loss balancer,
`return self.balancer(losses, kpis)` is enough; the mixin adds the log, the monitors and the record. `hardfirst report
FOLDER` creates a page from the records of all runs in the folder.
"""

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchmetrics.classification import MulticlassAccuracy

from hardfirst.balancers import Spec
from hardfirst.integrations.lightning import Balanced, RecordRuns
from hardfirst.kpi import accuracy
from hardfirst.networks import HardSharing
from hardfirst.problems import collate, digits

TASKS = {"left": 10, "right": 10, "sum": 19}


class Digits(Balanced, lightning.LightningModule):
    def __init__(self, balancer: str) -> None:
        super().__init__()
        trunk = nn.Sequential(nn.Flatten(), nn.Linear(120, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
        self.network = HardSharing(trunk, {task: nn.Linear(32, classes) for task, classes in TASKS.items()})
        self.balancer = Spec.parse(balancer).build(list(TASKS))
        metrics = {task: MulticlassAccuracy(classes, average="micro") for task, classes in TASKS.items()}
        self.accuracy = nn.ModuleDict(metrics)

    def training_step(self, batch: tuple[Tensor, Mapping[str, Tensor]], batch_idx: int) -> Tensor:
        inputs, targets = batch
        outputs = self.network(inputs)
        losses = {task: F.cross_entropy(outputs[task], targets[task]) for task in TASKS}
        return self.balance(losses, {task: accuracy(outputs[task], targets[task]) for task in TASKS})

    def validation_step(self, batch: tuple[Tensor, Mapping[str, Tensor]], batch_idx: int) -> None:
        inputs, targets = batch
        outputs = self.network(inputs)
        for task, metric in self.accuracy.items():
            metric.update(outputs[task], targets[task])

    test_step = validation_step

    def on_validation_epoch_end(self) -> None:
        self.evaluated({task: metric.compute() for task, metric in self.accuracy.items()})
        for metric in self.accuracy.values():
            metric.reset()

    on_test_epoch_end = on_validation_epoch_end

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def main(folder: Path | None = None, balancer: str = "dtp", epochs: int = 3) -> dict[str, Any]:
    """Train, keep the epoch with the best worst task, and test it.

    Args:
        folder: for checkpoints and the record; default: a temporary one.
        balancer: any spec, for example "pcgrad".
        epochs: number of epochs.
    """
    warnings.simplefilter("ignore")  # Lightning's advice on workers
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with TemporaryDirectory() as temporary:
        folder = folder or Path(temporary)
        torch.manual_seed(0)
        splits = digits.data()
        parts = (splits.train, splits.validation, splits.test)
        train, validation, test = (DataLoader(part, batch_size=64, collate_fn=collate) for part in parts)
        best = ModelCheckpoint(folder, monitor="worst_task", mode="max")
        record = RecordRuns(folder / "runs", problem="digits", balancer=balancer, seed=0)
        settings = {"accelerator": "cpu", "gradient_clip_val": 5.0, "logger": False, "enable_progress_bar": False}
        trainer = lightning.Trainer(max_epochs=epochs, callbacks=[best, record], enable_model_summary=False, **settings)
        module = Digits(balancer)
        trainer.fit(module, train, validation)
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        tested = trainer.test(module, test, ckpt_path="best", weights_only=True, verbose=False)[0]
        print({name: round(value, 3) for name, value in tested.items()})
        return {
            "logged": logged,
            "tested": tested,
            "best": best.best_model_score,
            "record": record.recorder.path.read_text(),
        }


if __name__ == "__main__":
    main()
