"""hardfirst in other libraries' training loops.

`hardfirst.integrations.lightning` and `hardfirst.integrations.transformers` need their library. Accelerate needs nothing:
`balancer.backward(losses, kpis, using=accelerator.backward)`, and `accelerator.register_for_checkpointing(balancer)`.
"""

from hardfirst.integrations._recorder import RunRecorder

__all__ = ["RunRecorder"]
