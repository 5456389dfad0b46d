"""Which of several tuning runs a study takes its settings from."""

import math
from collections.abc import Sequence

from hardfirst.records.run_record import Record


def chosen(records: Sequence[Record]) -> int:
    """The index of the record with the highest validation score; runs that diverged or failed come last.

    Where no run finished, the middle one, which has the default settings. The first of equal scores counts.
    """
    scores = [record.selected()[1] if record.outcome == "finished" else math.nan for record in records]
    known = [index for index, score in enumerate(scores) if not math.isnan(score)]
    return max(known, key=scores.__getitem__) if known else len(records) // 2
