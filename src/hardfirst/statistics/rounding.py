"""Values that differ by rounding alone: ties, whatever statistic they enter.

KPIs are computed in single precision. Two methods that compute the same in another order may differ in the last bit, in
every seed alike, and a test that sees signs only would call that significant.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

ROUNDING = float(np.finfo(np.float32).eps)
"""The relative difference up to which two values are equal."""


def differences(values: ArrayLike, baseline: ArrayLike) -> NDArray[np.float64]:
    """`values − baseline`, with 0 where the two differ by rounding alone; NaN stays NaN.

    >>> differences([0.1 + 0.2, 0.4], [0.3, 0.3]).round(3).tolist()
    [0.0, 0.1]
    """
    own, base = np.asarray(values, dtype=float), np.asarray(baseline, dtype=float)
    with np.errstate(invalid="ignore"):  # ∞ − ∞
        difference = np.where(own == base, 0.0, own - base)
    tied = np.isfinite(difference) & (np.abs(difference) <= ROUNDING * np.maximum(np.abs(own), np.abs(base)))
    return np.where(tied, 0.0, difference)


def levels(values: ArrayLike, axis: int) -> NDArray[np.float64]:
    """Values by their order alone along an axis: 0 for the lowest, and one level for those that differ by rounding alone.

    NaN stays NaN.

    >>> levels([0.3, 0.1 + 0.2, 0.1, 0.5], axis=0).tolist()
    [1.0, 1.0, 0.0, 2.0]
    """
    array = np.asarray(values, dtype=float)
    if not array.size:
        return array
    order = array.argsort(axis=axis)
    ordered = np.take_along_axis(array, order, axis)
    lower, upper = np.delete(ordered, -1, axis), np.delete(ordered, 0, axis)
    steps = np.zeros(array.shape)
    np.put_along_axis(steps, np.delete(order, 0, axis), (differences(upper, lower) != 0).astype(float), axis)
    ranked = np.take_along_axis(steps, order, axis).cumsum(axis)
    result = np.empty(array.shape)
    np.put_along_axis(result, order, ranked, axis)
    return np.where(np.isnan(array), np.nan, result)
