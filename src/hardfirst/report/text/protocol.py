"""The protocol of runs that were measured as published figures were, in a sentence that stands before all others."""

from collections.abc import Sequence

from hardfirst.records import Record
from hardfirst.report.model.case import Case


def sentences(cases: Sequence[Case]) -> list[str]:
    """What the published protocol of the cases means; with several cases, of which it is; empty if there is none."""
    texts = {case.name: text for case in cases if (text := sentence(case))}
    if len(texts) == len(cases) and len(set(texts.values())) == 1:
        return [next(iter(texts.values()))]
    return [f"{name}: {text}" for name, text in texts.items()]


def sentence(case: Case) -> str:
    """What the case's protocol means; "" for the default one."""
    runs = [record for record in case.runs.values() if record.trial.get("protocol") == "published"]
    if not runs:
        return ""
    if (count := _averaged(runs)) is None:
        return "Protocol published: the splits are the published ones, and the epoch was chosen on their validation split."
    last = next(str(last) for record in runs if (last := record.trial.get("last_epochs")))
    figures = "those of the last epoch" if count == "1" else f"means over the last {count} epochs"
    ending = f"; the published ones are over the last {last} epochs." if count != last else ", as the published ones are."
    return f"Protocol published: nothing was held out, and test figures are {figures}" + ("." if last == "1" else ending)


def _averaged(runs: Sequence[Record]) -> str | None:
    """Over how many epochs the test figures are means; None if an epoch was chosen."""
    if not any(record.trial.get("last_epochs") for record in runs):
        return None
    counts = {count for record in runs if record.test and (count := record.test.get("averaged"))}
    return " or ".join(map(str, sorted(counts))) or str(runs[0].trial.get("last_epochs"))
