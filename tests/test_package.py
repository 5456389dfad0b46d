"""What `import hardfirst` alone gives."""

import pytest

import hardfirst

CORE = ("balancers", "compat", "errors", "functional", "kpi", "losses", "networks", "records", "stopping", "trackers")
WITH_EXTRAS = ("integrations", "problems", "report", "sklearn", "statistics", "studies", "study", "trained", "training")


@pytest.mark.parametrize("module", [*CORE, *WITH_EXTRAS])
def test_every_public_module_is_reached_from_the_package(module: str) -> None:
    if module in WITH_EXTRAS:
        pytest.importorskip("typer")
    # as in a fresh interpreter: here another test may have imported it, which sets the attribute
    assert hardfirst.__getattr__(module).__name__ == f"hardfirst.{module}"
    assert module in dir(hardfirst)


def test_a_star_import_needs_no_extra() -> None:
    assert not {*WITH_EXTRAS, "load"} & set(hardfirst.__all__)
