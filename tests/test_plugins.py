"""Names that an installed package adds by entry points."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from hardfirst import Spec
from hardfirst._registry import Registry
from hardfirst.balancers import BALANCERS, Equal
from hardfirst.errors import InputError
from hardfirst.networks import NETWORKS, HardSharing, NetworkSpec, Parts, vector_layer
from hardfirst.problems import PROBLEMS

ENTRY_POINTS = """
[hardfirst.balancers]
plain_sum = a_plugin:PlainSum
equal = a_plugin:PlainSum
broken = a_plugin_that_is_missing:PlainSum
function = a_plugin:problem

[hardfirst.networks]
plain = a_plugin:Plain.from_parts

[hardfirst.problems]
nothing = a_plugin:problem
"""
CODE = """
from hardfirst.balancers import Equal
from hardfirst.networks import HardSharing

class PlainSum(Equal): pass
class Plain(HardSharing): pass
def problem(): return "a problem"
"""


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "a_plugin.py").write_text(CODE)
    metadata = tmp_path / "a_plugin-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: a-plugin\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(tmp_path)
    registries: list[Registry] = [BALANCERS, NETWORKS, PROBLEMS]
    for registry in registries:
        vars(registry).pop("plugins", None)  # looked up once per process
        monkeypatch.setattr(registry, "loaded", dict(registry.loaded))
    yield
    for registry in registries:
        vars(registry).pop("plugins", None)


def test_a_balancer() -> None:
    balancer = Spec.parse("plain_sum").build(["a", "b"])
    assert type(balancer).__name__ == "PlainSum"
    assert balancer({"a": torch.tensor(1.0), "b": torch.tensor(2.0)}) == 3
    assert "plain_sum" in list(BALANCERS)


def test_a_network() -> None:
    parts = Parts(torch.nn.Identity, 4, vector_layer, 8, 1, {"a": lambda channels: torch.nn.Linear(channels, 1)})
    assert type(NetworkSpec.parse("plain:width=3").build(parts)).__mro__[1] is HardSharing


def test_a_problem() -> None:
    assert PROBLEMS["nothing"]() == "a problem"


def test_a_name_of_hardfirst_stays_its_own() -> None:
    assert BALANCERS["equal"] is Equal


def test_what_is_wrong_with_a_plugin_is_said() -> None:
    with pytest.raises(InputError, match="'broken' comes from the plug-in a_plugin_that_is_missing:PlainSum of a-plugin"):
        Spec.parse("broken")
    assert [spec.name for spec in Spec.parse_list("equal,plain_sum")] == ["equal", "plain_sum"], "others are not imported"
    with pytest.raises(InputError, match="The balancer 'function' is not a balancer"):
        Spec.parse("function")
