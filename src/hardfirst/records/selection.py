"""The choice of the tuning run from which a study takes its settings."""

import math
from collections.abc import Sequence

from hardfirst.records.run_record import Record


def chosen(records: Sequence[Record], measure: str | None = None) -> int:
    """Return the index of the record with the highest validation score; runs that diverged or failed come last.

    If no run finished, it is the middle one, which has the default settings. The first of equal scores wins.

    Args:
        records: of the runs to choose from.
        measure: what the score is of, as in `Record.selected`. Default: the runs' criterion.
    """
    scores = [record.selected(measure)[1] if record.outcome == "finished" else math.nan for record in records]
    scored = [index for index, score in enumerate(scores) if not math.isnan(score)]
    return max(scored, key=scores.__getitem__) if scored else len(records) // 2
