"""A recipe, and augmentation: pictures with a schedule, averaged weights and processes that load them.

      def problem() -> Problem:
    +     recipe = Recipe("sgd:momentum=0.9,nesterov=true", "onecycle", clip=1.0, average=0.9, loaders=2)
    -     return Problem("shapes", tasks, network, data)
    +     return Problem("shapes", tasks, network, data, recipe=recipe)
    -     return Splits(train, validation, test)
    +     return Splits(Augmented(train, moved), validation, test)

`moved` gets an item of the training split and a generator, which depends only on the run's seed, the epoch and the item's
index. So each epoch has different pictures, and they are the same with any number of loaders and after any interruption.
Flags override the recipe:

    hardfirst train examples/14_recipe.py --schedule cosine:warmup=0.1 --loaders 0
"""

import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardfirst.balancers import Spec
from hardfirst.kpi import accuracy, within
from hardfirst.networks import HardSharing, number_head
from hardfirst.problems import Augmented, Problem, Splits, Task, TensorTable
from hardfirst.recipes import Recipe
from hardfirst.training import Trial, fit

SIZE, SEEN = 16, 0.4
Item = tuple[Tensor, dict[str, Tensor]]


def pictures(count: int, seed: int) -> TensorTable:
    """Create noisy pictures of a square, a cross or a ring in the middle: which of them, and how bright."""
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.randint(3, (count,), generator=generator)
    brightness = 0.3 + 0.7 * torch.rand(count, generator=generator)
    shapes = torch.zeros(3, SIZE, SIZE)
    shapes[0, 5:11, 5:11] = 1
    shapes[1, 5:11, 7:9] = shapes[1, 7:9, 5:11] = 1
    shapes[2, 5:11, 5:11] = 1
    shapes[2, 6:10, 6:10] = 0
    images = shapes[kinds] * brightness[:, None, None] + 0.3 * torch.randn(count, SIZE, SIZE, generator=generator)
    return TensorTable(images[:, None], {"kind": kinds, "brightness": brightness})


def moved(item: Item, generator: torch.Generator) -> Item:
    """Shift the picture by up to three pixels, and flip it in half of the cases."""
    image, targets = item
    down, right = torch.randint(-3, 4, (2,), generator=generator).tolist()
    image = image.roll((down, right), (1, 2))
    return (image.flip(2) if torch.rand((), generator=generator) < 0.5 else image), targets


def shifted(table: TensorTable) -> TensorTable:
    """Shift validation and test pictures away from the position of the training pictures."""
    return TensorTable(table.inputs.roll((2, -3), (2, 3)), table.targets)  # type: ignore[union-attr]


def network() -> nn.Module:
    trunk = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(),
    )  # fmt: skip
    return HardSharing(trunk, {"kind": nn.Linear(32 * 16, 3), "brightness": number_head(32 * 16)})


def near(output: Tensor, target: Tensor) -> Tensor:
    return within(output, target, threshold=0.1)


def data() -> Splits:
    return Splits(Augmented(pictures(600, 0), moved), shifted(pictures(300, 1)), shifted(pictures(300, 2)))


def problem() -> Problem:
    tasks = Task("kind", F.cross_entropy, accuracy), Task("brightness", F.mse_loss, near)
    recipe = Recipe("sgd:momentum=0.9,nesterov=true", "onecycle", clip=1.0, average=0.9, loaders=2)
    return Problem("shapes", tasks, network, data, batch_size=32, epochs=8, learning_rate=0.05, recipe=recipe)


def main(name: str = __file__, **recipe: Any) -> dict[str, float]:
    """Train for eight epochs; return the KPIs on the test split."""
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial.plan(name, Spec.parse("dtp"), recipe=recipe)
        record = fit(trial, record_file=Path(folder) / "record.jsonl", accelerator="cpu")
    kpis = {task: record.test_kpi(task) for task in record.tasks}
    rates = ", ".join(f"{line['learning_rate']:.2g}" for line in record.epochs)
    print(f"learning rates: {rates}\naccuracy of the kind, and share of pictures with the right brightness: {kpis}")
    return kpis


if __name__ == "__main__":
    main()
