"""The mark of tests of problems whose data a package carries."""

import os

import pytest

from hardfirst.problems import PROBLEMS


def needs(name: str) -> pytest.MarkDecorator:
    """Mark a test that reads the data of this problem; tests/conftest.py skips it where the data is not installed."""
    return pytest.mark.data(name)


def skip_without_data(name: str) -> None:
    """Skip the running test if the data of this problem is not installed; in CI let it fail."""
    source = PROBLEMS[name]().source
    if source is not None and not source.ready and "CI" not in os.environ:
        pytest.skip(f"needs: {source.install}")
