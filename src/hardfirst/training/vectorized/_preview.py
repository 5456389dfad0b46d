"""Whether trials can be trained together, and what each needs, found out before any of them starts."""

from typing import NamedTuple

from torch import Tensor
from torch.utils._pytree import tree_leaves

from hardfirst.problems import Problem, explained
from hardfirst.training._check import load_splits
from hardfirst.training._evaluate import evaluation_batch
from hardfirst.training._loading import load
from hardfirst.training._network import must_join
from hardfirst.training._randomness import forked_randomness
from hardfirst.training._sampling import epoch_order
from hardfirst.training._trial import Trial
from hardfirst.training.vectorized._refusal import NotVectorizable, check_recipe
from hardfirst.training.vectorized._rehearsal import build, single_step

# Weights, their gradient and its parts, two moments of Adam, two intermediate results of its step, the weights before the
# step, those of the best epoch and their moving average.
_COPIES = 10


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
        return Preview("", explained(trial.problem, lambda: bytes_per_trial(trial, trial.load(), device)))
    except NotVectorizable as refusal:
        return Preview(refusal.reason, 0)
    except Exception as error:  # each trial then fails or finishes by itself
        return Preview(f"together they fail: {type(error).__name__}: {error}", 0)


def bytes_per_trial(trial: Trial, problem: Problem, device: str) -> int:
    """Estimate the bytes that each trial of a group needs, in addition to a process that has loaded the data.

    They are those of ten copies of the network's parameters and buffers, of a batch, and of what the backward pass keeps of
    it; and of an evaluation as many for each example, though it keeps less. The number depends on shapes alone: it is the
    same on every machine, and takes the time of loading the data and of one training step.

    Raises:
        NotVectorizable: the recipe has no stacked form; or the network does not train, draws random numbers that a stack of
            it would not, or does not pay on this kind of device.
        InputError: the problem's parts do not fit together.

    Example:
        >>> from hardfirst.balancers import Spec
        >>> trial = Trial.plan("digits", Spec("equal"))
        >>> bytes_per_trial(trial, trial.load(), "cpu") // 2**20
        1
    """
    check_recipe(problem)
    with forked_randomness():
        train = load_splits(problem, test=False).train
        order = epoch_order(problem, train, trial.seed, 0, join_single=must_join(problem, train))
        inputs, targets = next(load(train, order[:1], draw=(trial.seed, 0)))
        module = build(problem, trial.seed, inputs)
        _, work = single_step(problem, module, (inputs, targets))
        work.check(device)
        examples = max(1.0, evaluation_batch(problem, train) / len(order[0]))
    network = sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))
    batch = sum(leaf.nbytes for leaf in tree_leaves((inputs, dict(targets))) if isinstance(leaf, Tensor))
    return _COPIES * network + batch + int(work.bytes * examples)
