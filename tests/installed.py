"""Marks for tests of problems whose data a package carries."""

import os

import pytest

from hardfirst.problems import PROBLEMS


def needs(name: str) -> pytest.MarkDecorator:
    """Skips the test where the data of the problem is not installed; not in CI, where it is to fail then."""
    source = PROBLEMS[name]().source
    assert source is not None
    return pytest.mark.skipif(not source.ready and not os.environ.get("CI"), reason=f"needs: {source.install}")
