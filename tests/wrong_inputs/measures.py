"""What can be wrong with losses, KPIs and networks."""

import torch
from torch import nn

from hardfirst import RegressionFocalLoss, SigmoidFocalLoss, SoftmaxFocalLoss, functional, kpi
from hardfirst.networks import (
    HardSharing,
    NetworkSpec,
    Parts,
    TaskHierarchy,
    number_head,
    order_by_difficulty,
    vector_layer,
)
from hardfirst.records.objective import Kept, Objective

LOGITS = torch.zeros(4, 3)
HEADS = {"depth": nn.Linear(8, 1), "segment": nn.Linear(8, 5)}


def parts(**others: object) -> Parts:
    made = {"stem": nn.Identity, "channels": 4, "layer": vector_layer, "width": 8, "depth": 2}
    return Parts(**made | {"heads": {"depth": number_head, "segment": number_head}} | others)


def network(text: str) -> None:
    NetworkSpec.parse(text).build(parts())


def objective(text: object) -> None:
    Objective.parse(text, ["sum", "product", "left-right"])


def kept(text: str) -> None:
    Kept.parse(text, ["sum", "product"])


def hierarchy(order: object, blocks: int = 2) -> TaskHierarchy:
    return TaskHierarchy([nn.Linear(8, 8)] * blocks, HEADS, order)


CASES = {
    "softmax: negative gamma": lambda: SoftmaxFocalLoss(gamma=-1.0),
    "softmax: unknown reduction": lambda: SoftmaxFocalLoss(reduction="avg"),
    "softmax: a target of another length": lambda: SoftmaxFocalLoss()(LOGITS, torch.zeros(5, dtype=torch.long)),
    "softmax: a target of [batch, 1]": lambda: SoftmaxFocalLoss()(LOGITS, torch.zeros(4, 1, dtype=torch.long)),
    "softmax: logits without classes": lambda: SoftmaxFocalLoss()(torch.zeros(4), torch.zeros(4, dtype=torch.long)),
    "softmax: a class too high": lambda: SoftmaxFocalLoss()(LOGITS, torch.tensor([0, 1, 2, 3])),
    "softmax: a negative class": lambda: SoftmaxFocalLoss()(LOGITS, torch.tensor([0, 1, 2, -1])),
    "softmax: 255 that is not declared": lambda: SoftmaxFocalLoss()(LOGITS, torch.tensor([0, 1, 2, 255], dtype=torch.uint8)),
    "softmax: one-hot integers": lambda: SoftmaxFocalLoss()(LOGITS, torch.ones(4, 3, dtype=torch.long)),
    "softmax: several classes of probability 1": lambda: SoftmaxFocalLoss()(LOGITS, torch.ones(4, 3)),
    "softmax: a negative probability": lambda: SoftmaxFocalLoss()(LOGITS, torch.tensor([[0.6, 0.5, -0.1]] * 4)),
    "softmax: label_smoothing above 1": lambda: SoftmaxFocalLoss(label_smoothing=10.0),
    "softmax: a target of floats": lambda: SoftmaxFocalLoss()(LOGITS, torch.zeros(4)),
    "softmax: whole logits": lambda: SoftmaxFocalLoss()(LOGITS.long(), torch.zeros(4, dtype=torch.long)),
    "softmax: a weight for each of other classes": lambda: SoftmaxFocalLoss(weight=torch.ones(2))(
        LOGITS, torch.zeros(4, dtype=torch.long)
    ),
    "softmax: a list of weights": lambda: SoftmaxFocalLoss(weight=[1.0, 2.0, 3.0]),
    "sigmoid: alpha above 1": lambda: SigmoidFocalLoss(alpha=1.5),
    "sigmoid: 255 that is not declared": lambda: SigmoidFocalLoss()(torch.zeros(2), torch.tensor([1.0, 255.0])),
    "sigmoid: -1 that is not declared": lambda: SigmoidFocalLoss()(torch.zeros(2), torch.tensor([1, -1])),
    "sigmoid: shapes that differ": lambda: SigmoidFocalLoss()(torch.zeros(4, 1), torch.zeros(4)),
    "sigmoid: whole logits": lambda: SigmoidFocalLoss()(torch.zeros(4, dtype=torch.long), torch.zeros(4)),
    "regression: unknown kind": lambda: RegressionFocalLoss(kind="l3"),
    "regression: scale of 0": lambda: RegressionFocalLoss(scale=0.0),
    "regression: an infinite target": lambda: RegressionFocalLoss()(torch.zeros(1), torch.tensor([float("inf")])),
    "regression: shapes that differ": lambda: RegressionFocalLoss()(torch.zeros(4, 1), torch.zeros(4)),
    "functional: negative gamma": lambda: functional.focal(torch.ones(3), gamma=-0.5),
    "functional: a loss of whole numbers": lambda: functional.focal(torch.ones(3, dtype=torch.long), gamma=2.0),
    "functional: unknown kind": lambda: functional.self_paced_weight(torch.ones(3), 1.0, kind="soft"),
    "KPI: accuracy of other shapes": lambda: kpi.accuracy(LOGITS, torch.zeros(5)),
    "KPI: accuracy of 255 that is not declared": lambda: kpi.accuracy(LOGITS, torch.tensor([0, 1, 2, 255])),
    "KPI: accuracy of soft answers": lambda: kpi.accuracy(torch.zeros(2), torch.tensor([0.05, 0.95])),
    "KPI: a threshold for three classes": lambda: kpi.accuracy(LOGITS, torch.zeros(4), threshold=0.5),
    "KPI: a threshold in words": lambda: kpi.accuracy(torch.zeros(2), torch.zeros(2), threshold="half"),
    "KPI: an infinite target": lambda: kpi.within(torch.zeros(1), torch.tensor([float("inf")]), threshold=1.0),
    "KPI: AUC of three classes": lambda: kpi.auc(torch.zeros(3), torch.tensor([0, 1, 2])),
    "KPI: AUC of other shapes": lambda: kpi.auc(LOGITS, torch.zeros(4)),
    "KPI: R² of [batch, 1] beside [batch]": lambda: kpi.r2(torch.zeros(4, 1), torch.zeros(4)),
    "KPI: negative threshold": lambda: kpi.within(torch.zeros(4), torch.zeros(4), threshold=-1.0),
    "KPI: a ratio of 1": lambda: kpi.delta(torch.ones(4), torch.ones(4), ratio=1.0),
    "KPI: more than 180 degrees": lambda: kpi.angle_within(torch.ones(4, 3), torch.ones(4, 3), degrees=270.0),
    "KPI: angles of numbers": lambda: kpi.angle_within(torch.ones(4), torch.ones(4)),
    "KPI: a metric of no direction": lambda: kpi.from_metric(len),
    "KPI: a metric's ends the wrong way round": lambda: kpi.from_metric(len, low=1.0, high=0.0, higher_is_better=True),
    "KPI: a metric of several numbers": lambda: kpi.from_metric(torch.maximum, higher_is_better=True)(
        torch.ones(4), torch.ones(4)
    ),
    "KPI: a class too high": lambda: kpi.balanced_accuracy(LOGITS, torch.tensor([0, 1, 2, 3])),
    "network: no heads": lambda: HardSharing(nn.Identity(), {}),
    "network: an empty name": lambda: HardSharing(nn.Identity(), {"": nn.Linear(8, 1)}),
    "network: inputs that do not fit": lambda: HardSharing(nn.Linear(4, 8), HEADS)(torch.zeros(2, 5)),
    "network: a head that does not fit": lambda: HardSharing(nn.Identity(), HEADS)(torch.zeros(2, 5)),
    "network: an order that lacks a task": lambda: hierarchy(["depth"]),
    "network: an order with an unknown task": lambda: hierarchy(["depth", "segmnet"]),
    "network: a block is missing": lambda: hierarchy(["depth", "segment"], blocks=1),
    "network: a width of 0": lambda: parts(width=0),
    "network: parts without heads": lambda: parts(heads={}),
    "network line: unknown": lambda: network("mmo"),
    "network line: an unknown option": lambda: network("mmoe:expert=3"),
    "network line: half an expert": lambda: network("mmoe:experts=2.5"),
    "network line: a word for a width": lambda: network("hard_sharing:width=wide"),
    "network line: an order of other tasks": lambda: network("task_hierarchy:order=depth+normals"),
    "network line: an order still to be measured": lambda: network("task_hierarchy:order=hard_first"),
    "network line: more experts than fit": lambda: network("mmoe:experts=500"),
    "network line: empty": lambda: network(""),
    "order: a KPI is NaN": lambda: order_by_difficulty({"depth": float("nan"), "segment": 0.5}),
    "order: a KPI is a word": lambda: order_by_difficulty({"depth": "good", "segment": 0.5}),
    "order: neither hard nor easy": lambda: order_by_difficulty({"depth": 0.1}, first="hardest"),
    "order: names alone": lambda: order_by_difficulty(["depth", "segment"]),
    "objective: an unknown task": lambda: objective("sume"),
    "objective: an unknown task in a sum": lambda: objective("0.5*mean+0.5*prodct"),
    "objective: another word": lambda: objective("wrost"),
    "objective: a task that needs quotes": lambda: objective("0.5*left-right"),
    "objective: empty": lambda: objective(" "),
    "objective: no text": lambda: objective(0.5),
    "objective: a task twice": lambda: objective("sum,sum"),
    "objective: a word in a list": lambda: objective("sum,worst"),
    "objective: a word in quotes": lambda: objective("'worst'"),
    "objective: a number": lambda: objective("2*3"),
    "objective: a number that is added": lambda: objective("sum+0.1"),
    "objective: a weight below 0": lambda: objective("sum-0.5*product"),
    "objective: weights of 0": lambda: objective("sum-sum"),
    "objective: an infinite weight": lambda: objective("1e999*sum"),
    "objective: a weight that is too large": lambda: objective("1e9*sum"),
    "objective: a product of tasks": lambda: objective("sum*product"),
    "objective: a power": lambda: objective("sum**9**9**9"),
    "objective: a division by a task": lambda: objective("1/sum"),
    "objective: a division by 0": lambda: objective("sum/0"),
    "objective: a call": lambda: objective("__import__('os').system('ls')"),
    "objective: an attribute": lambda: objective("sum.kpi"),
    "objective: a comparison": lambda: objective("sum > 0.5"),
    "objective: a truth value": lambda: objective("True*sum"),
    "objective: a minimum of a sum": lambda: objective("min(sum+product, sum)"),
    "objective: half of one": lambda: objective("0.5*sum+"),
    "objective: a name with a space": lambda: objective("0.5*my task"),
    "objective: too deep": lambda: objective("+" * 500 + "sum"),
    "objective: too long": lambda: objective("+".join(["sum"] * 5000)),
    "objective: needed hard tasks": lambda: Objective.parse("hard", ["sum"]).value({"sum": 0.5}),
    "keep: no points": lambda: kept("mean"),
    "keep: points in words": lambda: kept("mean:little"),
    "keep: points below 0": lambda: kept("mean:-0.3"),
    "keep: points that are not a number": lambda: kept("mean:nan"),
    "keep: an unknown task": lambda: kept("sume:0.3"),
    "keep: two objectives in one": lambda: kept("mean:0.3,sum:1"),
    "keep: points alone": lambda: kept(":0.3"),
}
