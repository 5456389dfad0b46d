"""Networks that serve several tasks: each gives `{task: output}` and says which parameters the tasks share."""

from hardfirst.networks.hard_sharing import HardSharing

__all__ = ["HardSharing"]
