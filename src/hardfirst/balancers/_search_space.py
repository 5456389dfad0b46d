"""Where a study looks for a method's options."""

from typing import NamedTuple


class Range(NamedTuple):
    """The values of an option that tuning draws from.

    Args:
        low: the least.
        high: the greatest.
        log: whether equal ratios, rather than equal differences, are equally likely; both ends are then above 0.
    """

    low: float
    high: float
    log: bool = False

    def at(self, share: float) -> float:
        """The value so far along the range, 0 for the least and 1 for the greatest, to three significant digits.

        >>> Range(0.1, 10, log=True).at(0.5), Range(0, 3).at(0.25)
        (1.0, 0.75)
        """
        value = self.low * (self.high / self.low) ** share if self.log else self.low + (self.high - self.low) * share
        return float(f"{value:.3g}")
