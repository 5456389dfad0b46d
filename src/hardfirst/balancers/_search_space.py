"""The search space of a method's options in a study."""

from typing import NamedTuple

TUNE = "tune"
"""The value of `anneal` in a spec that leaves it to a study's tuning."""


class Range(NamedTuple):
    """The range of an option that tuning searches.

    Args:
        low: the lower end.
        high: the upper end.
        log: whether to search on a logarithmic scale; both ends must then be above 0.
    """

    low: float
    high: float
    log: bool = False

    def at(self, share: float) -> float:
        """Return the value at a fraction of the range, 0 for the lower end and 1 for the upper, to three digits.

        >>> Range(0.1, 10, log=True).at(0.5), Range(0, 3).at(0.25)
        (1.0, 0.75)
        """
        value = self.low * (self.high / self.low) ** share if self.log else self.low + (self.high - self.low) * share
        return float(f"{value:.3g}")


class AnnealRange:
    """The values of `anneal` that tuning tries: half of them the default, the others a change over 0.2 of training."""

    def at(self, share: float) -> tuple[float, float] | None:
        """Return the value at a fraction of the range; None is the method's default.

        >>> AnnealRange().at(0.25), AnnealRange().at(0.5), AnnealRange().at(1)
        (None, (0.3, 0.5), (0.8, 1.0))
        """
        if share < 0.5:
            return None
        start = Range(0.3, 0.8).at(2 * share - 1)
        return start, round(start + 0.2, 3)
