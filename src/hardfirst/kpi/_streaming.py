"""Measures computed batch by batch, in memory that does not grow with the data."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from typing import Concatenate, ParamSpec

import torch
from torch import Tensor

from hardfirst.kpi._common import Measure, unbound

Options = ParamSpec("Options")
StateOf = Callable[Concatenate[Tensor, Tensor, Options], Tensor]


@dataclass(frozen=True)
class Streaming:
    """The parts of a measure that is computed batch by batch.

    Args:
        state_of: (output, target) → the state of a batch, a tensor of the same shape for all batches.
        finish: a state → the value, 0-d.
        merge: two states → the state of both batches together.

    Example:
        >>> from hardfirst.kpi import accuracy
        >>> form = streaming(accuracy)
        >>> first = form.state_of(torch.tensor([1.0, -1.0]), torch.tensor([1, 1]))
        >>> second = form.state_of(torch.tensor([1.0, 2.0]), torch.tensor([1, 1]))
        >>> form.finish(form.merge(first, second))
        tensor(0.7500)
    """

    state_of: Callable[..., Tensor]
    finish: Callable[[Tensor], Tensor]
    merge: Callable[[Tensor, Tensor], Tensor]


def streams(
    finish: Callable[[Tensor], Tensor], merge: Callable[[Tensor, Tensor], Tensor] = torch.add
) -> Callable[[StateOf[Options]], StateOf[Options]]:
    """Turn a function that returns a batch's state into a measure, so that a split is evaluated without storing outputs.

    Args:
        finish: a state → the value, 0-d.
        merge: two states → the state of both batches together. Default: their sum.

    Returns:
        A decorator for a function (output, target, options) → state. The measure is `finish` of that state.

    Example:
        >>> from hardfirst.kpi import streams
        >>> @streams(lambda sums: 1 - sums[0] / sums[1])
        ... def closeness(output, target):
        ...     error = (output - target).abs().clamp(max=1)
        ...     return torch.stack([error.nansum(), (~target.isnan()).sum()])
        >>> closeness(torch.tensor([1.0, 2.0]), torch.tensor([1.5, 2.0]))
        tensor(0.7500)
    """

    def decorate(state_of: StateOf[Options]) -> StateOf[Options]:
        @wraps(state_of)
        def measure(output: Tensor, target: Tensor, *arguments: Options.args, **options: Options.kwargs) -> Tensor:
            return finish(state_of(output, target, *arguments, **options))

        measure.streaming = Streaming(state_of, finish, merge)  # type: ignore[attr-defined]  # functions take attributes
        return measure  # type: ignore[return-value]  # mypy takes the names of output and target for a difference

    return decorate


def streaming(measure: Measure) -> Streaming | None:
    """Return the parts for computing a measure batch by batch; None if it needs all outputs at once.

    Args:
        measure: a measure, with or without options bound by `functools.partial`.

    Example:
        >>> from hardfirst.kpi import accuracy, auc
        >>> streaming(partial(accuracy, ignore_index=255)) is None, streaming(auc) is None
        (False, True)
    """
    function, options = unbound(measure)
    form: Streaming | None = getattr(function, "streaming", None)
    return form and Streaming(partial(form.state_of, **options), form.finish, form.merge)
