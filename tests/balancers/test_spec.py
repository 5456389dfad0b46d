import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardfirst import DTP, Spec
from hardfirst._docstring import arguments
from hardfirst.balancers import BALANCERS, Fixed, needed_options
from hardfirst.errors import InputError


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("dtp", "dtp"),
        (" dtp: gamma=2.0 , alpha=0.05 ", "dtp:alpha=0.05,gamma=2"),
        ("dtp:normalize=False,gamma=1e-1", "dtp:gamma=0.1,normalize=false"),
        ("dtp:gamma.depth.x=2,potential.a=.5", "dtp:gamma.depth.x=2,potential.a=0.5"),
        ("fixed:b=2,a=1", "fixed:a=1,b=2"),
    ],
)
def test_canonical_form(text: str, canonical: str) -> None:
    spec = Spec.parse(text)
    assert str(spec) == canonical
    assert Spec.parse(str(spec)) == spec
    assert hash(Spec.parse(str(spec))) == hash(spec)


def test_build_passes_options_on() -> None:
    balancer = Spec.parse("dtp:gamma.b.c=3,alpha=0.5,normalize=false,priority=easy").build(["a", "b.c"])
    assert isinstance(balancer, DTP)
    assert balancer.gammas == [1.0, 3.0]
    assert (balancer.kpi.alpha, balancer.normalize, balancer.easy_first) == (0.5, False, True)
    fixed = Spec.parse("fixed:a=1,b=3,normalize=true").build(["a", "b"])
    assert isinstance(fixed, Fixed)
    assert fixed.weight.tolist() == [0.5, 1.5]


def test_names_of_tasks_may_read_like_other_values() -> None:
    tasks = ["0", "seg", "true", "007", "1.50"]
    spec = Spec.parse("curriculum:order=true+0+1.50+seg+007,epochs=4,")
    weights = spec.build(tasks).weights
    assert [task for task in tasks if weights[task] == 1] == ["true"]
    assert Spec.parse(str(spec)).build(tasks).rank.tolist() == [1, 3, 0, 4, 2]  # type: ignore[union-attr]
    assert Spec.parse("fixed:0=1,true=3").build(["0", "true"]).weights == {"0": 1, "true": 3}
    assert Spec.parse("curriculum:order=0,epochs=1").build(["0"]).weights == {"0": 1}
    with pytest.raises(InputError, match="Unknown task '3'"):
        Spec.parse("curriculum:order=3+seg,epochs=4").build(["0", "seg"])


def test_the_seed_is_for_methods_that_draw() -> None:
    def keys(text: str, seed: int) -> list[float]:
        return [float(weight) for weight in Spec.parse(text).build(["a", "b"], seed=seed).weights.values()]  # type: ignore[attr-defined]

    assert keys("random", 1) == keys("random:seed=1", 2) != keys("random", 2)
    assert keys("dtp", 1) == keys("dtp", 2)


def test_all_is_every_method_that_its_name_alone_makes() -> None:
    names = [spec.name for spec in Spec.parse_list("all,fixed:a=1,b=2")]
    assert set(BALANCERS) - set(names) == {name for name in BALANCERS if needed_options(name)} - {"fixed"}
    assert not {"curriculum", "frozen"} & set(names)
    with pytest.raises(InputError, match="'equal' is given twice"):
        Spec.parse_list("equal,all")


@pytest.mark.parametrize("name", list(BALANCERS))
def test_a_docstring_describes_each_argument(name: str) -> None:
    method = Spec(name).method
    assert list(arguments(inspect.cleandoc(method.__doc__ or ""))) == list(inspect.signature(method).parameters)


def test_lists() -> None:
    specs = Spec.parse_list("equal,dtp:gamma=2,alpha=0.05,fixed:a=1,b=2,dtp:uniform=0.8")
    assert [str(spec) for spec in specs] == ["equal", "dtp:alpha=0.05,gamma=2", "fixed:a=1,b=2", "dtp:uniform=0.8"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "dpt",
            r"Unknown balancer 'dpt'; did you mean 'dtp'\? Others near it: softadapt, db_mtl. `hardfirst list balancers`",
        ),
        ("zzz", r"Unknown balancer 'zzz'\. `hardfirst list balancers` lists all"),
        ("dtp:gama=1", "Unknown option of balancer 'dtp': 'gama'; did you mean 'gamma'"),
        ("dtp:process_group=none", "Unknown option of balancer 'dtp': 'process_group'"),
        ("dtp:gamma", "key=value; got 'gamma'"),
        ("dtp:gamma=", "key=value; got 'gamma='"),
        ("dtp:gamma=1,gamma=2", "given twice"),
        ("dtp:gamma=1,gamma.a=2", "both for all tasks and by task"),
        ("equal:a=1", "Unknown option of balancer 'equal': 'a'"),
    ],
)
def test_bad_specs_get_a_sentence(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Spec.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dtp:gamma=two", "`gamma` to be a number; got 'two'"),
        ("dtp:gamma=1+2", r"`gamma` to be a number; got \(1, 2\)"),
        ("dtp:gamma.z=1", "Unknown task 'z'"),
        ("dtp:potential=2", "`potential` to be at most 1"),
        ("fixed", "weight for every task; 'a' has none"),
        ("fixed:a=1,b=2,z=3", "Unknown task 'z'"),
        ("uncertainty:lr=0", "`lr` to be above 0"),
    ],
)
def test_bad_options_get_a_sentence_when_built(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Spec.parse(text).build(["a", "b"])


def test_lists_are_checked() -> None:
    with pytest.raises(InputError, match="'equal' is given twice"):
        Spec.parse_list("equal,dtp,equal")
    with pytest.raises(InputError, match="at least one balancer"):
        Spec.parse_list(" , ")


@given(st.text(alphabet="dtpequalfixed:=,.+0123456789ae- ", max_size=30))
def test_any_text_is_a_spec_or_a_sentence(text: str) -> None:
    try:
        spec = Spec.parse(text)
    except InputError:
        return
    assert Spec.parse(str(spec)) == spec
    assert spec.name in BALANCERS
