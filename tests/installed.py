"""The mark of tests of problems whose data a package carries."""

import pytest


def needs(name: str) -> pytest.MarkDecorator:
    """Mark a test that reads the data of this problem; tests/conftest.py skips it where the data is not installed."""
    return pytest.mark.data(name)
