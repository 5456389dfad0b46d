"""Marks for tests of problems whose data a package carries."""

import os

import pytest

from hardfirst.problems import PROBLEMS


def needs(name: str) -> pytest.MarkDecorator:
    """Skips the test where the data of the problem is not installed; not in CI, where it is to fail then."""
    source = PROBLEMS[name]().source
    missing = source is not None and not source.ready and not os.environ.get("CI")
    return pytest.mark.skipif(missing, reason=f"needs: {source.install if source else 'nothing'}")
