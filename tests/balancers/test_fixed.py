"""Weights set by hand, and those of an earlier run held still."""

import math
from pathlib import Path

import pytest
import torch

from hardfirst import Spec, records
from hardfirst.balancers import Fixed, LossBalancer
from hardfirst.errors import InputError

LOSSES = {"a": torch.tensor(1.0), "b": torch.tensor(2.0)}


def test_weights_by_hand() -> None:
    assert Fixed(["a", "b"], {"a": 0.5, "b": 3.0})(LOSSES) == 0.5 + 6.0
    assert Fixed(["a", "b"], {"a": 1.0, "b": 4.0}, normalize=True)(LOSSES).item() == pytest.approx(0.4 + 3.2)


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A run whose weights were (1, 3) and (2, 2) and, in an epoch in which a had no labels, (–, 4)."""
    writer = records.Writer(tmp_path / "earlier.jsonl")
    writer.trial({"balancer": "dtp"}, ["b", "a"])
    for epoch, (a, b) in enumerate([(1.0, 3.0), (2.0, 2.0), (math.nan, 4.0)], start=1):
        writer.epoch(epoch, seconds=1.0, learning_rate=0.1, tasks={"a": {"weight": a}, "b": {"weight": b}})
    return writer.path


def test_frozen_weights_are_the_mean_over_epochs(earlier: Path) -> None:
    balancer = Spec.parse(f"frozen:record={earlier}").build(["a", "b"])
    assert isinstance(balancer, LossBalancer)
    assert float(balancer.weights["a"]) == pytest.approx(2 * 1.5 / 4.5)
    assert float(balancer.weights["b"]) == pytest.approx(2 * 3.0 / 4.5)


def test_frozen_says_what_the_record_lacks(earlier: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"The record .* does not exist"):
        Fixed.frozen(["a"], record=tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="Unknown task 'c'"):
        Fixed.frozen(["a", "c"], record=earlier)
    with pytest.raises(InputError, match="needs the options record; write frozen:record=…"):
        Spec.parse("frozen").build(["a", "b"])
    writer = records.Writer(tmp_path / "empty.jsonl")
    writer.trial({}, ["a"])
    with pytest.raises(InputError, match="has no weights for task 'a'"):
        Fixed.frozen(["a"], record=writer.path)
