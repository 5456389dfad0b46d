"""Trained networks, to be used: what `hardfirst train` and `hardfirst compare --keep` leave in their folders."""

from hardfirst.trained._export import FORMATS, export
from hardfirst.trained._load import MODEL, load
from hardfirst.trained._network import TrainedNetwork

__all__ = ["FORMATS", "MODEL", "TrainedNetwork", "export", "load"]
