"""The selection of a validation split from a published training split."""

import hashlib


def held_out(name: str) -> bool:
    """Return whether an example of the published training split is held out for validation: 10%, by a hash of the name.

    Args:
        name: the name of the example's file, or its identifier.

    Example:
        >>> [name for name in map(str, range(20)) if held_out(name)]
        ['0', '7', '9', '10']
    """
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % 10 == 0
