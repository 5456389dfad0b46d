"""Helpers for tests of other libraries' training loops: equal parameters, and states of two processes."""

import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def assert_same_parameters(network: nn.Module, other: nn.Module, rtol: float = 0.0, atol: float = 0.0) -> None:
    for (name, parameter), expected in zip(network.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(parameter, expected, msg=name, rtol=rtol, atol=atol)


def assert_same_state(balancer: nn.Module, other: nn.Module) -> None:
    for name, value in other.state_dict().items():
        torch.testing.assert_close(balancer.state_dict()[name], value, rtol=0, atol=0, equal_nan=True, msg=name)


def adam_steps(adam: nn.Module) -> list[float]:
    """The number of steps of a balancer's Adam for each task, by the bias correction 1 − β₂ⁿ."""
    corrections = adam.get_buffer("moments")[:, 3].tolist()
    return [round(math.log1p(-correction) / math.log(0.999)) for correction in corrections]


def states_of_two_ranks(
    code: str, folder: Path, specs: Sequence[str], start: tuple[str, ...] = TORCHRUN
) -> dict[str, Mapping[str, Tensor]]:
    """Run code in two processes that trains with each of `sys.argv[2:]` and saves the rank's state in `sys.argv[1]`.

    The ranks' networks and balancers are checked to be equal. The code can import this file and the tests of integrations.

    Returns:
        The networks' states by spec.
    """
    script, tests = folder / "script.py", Path(__file__).parent
    script.write_text('import warnings\nwarnings.simplefilter("ignore")\n' + code)
    paths = [str(tests), str(tests / "integrations"), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, *start, str(script), str(folder), *specs],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    networks = {}
    for spec in specs:
        first, second = (torch.load(folder / f"{spec}-{rank}.pt", weights_only=True) for rank in (0, 1))
        for part in ("network", "balancer"):
            for name, value in first[part].items():
                assert torch.equal(value, second[part][name]), (spec, part, name)
        networks[spec] = first["network"]
    return networks


def save_state(network: nn.Module, balancer: nn.Module, folder: str, spec: str, rank: int | str) -> None:
    torch.save({"network": network.state_dict(), "balancer": balancer.state_dict()}, f"{folder}/{spec}-{rank}.pt")
