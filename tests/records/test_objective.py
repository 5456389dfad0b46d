"""Objectives: their text, their values, and what they say in sentences."""

import math

import pytest

from hardfirst.records.objective import Kept, Objective, hard_tasks

TASKS = ("a", "b", "c", "my task", "mean", "x:1")
KPIS = {"a": 0.5, "b": 0.25, "c": 1.0, "my task": 0.75, "mean": 0.125, "x:1": 0.875}


def parse(text: str) -> Objective:
    return Objective.parse(text, TASKS)


@pytest.mark.parametrize(
    ("text", "normal", "value"),
    [
        ("mean", "mean", sum(KPIS.values()) / 6),
        (" worst ", "worst", 0.125),
        ("a", "a", 0.5),
        ("c, a", "a,c", 0.75),
        ("my task", '"my task"', 0.75),
        ("my task,a", 'a,"my task"', 0.625),
        ('"mean"', '"mean"', 0.125),
        ("a,b,c,'my task','mean','x:1'", "mean", sum(KPIS.values()) / 6),
        ("0.75*a+0.25*b", "0.75*a+0.25*b", 0.4375),
        ("3*a+b", "3*a+b", 0.4375),
        ("(a+b)*0.5", "0.5*a+0.5*b", 0.375),
        ("(a+2*(b,c))/3", "1/3*a+2/3*(b,c)", (0.5 + 2 * 0.625) / 3),
        ("0.5*worst+0.5*(a)", "0.5*worst+0.5*a", 0.3125),
        ("a - 0.5*a + b/2", "0.5*a+0.5*b", 0.375),
        ("-(-a)", "a", 0.5),
        ("5*a", "a", 0.5),
        ("a+0*b", "a", 0.5),
        ("0.1*a+0.2*a+0.3*c", "0.3*a+0.3*c", 0.75),
        ("min(b,a)+c", "min(a,b)+c", 0.625),
        ("min(a)", "a", 0.5),
        ("mean+1e-9*worst", "mean+1e-09*worst", sum(KPIS.values()) / 6),
    ],
)
def test_an_objective_has_a_normal_form_and_a_value(text: str, normal: str, value: float) -> None:
    objective = parse(text)
    assert objective.text == normal
    assert parse(normal) == objective
    assert objective.value(KPIS) == pytest.approx(value, rel=1e-8)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mean", "the mean over tasks"),
        ("worst", "the worst task"),
        ("hard", "the hard tasks (a, b)"),
        ("a", "a"),
        ("a,b", "the mean over a, b"),
        ("min(a,b)", "the worst of a, b"),
        ("0.7*a+0.3*(b,c)", "0.7·a + 0.3·(b, c)"),
        ("mean+hard", "mean + (a, b)"),
    ],
)
def test_words_stand_in_a_sentence(text: str, words: str) -> None:
    assert parse(text).with_hard(["a", "b"]).words == words


def test_hard_tasks_take_the_place_of_their_word() -> None:
    objective = parse("0.5*mean+0.5*hard")
    assert objective.needs_hard
    known = objective.with_hard(["a", "b"])
    assert not known.needs_hard
    assert known.text == "0.5*mean+0.5*(a,b)"
    assert known.value(KPIS) == parse(known.text).value(KPIS) == pytest.approx((3.5 / 6 + 0.375) / 2)


@pytest.mark.parametrize(
    ("kpis", "hard"),
    [
        ({"a": 0.5, "b": 0.2, "c": 0.8}, ("b",)),
        ({"a": 0.5, "b": 0.5}, ("a", "b")),
        ({"a": math.nan, "b": 0.5, "c": 0.4}, ("c",)),
        ({"a": math.nan}, ()),
    ],
)
def test_a_task_below_the_mean_is_hard(kpis: dict[str, float], hard: tuple[str, ...]) -> None:
    assert hard_tasks(kpis) == hard


@pytest.mark.parametrize(
    ("text", "undefined", "value"),
    [
        ("mean", (), 0.75),
        ("mean", ("c",), 0.5),
        ("worst", (), 0.5),
        ("worst", ("c",), 0.0),
        ("0.75*a+0.25*c", (), 0.5),
        ("0.75*a+0.25*c", ("c",), 0.375),
        ("a+(b,c)", (), 0.75),
        ("c", (), math.nan),
        ("c", ("c",), math.nan),
    ],
)
def test_nan_is_left_out_unless_it_is_undefined(text: str, undefined: tuple[str, ...], value: float) -> None:
    kpis = {"a": 0.5, "b": 1.0, "c": math.nan}
    assert Objective.parse(text, kpis).value(kpis, undefined) == pytest.approx(value, nan_ok=True)


@pytest.mark.parametrize(("text", "objective", "points"), [("mean:0.3", "mean", 0.3), ("x:1:0", '"x:1"', 0.0)])
def test_what_to_keep_is_an_objective_and_points(text: str, objective: str, points: float) -> None:
    kept = Kept.parse(text, TASKS)
    assert (kept.objective.text, kept.points) == (objective, points)
    assert Kept.parse(kept.text, TASKS) == kept
