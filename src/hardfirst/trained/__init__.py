"""Trained networks, to be used: what `hardfirst train` and `hardfirst compare --keep` leave in their folders."""

from hardfirst.errors import MissingPackage

try:
    from hardfirst.trained._export import FORMATS, export
    from hardfirst.trained._load import MODEL, load
    from hardfirst.trained._network import TrainedNetwork
except ModuleNotFoundError as error:
    raise MissingPackage(
        f'Trained networks need {error.name}, which is not installed: pip install "hardfirst[cli]"'
    ) from None

__all__ = ["FORMATS", "MODEL", "TrainedNetwork", "export", "load"]
