"""Shell completion of names. It reads the registries' tables, since importing torch after a Tab would take too long."""

from collections.abc import Callable


def balancers() -> list[str]:
    """The names in `BALANCERS`."""
    from hardfirst.balancers import BALANCERS

    return sorted(BALANCERS)


def networks() -> list[str]:
    """The names in `NETWORKS`."""
    from hardfirst.networks import NETWORKS

    return sorted(NETWORKS)


def problems() -> list[str]:
    """The names in `PROBLEMS` and `FIELDS`."""
    from hardfirst.problems import FIELDS, PROBLEMS

    return sorted([*PROBLEMS, *FIELDS])


def optimizers() -> list[str]:
    """The names in `OPTIMIZERS`."""
    from hardfirst.recipes import OPTIMIZERS

    return sorted(OPTIMIZERS)


def schedules() -> list[str]:
    """The names in `SCHEDULES`."""
    from hardfirst.recipes import SCHEDULES

    return sorted(SCHEDULES)


def objectives() -> list[str]:
    """The words of the objective language; a problem's tasks are not known without loading it."""
    from hardfirst.records._objective_parser import WORDS

    return list(WORDS)


def one(names: Callable[[], list[str]], *others: str) -> Callable[[str], list[str]]:
    """A function for typer that completes a word to one of the names."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in [*others, *names()] if name.startswith(incomplete)]

    return complete


def several(names: Callable[[], list[str]], *others: str) -> Callable[[str], list[str]]:
    """A function for typer that completes the last of several names joined by commas."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{name}" for name in one(names, *others)(last)]

    return complete
