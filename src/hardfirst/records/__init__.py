"""Run records and study folders, read without torch.

A run record is one file of JSON lines. A study folder contains the records of its trials, and describes the role of each.
"""

from hardfirst.records.files import record_key, remove_parts, replaced_file, write_atomically
from hardfirst.records.loss_share import LossShare
from hardfirst.records.measures import PublishedMeasure
from hardfirst.records.objective import Kept, Objective
from hardfirst.records.run_record import Record, read
from hardfirst.records.scores import is_undefined, score
from hardfirst.records.writer import Writer, versions

__all__ = [
    "Kept",
    "LossShare",
    "Objective",
    "PublishedMeasure",
    "Record",
    "Writer",
    "is_undefined",
    "read",
    "record_key",
    "remove_parts",
    "replaced_file",
    "score",
    "versions",
    "write_atomically",
]
