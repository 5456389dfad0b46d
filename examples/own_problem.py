"""Your own problem: a table with two classification tasks and a regression, with missing labels.

    hardfirst compare examples/own_problem.py

The table is scikit-learn's: 442 people with diabetes, and the progression of the disease after a year. The code removes
some labels, because real tables often lack some.
"""

import math
from functools import partial

import torch
import torch.nn.functional as F
from sklearn.datasets import load_diabetes
from torch import Tensor, nn

from hardfirst.kpi import accuracy, within
from hardfirst.networks import HardSharing
from hardfirst.problems import Problem, Splits, Task, TensorTable

FEATURES = [0, 2, 4, 5, 6, 7, 8, 9]  # age, body mass index and six blood values; sex and blood pressure are targets


def data() -> Splits:
    table = load_diabetes()
    values = torch.tensor(table.data, dtype=torch.float32)
    sex = (values[:, 1] > 0).long()
    pressure = (values[:, 3] > 0).long()
    progression = torch.tensor(table.target, dtype=torch.float32) / 100

    people = torch.arange(len(values))
    sex[people % 5 == 0] = -100  # a missing class
    progression[people % 3 == 0] = math.nan  # a missing value

    order = torch.randperm(len(values), generator=torch.Generator().manual_seed(0))
    targets = {"sex": sex, "pressure": pressure, "progression": progression}
    train, validation, test = (
        TensorTable(20 * values[rows][:, FEATURES], {task: target[rows] for task, target in targets.items()})
        for rows in order.split([262, 90, 90])
    )
    return Splits(train, validation, test)


class OneNumber(nn.Linear):
    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features).squeeze(1)


def network() -> nn.Module:
    trunk = nn.Sequential(nn.Linear(len(FEATURES), 32), nn.ReLU())
    return HardSharing(trunk, {"sex": nn.Linear(32, 2), "pressure": nn.Linear(32, 2), "progression": OneNumber(32, 1)})


def problem() -> Problem:
    return Problem(
        name="diabetes",
        tasks=(
            Task("sex", F.cross_entropy, accuracy),
            Task("pressure", F.cross_entropy, accuracy),
            Task("progression", F.smooth_l1_loss, partial(within, threshold=0.5)),
        ),
        network=network,
        data=data,
        batch_size=32,
        epochs=20,
    )
