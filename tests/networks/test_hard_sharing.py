import copy
import pickle

import pytest
import torch
from torch import nn

from hardfirst.errors import InputError
from hardfirst.networks import HardSharing

# ModuleDict refuses a dot and its own attributes; "%2E" is what a dot is written as.
AWKWARD = ("keys", "training", "forward", "_modules", "trunk", "a.b", "a", "b", "a%2Eb", "%6Beys", "50%", "two words", "κ̄")


def network(*tasks: str) -> HardSharing:
    return HardSharing(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), {task: nn.Linear(3, 2) for task in tasks})


def test_each_head_reads_the_trunk() -> None:
    trunk, heads = nn.Linear(4, 3), {"depth": nn.Linear(3, 2), "segment": nn.Linear(3, 5)}
    inputs = torch.randn(6, 4)
    outputs = HardSharing(trunk, heads)(inputs)
    assert list(outputs) == ["depth", "segment"]
    for task, head in heads.items():
        assert torch.equal(outputs[task], head(trunk(inputs)))


def test_the_trunk_runs_once() -> None:
    calls = []
    made = network("a", "b", "c")
    made.trunk.register_forward_hook(lambda *_: calls.append(1))
    made(torch.randn(2, 4))
    assert len(calls) == 1


def test_features_may_be_anything_that_the_heads_read() -> None:
    class Pyramid(nn.Module):
        def forward(self, inputs: torch.Tensor) -> list[torch.Tensor]:
            return [inputs, inputs[:, :1]]

    class Coarse(nn.Module):
        def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
            return features[1]

    assert HardSharing(Pyramid(), {"coarse": Coarse()})(torch.randn(2, 4))["coarse"].shape == (2, 1)


def test_a_checkpoint_names_the_tasks() -> None:
    keys = network("depth", "two words", "a.b", "keys").state_dict()
    assert [key for key in keys if key.endswith("weight")] == [
        "trunk.0.weight",
        "heads.depth.weight",
        "heads.two words.weight",
        "heads.a%2Eb.weight",
        "heads.%6Beys.weight",
    ]


def test_any_string_is_a_task() -> None:
    made = network(*AWKWARD)
    inputs = torch.randn(5, 4)
    outputs = made(inputs)
    assert tuple(outputs) == AWKWARD
    assert len(made.state_dict()) == 2 + 2 * len(AWKWARD)
    copies = copy.deepcopy(made), pickle.loads(pickle.dumps(made))
    for same in (*copies, torch.compile(made, fullgraph=True, backend="eager")):
        again = same(inputs)
        assert all(torch.equal(outputs[task], again[task]) for task in AWKWARD)
    assert made.eval().training is False


@pytest.mark.parametrize("name", ["", 3, None])
def test_a_name_that_is_no_name_is_refused(name: object) -> None:
    with pytest.raises(InputError, match=f"non-empty string; got {name!r}"):
        HardSharing(nn.Identity(), {name: nn.Identity()})  # type: ignore[dict-item]
