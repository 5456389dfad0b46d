"""What can be wrong with balancers, their losses and KPIs, and the lines that make them."""

from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor, nn

from hardfirst import DTP, MovingKPI, Spec
from hardfirst.balancers import DWA, MGDA, Equal, Fixed, GradNorm, HardFirst, PCGrad, UPGrad
from hardfirst.compat import WeightMethods
from hardfirst.stopping import TaskEarlyStopping

TASKS = ("depth", "segment")


def losses(**others: object) -> dict:
    return {"depth": torch.tensor(0.5, requires_grad=True), "segment": torch.tensor(0.7, requires_grad=True)} | others


def balance(kpis: object = None, **others: object) -> None:
    DTP(TASKS)(losses(**others), kpis)


def in_file(code: str, text: str) -> None:
    Path("mine.py").write_text(code, encoding="utf-8")
    build(text)


def build(text: str) -> None:
    Spec.parse(text).build(TASKS)


def backward(balancer: type, shared: object) -> None:
    layer = nn.Linear(2, 1)
    loss = layer(torch.ones(3, 2)).square().mean()
    given = {"none": None, "frozen": nn.Parameter(torch.ones(2), requires_grad=False), "another": nn.Linear(2, 2).weight}
    balancer(TASKS).backward({"depth": loss, "segment": 2 * loss}, shared=given[str(shared)])


def from_features(balancer: type, given: str) -> None:
    layer, inputs = nn.Linear(2, 2), torch.ones(3, 2)
    features, around = layer(inputs).tanh(), layer(inputs)
    losses = {"depth": features.square().mean(), "segment": (around if given == "around" else features).abs().mean()}
    balancer(TASKS).backward(
        losses,
        shared=layer.parameters() if given == "both" else [features] if given == "as shared" else None,
        features={"as shared": None, "detached": features.detach(), "nested": [features, features.exp()]}.get(
            given, features
        ),
    )


def compiled() -> None:
    with patch.object(torch.compiler, "is_compiling", lambda: True):
        MGDA(TASKS).backward(losses(), shared=[nn.Parameter(torch.ones(2))])


def differentiable_without_a_graph() -> None:
    DTP(TASKS, differentiable=True)(losses(), {"depth": 0.5})


def load(balancer: nn.Module, state: dict) -> None:
    balancer.load_state_dict(state)


def meta(value: float) -> Tensor:
    return torch.tensor(value, device="meta")


CASES = {
    "tasks: a string": lambda: DTP("depth"),
    "tasks: none": lambda: Equal([]),
    "tasks: one twice": lambda: DTP(["depth", "depth"]),
    "tasks: an empty name": lambda: DTP(["depth", ""]),
    "tasks: a number": lambda: Equal(3),
    "losses: an unknown task": lambda: DTP(TASKS)({"dept": torch.tensor(1.0), "segment": torch.tensor(1.0)}),
    "losses: one task too many": lambda: balance(normals=torch.tensor(1.0)),
    "losses: one per example": lambda: balance(depth=torch.ones(4)),
    "losses: all one per example": lambda: balance(depth=torch.ones(4), segment=torch.ones(4)),
    "losses: whole numbers": lambda: balance(depth=torch.tensor(1), segment=torch.tensor(2)),
    "losses: a Python number": lambda: balance(depth=0.5),
    "losses: None": lambda: balance(depth=None),
    "losses: a list": lambda: Equal(TASKS)([torch.tensor(1.0), torch.tensor(2.0)]),
    "losses: their sum": lambda: Equal(TASKS)(torch.tensor(1.0, requires_grad=True)),
    "losses: on two devices": lambda: balance(depth=meta(1.0)),
    "losses: without values": lambda: DTP(TASKS)({task: meta(1.0) for task in TASKS}, {"depth": 0.5}),
    "KPIs: a percentage": lambda: balance({"depth": 93.0}),
    "KPIs: a percentage in a tensor": lambda: balance({"depth": torch.tensor(93.0), "segment": torch.tensor(0.5)}),
    "KPIs: a word": lambda: balance({"depth": "good"}),
    "KPIs: an unknown task": lambda: balance({"dept": 0.5}),
    "KPIs: one per example": lambda: balance({"depth": torch.ones(4)}),
    "KPIs: a number for all tasks": lambda: balance(0.5),
    "KPIs: a percentage to update": lambda: MovingKPI(TASKS).update({"segment": 50}),
    "KPIs: a word to early stopping": lambda: TaskEarlyStopping(TASKS).update({"depth": "good"}),
    "KPIs: without a graph where one is needed": differentiable_without_a_graph,
    "option: negative gamma": lambda: DTP(TASKS, gamma=-1.0),
    "option: infinite gamma": lambda: DTP(TASKS, gamma=float("inf")),
    "option: NaN gamma": lambda: DTP(TASKS, gamma=float("nan")),
    "option: true for gamma": lambda: DTP(TASKS, gamma=True),
    "option: text for gamma": lambda: DTP(TASKS, gamma="2"),
    "option: gamma of an unknown task": lambda: DTP(TASKS, gamma={"dept": 2.0}),
    "option: negative gamma of one task": lambda: DTP(TASKS, gamma={"depth": -2.0}),
    "option: alpha of 0": lambda: DTP(TASKS, alpha=0.0),
    "option: alpha above 1": lambda: MovingKPI(TASKS, alpha=1.5),
    "option: potential of 0": lambda: DTP(TASKS, potential={"depth": 0.0}),
    "option: unknown priority": lambda: DTP(TASKS, priority="hardest"),
    "option: uniform without normalising": lambda: DTP(TASKS, uniform=0.5, normalize=False),
    "option: temperature of 0": lambda: DWA(TASKS, temperature=0.0),
    "option: a weight is missing": lambda: Fixed(TASKS, {"depth": 1.0}),
    "option: a weight is negative": lambda: Fixed(TASKS, {"depth": 1.0, "segment": -1.0}),
    "option: all weights are 0": lambda: Fixed(TASKS, {"depth": 0.0, "segment": 0.0}),
    "option: weights without names": lambda: Fixed(TASKS, [1.0, 2.0]),
    "option: one weight for all": lambda: Fixed(TASKS, 2.0),
    "option: no patience": lambda: TaskEarlyStopping(TASKS, patience=0),
    "option: a preference below 0": lambda: UPGrad(TASKS, preference={"depth": -1.0}),
    "option: a preference for no task": lambda: UPGrad(TASKS, preference={"depth": 0.0, "segment": 0.0}),
    "option: a preference without names": lambda: UPGrad(TASKS, preference=2.0),
    "option: alpha of FairGrad too low": lambda: build("fairgrad:alpha=0.1"),
    "option: a window of one loss": lambda: build("softadapt:window=1"),
    "option: a search of the whole training": lambda: build("hard_first:search=1"),
    "option: no training steps": lambda: setattr(DTP(TASKS, anneal=(0.6, 0.8)), "steps", 0),
    "search: one KPI, and the number of steps is not known": lambda: HardFirst(TASKS).update({"depth": 0.5}),
    "search: train takes no step": lambda: HardFirst.search(TASKS, lambda balancer, steps: None, steps=100),
    "WeightMethods: an unknown method": lambda: WeightMethods("cagrd", 2),
    "WeightMethods: an unknown option": lambda: WeightMethods("famo", 2, w_rl=0.1),
    "WeightMethods: a main task that is not there": lambda: WeightMethods("stl", 2, main_task=2),
    "WeightMethods: a value that the method does not have here": lambda: WeightMethods("mgda", 2, normalization="loss+"),
    "WeightMethods: too many losses": lambda: WeightMethods("ls", 2).backward(torch.ones(3)),
    "WeightMethods: no shared parameters": lambda: WeightMethods("pcgrad", 2).backward(torch.ones(2, requires_grad=True)),
    "gradients: no shared parameters": lambda: backward(PCGrad, "none"),
    "gradients: shared parameters that are not trained": lambda: backward(MGDA, "frozen"),
    "gradients: shared parameters of another network": lambda: backward(MGDA, "another"),
    "gradients: GradNorm without shared parameters": lambda: backward(GradNorm, "none"),
    "features: parameters as well": lambda: from_features(MGDA, "both"),
    "features: given as shared": lambda: from_features(MGDA, "as shared"),
    "features: without a graph": lambda: from_features(MGDA, "detached"),
    "features: one from another": lambda: from_features(MGDA, "nested"),
    "features: a loss goes around them": lambda: from_features(MGDA, "around"),
    "features: for a method of parameters": lambda: from_features(GradNorm, "given"),
    "gradients: called for a total": lambda: PCGrad(TASKS)(losses()),
    "gradients: compiled": compiled,
    "state: of more tasks": lambda: load(DTP(TASKS), DTP([*TASKS, "normals"]).state_dict()),
    "state: of another method": lambda: load(DTP(TASKS), DWA(TASKS).state_dict()),
    "state: no state at all": lambda: load(DTP(TASKS), {}),
    "line: empty": lambda: build(""),
    "line: an unknown name": lambda: build("dpt"),
    "line: a name in capitals": lambda: build("DTP"),
    "line: a file that is missing": lambda: build("no.py:Mine"),
    "line: a file without a class": lambda: build("no.py"),
    "line: a class that the file lacks": lambda: in_file("class Mine: pass", "mine.py:Main"),
    "line: a class that is no balancer": lambda: in_file("class Mine: pass", "mine.py:Mine"),
    "line: a file that fails": lambda: in_file("1 / 0", "mine.py:Mine"),
    "line: an unknown option": lambda: build("dtp:gama=2"),
    "line: a word for a number": lambda: build("dtp:gamma=x"),
    "line: an option without a value": lambda: build("dtp:gamma"),
    "line: an option twice": lambda: build("dtp:gamma=1,gamma=2"),
    "line: an option for all tasks and by task": lambda: build("dtp:gamma=1,gamma.depth=2"),
    "line: an option of an unknown task": lambda: build("dtp:gamma.dept=2"),
    "line: an option by task that is for all": lambda: build("dtp:alpha.depth=0.5"),
    "line: a word for true or false": lambda: build("dtp:normalize=no"),
    "line: fixed without weights": lambda: build("fixed:"),
    "line: one weight for all": lambda: build("fixed:weights=2"),
    "line: needed options are missing": lambda: build("curriculum"),
    "line: the record of frozen weights is missing": lambda: build("frozen:record=nowhere.jsonl"),
    "line: the record of frozen weights is a number": lambda: build("frozen:record=3"),
    "line: potentials outside a study": lambda: build("dtp:potential=stl"),
    "line: none in a list": lambda: Spec.parse_list(" , "),
    "line: twice in a list": lambda: Spec.parse_list("equal,dtp,equal"),
    "line: not a text": lambda: Spec.parse(3),
}
