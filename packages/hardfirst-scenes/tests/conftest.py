from conftest import _no_leaks  # of the repository's tests/, which pytest's `pythonpath` lists

__all__ = ["_no_leaks"]
