"""Options out of range get a sentence; more of them are in tests/wrong_inputs/balancers.py."""

import pytest

from hardfirst.balancers import Spec
from hardfirst.errors import InputError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("achievement:gamma=-1", "`gamma` to be at least 0; got -1"),
        ("achievement:margin=-0.1", "`margin` to be at least 0; got -0.1"),
        ("achievement:alpha=0", "`alpha` to be above 0"),
        ("achievement:potential.a=0", "`potential.a` to be above 0"),
        ("achievement:potential.a=93", "`potential.a` to be at most 1; got 93"),
        ("achievement:potential.x=0.5", "Unknown task 'x'"),
        ("cagrad:c=-1", "`c` to be at least 0"),
        ("curriculum:order=a+b,epochs=4", r"`order` to contain every task once, from easy to hard; got a\+b"),
        ("curriculum:order=a+a+b+c,epochs=4", "every task once"),
        ("curriculum:order=a+b+cc,epochs=4", "Unknown task 'cc'; did you mean 'c'"),
        ("curriculum:order=a,epochs=4", "every task once.*; got a"),
        ("curriculum:order=a+b+c,epochs=0", "`epochs` to be a whole number, at least 1; got 0"),
        ("curriculum:order=a+b+c,epochs=2.5", "`epochs` to be a whole number, at least 1; got 2.5"),
        ("db_mtl:beta=1", "`beta` to be below 1"),
        ("dtp:floor=0.5", "`floor` to be below 0.5"),
        ("dtp:uniform=2", "`uniform` to be at most 1"),
        ("dwa:temperature=-1", r"`temperature` to be above 0; got -1\."),
        ("excess_mtl:eta=0", "`eta` to be above 0"),
        ("famo:lr=-0.1", "`lr` to be above 0; got -0.1"),
        ("famo:decay=-1", "`decay` to be at least 0; got -1"),
        ("famo:min_losses.x=1", "Unknown task 'x'"),
        ("famo:min_losses.a=low", "`min_losses.a` to be a number; got 'low'"),
        ("gradnorm:alpha=-1", "`alpha` to be at least 0; got -1"),
        ("gradnorm:lr=0", "`lr` to be above 0"),
        ("gradnorm:lr=fast", "`lr` to be a number; got 'fast'"),
        ("gradvac:beta=0", "`beta` to be above 0"),
        ("imtl_l:lr=0", r"`lr` to be above 0; got 0\."),
        ("learning_progress:eta=0", "`eta` to be above 0; got 0"),
        ("learning_progress:epsilon=-0.1", "`epsilon` to be at least 0"),
        ("learning_progress:epsilon=1.1", "`epsilon` to be at most 1"),
        ("learning_progress:eta=true", "`eta` to be a number; got True"),
        ("moco:beta=0", "`beta` to be above 0"),
        ("moco:sigma=2", "`sigma` to be at most 1"),
        ("modo:gamma=0", "`gamma` to be above 0"),
        ("nash_mtl:max_norm=-1", "`max_norm` to be at least 0"),
        ("pcgrad:seed=-1", "`seed`"),
        ("random:seed=-1", r"`seed` to be a whole number, at least 0; got -1\."),
        ("random:seed=1.5", r"`seed` to be a whole number, at least 0; got 1.5\."),
        ("random:seed=true", r"`seed` to be a whole number, at least 0; got True\."),
        ("relobralo:alpha=1.1", "`alpha` to be at most 1"),
        ("relobralo:rho=-0.1", "`rho` to be at least 0"),
        ("relobralo:temperature=0", "`temperature` to be above 0"),
        ("relobralo:seed=-1", "`seed`"),
        ("sdmgrad:momentum=1", "`momentum` to be below 1"),
        ("sdmgrad:steps=0", "`steps`"),
        ("self_paced:kind=soft", "`kind` to be 'hard' or 'linear'; got 'soft'"),
        ("self_paced:growth=0.9", "`growth` to be at least 1; got 0.9"),
        ("self_paced:growth=none", "`growth` to be a number; got None"),
        ("softadapt:normalize=on", "`normalize`"),
        ("softadapt:beta=1e999", "`beta` to be a finite"),
        ("stch:mu=0", r"Expected `mu` to be above 0; got 0\."),
        ("stch:mu=1e999", r"Expected `mu` to be below inf; got inf\."),
        ("stch:warmup_epochs=0", "`warmup_epochs` to be a whole number, at least 1; got 0"),
        ("stch:warmup_epochs=true", "`warmup_epochs` to be a whole number, at least 1; got True"),
        ("uw_so:temperature=-2", r"`temperature` to be above 0; got -2\."),
    ],
)
def test_options_are_checked(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Spec.parse(text).build(["a", "b", "c"])
