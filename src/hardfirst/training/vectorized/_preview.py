"""Whether trials can be trained together, and what each needs, found out before any of them starts."""

from typing import NamedTuple

from hardfirst.problems import explained
from hardfirst.training._trial import Trial
from hardfirst.training.vectorized._memory import bytes_per_trial
from hardfirst.training.vectorized._refusal import NotVectorizable, check_recipe


class Preview(NamedTuple):
    """What is known of trials that may be trained together.

    Args:
        reason: why they cannot be; "" if they may: what a stack of networks does is only found out when it is made.
        size: bytes that each needs.
    """

    reason: str
    size: int


def preview(trial: Trial, device: str = "cpu") -> Preview:
    """Take a training step of a trial, on the CPU, and see what it needs; nothing is written.

    Args:
        trial: of a loss balancer; the others differ from it in seed, learning rate and options of the balancer.
        device: the kind of device that trials are trained on, "cpu" or "cuda".

    Example:
        >>> from hardfirst.balancers import Spec
        >>> preview(Trial.plan("digits", Spec("equal"))).reason
        ''
    """
    try:
        return explained(trial.problem, lambda: _preview(trial, device))
    except NotVectorizable as refusal:
        return Preview(refusal.reason, 0)
    except Exception as error:  # each trial then fails or finishes by itself
        return Preview(f"together they fail: {type(error).__name__}: {error}", 0)


def _preview(trial: Trial, device: str) -> Preview:
    problem = trial.load()
    check_recipe(problem)
    return Preview("", bytes_per_trial(trial, problem, device))
