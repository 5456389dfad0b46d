"""What a study tries for a method, and which settings it takes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardfirst.balancers import BALANCERS, Range, Spec, needed_options
from hardfirst.recipes import OptimizerSpec
from hardfirst.records import Record
from hardfirst.records.selection import chosen
from hardfirst.studies.ranges import Span, drawn
from hardfirst.studies.tuning import candidates, fixed, simplex_grid

TASKS = ["a", "b", "c"]
PLAIN = [name for name in sorted(BALANCERS) if not needed_options(name)]


@pytest.mark.parametrize("name", PLAIN)
def test_every_method_gets_the_same_learning_rates_and_its_defaults_among_them(name: str) -> None:
    tried = candidates(Spec(name), TASKS, 0.003, 5)
    assert [rate for _, rate, _ in tried] == [0.0003, 0.000949, 0.003, 0.00949, 0.03]
    assert tried[2].spec == Spec(name)
    for spec, *_ in tried:
        spec.build(TASKS)


@pytest.mark.parametrize("name", PLAIN)
def test_options_are_tried_over_their_whole_range(name: str) -> None:
    ranges = Spec(name).free
    tried = [spec for spec, *_ in candidates(Spec(name), TASKS, 0.003, 9)]
    for option, (low, high, log) in ranges.items():
        values = sorted(float(spec.option(option)) for spec in tried if spec.option(option) is not None)  # type: ignore[arg-type]
        assert len(set(values)) == 8, "but for the defaults, each candidate has a value of its own"
        to = math.log if log else float
        shares = [(to(value) - to(low)) / (to(high) - to(low)) for value in values]
        assert shares[0] < 2 / 9 + 0.01
        assert shares[-1] > 7 / 9 - 0.01


def test_the_methods_that_have_something_to_tune_say_so() -> None:
    tuned = {name: list(Spec(name).free) for name in PLAIN if Spec(name).free}
    assert tuned["dtp"] == ["gamma", "alpha", "uniform"]
    without_options = {"dtp_paper", "equal", "geometric", "random"}
    without_options |= {"pcgrad", "mgda", "imtl_g", "nash_mtl", "aligned_mtl", "upgrad", "graddrop", "config"}
    assert set(PLAIN) - set(tuned) == without_options


def test_annealing_is_tuned_on_request() -> None:
    tried = [spec for spec, *_ in candidates(Spec.parse("dtp:anneal=tune"), TASKS, 0.003, 9)]
    annealed = [spec.option("anneal") for spec in tried]
    assert annealed[4] is None
    assert 3 <= annealed.count(None) - 1 <= 5, "half of the others"
    starts = sorted(pair[0] for pair in annealed if isinstance(pair, tuple))
    assert starts[0] < 0.45
    assert starts[-1] > 0.6
    assert all(spec.option("gamma") is not None for spec in tried if spec != Spec("dtp"))
    assert not any(spec.option("anneal") for spec, *_ in candidates(Spec("dtp"), TASKS, 0.003, 9))


def test_options_that_are_given_stay() -> None:
    for spec, *_ in candidates(Spec.parse("dtp:gamma=2,potential=stl"), TASKS, 0.003, 5):
        assert (spec.option("gamma"), spec.option("potential")) == (2, "stl")


def test_options_that_do_not_go_together_are_not_drawn() -> None:
    tried = candidates(Spec.parse("dtp:normalize=false"), TASKS, 0.003, 5)
    assert {spec.option("uniform") for spec, *_ in tried} == {None}
    assert len({spec.option("alpha") for spec, *_ in tried}) == 5


def test_a_range_of_learning_rates() -> None:
    assert [rate for _, rate, _ in candidates(Spec("equal"), TASKS, 0.003, 3, (0.01, 1.0))] == [0.01, 0.1, 1.0]
    assert candidates(Spec("dtp"), TASKS, 0.003, 0) == [(Spec("dtp"), 0.003, ())]


RANGES = {"optimizer": "adamw:weight_decay=1e-5..1e-1,beta1=0.8..0.99", "clip": "0.1..10", "loaders": 2}


@pytest.mark.parametrize("name", ["equal", "dtp"])
def test_ranges_of_a_recipe_change_nothing_else_and_are_the_same_for_all_methods(name: str) -> None:
    tried = candidates(Spec(name), TASKS, 0.003, 5, recipe=RANGES)
    assert [candidate[:2] for candidate in tried] == [candidate[:2] for candidate in candidates(Spec(name), TASKS, 0.003, 5)]
    assert [candidate.recipe for candidate in tried] == drawn(RANGES, 5)
    assert [dict(candidate.recipe).keys() for candidate in tried] == [{"optimizer", "clip"}] * 5


def test_numbers_of_a_recipe_are_tried_over_their_whole_range() -> None:
    tried = [dict(parts) for parts in drawn(RANGES, 5)]
    specs = [OptimizerSpec.parse(parts["optimizer"]) for parts in tried]
    assert sorted(parts["clip"] for parts in tried) == [0.158, 0.398, 1.0, 2.51, 6.31], "the tenths of a logarithmic scale"
    assert sorted(spec.option("weight_decay") for spec in specs) == [2.51e-5, 1.58e-4, 1e-3, 6.31e-3, 3.98e-2]
    distances = sorted(1 - float(spec.option("beta1")) for spec in specs)  # type: ignore[arg-type]
    assert distances == pytest.approx([10 ** (-2 + math.log10(20) * tenth) for tenth in (0.1, 0.3, 0.5, 0.7, 0.9)], rel=0.01)


def test_an_option_that_counts_gets_whole_numbers() -> None:
    tried = [dict(parts)["schedule"] for parts in drawn({"schedule": "step:every=2..50,factor=0.1"}, 3)]
    assert sorted(tried) == ["step:every=10,factor=0.1", "step:every=29,factor=0.1", "step:every=3,factor=0.1"]


@given(share=st.floats(0, 1))
def test_a_number_stays_in_its_range(share: float) -> None:
    for span in (Span(0.99, 0.9999), Span(0, 0.99999), Span(0.12345, 7), Span(-1, 1), Span(1, 3, whole=True)):
        assert span.low <= span.at(share) <= span.high


@given(share=st.floats(0, 1))
def test_a_range_keeps_its_ends(share: float) -> None:
    for span in (Range(0.05, 5, log=True), Range(0, 0.9)):
        assert span.low <= span.at(share) <= span.high
    assert Range(1, 100, log=True).at(0.5) == 10


@pytest.mark.parametrize("count", [2, 3, 4, 5, 9])
def test_static_weights_add_up_to_the_number_of_tasks_and_leave_none_out(count: int) -> None:
    tasks = [f"t{number}" for number in range(count)]
    equal, *others = simplex_grid(tasks)
    assert equal == Spec("equal")
    for spec in others:
        weights = np.array([spec.build(tasks).weights[task] for task in tasks])  # type: ignore[attr-defined]
        assert weights.sum() == pytest.approx(count, rel=1e-4)
        assert weights.min() >= 0.3
    assert len(set(others)) == len(others)


def test_static_weights_of_three_tasks() -> None:
    # half of the weight evenly, half to one task or to two: .5/3 + .5 = 2/3 and .5/3 + .25 = 5/12 of 3
    grid = [[spec.option(f"weights.{task}") for task in TASKS] for spec in simplex_grid(TASKS)[1:]]
    assert grid == [
        [2.0, 0.5, 0.5],
        [0.5, 2.0, 0.5],
        [0.5, 0.5, 2.0],
        [1.25, 1.25, 0.5],
        [1.25, 0.5, 1.25],
        [0.5, 1.25, 1.25],
    ]


def test_tasks_may_be_called_anything() -> None:
    spec = fixed({"normalize": 1.0, "a.b,c=d:e": 3.0})
    weights = spec.build(["normalize", "a.b,c=d:e"]).weights  # type: ignore[attr-defined]
    assert [float(weight) for weight in weights.values()] == [0.5, 1.5]


def run(kpis: list[float], outcome: str = "finished") -> Record:
    lines = [{"epoch": epoch, "tasks": {"a": {"validation_kpi": kpi}}} for epoch, kpi in enumerate(kpis, start=1)]
    return Record(trial={}, tasks=("a",), epochs=lines, outcome=outcome)


def test_the_best_validation_kpi_of_any_epoch_is_taken() -> None:
    assert chosen([run([0.5, 0.6]), run([0.8, 0.1]), run([0.7, 0.7])]) == 1
    assert chosen([run([0.5]), run([0.5]), run([0.4])]) == 0


def test_runs_that_did_not_finish_are_not_taken() -> None:
    assert chosen([run([0.5]), run([0.9], "diverged"), run([0.9], "failed")]) == 0
    assert chosen([run([], "diverged"), run([math.nan]), run([], "failed")]) == 1, "the middle one has the defaults"
