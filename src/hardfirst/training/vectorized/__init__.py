"""Train many trials as one stacked network, in one process.

Small runs spend their time on Python and on starting operations, not on arithmetic. Trials that differ only in seed,
learning rate, balancer or the one task that they train have the same operations. One call of each operation, on tensors with
a row for each trial, does the work of all. Only the balancers of each method take separate steps. A single run
(`hardfirst.training.fit`) defines what is right: each trial has its order of examples, balancer state, best epoch, end and
record.
"""

from hardfirst.training.vectorized._fit import fit_together
from hardfirst.training.vectorized._preview import Preview, preview
from hardfirst.training.vectorized._refusal import NotVectorizable

__all__ = ["NotVectorizable", "Preview", "fit_together", "preview"]
