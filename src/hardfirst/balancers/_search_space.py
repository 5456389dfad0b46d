"""The search space of a method's options in a study."""

from typing import NamedTuple


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
