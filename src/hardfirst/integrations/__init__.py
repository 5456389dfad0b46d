"""Balancers and run records in the training loops of other libraries.

`hardfirst.integrations.lightning` and `hardfirst.integrations.transformers` need their library. Accelerate needs no adapter:
`balancer.backward(losses, kpis, using=accelerator.backward)`, and `accelerator.register_for_checkpointing(balancer)`.
"""

from hardfirst.integrations._recorder import RunRecorder

__all__ = ["RunRecorder"]
