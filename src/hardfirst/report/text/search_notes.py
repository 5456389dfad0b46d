"""What became of the candidates of a search, and how they were searched, in sentences."""

from collections.abc import Mapping

from hardfirst.report.model.search import Search
from hardfirst.statistics.search import MARGIN, Standing, State

LOWER_BOUND = f"the gain less {MARGIN:g} standard errors"

_DROPPED: Mapping[State, str] = {
    "loses": "loses too much",
    "diverged": "a run did not finish",
    "unmeasured": "cannot be compared",
}


def limits(search: Search) -> str:
    """What may be lost, such as "at most 0.5 points of the mean over tasks"."""
    return ", ".join(kept.words for kept in search.keep)


def outcome(search: Search, name: str) -> str:
    """What became of a candidate, in a few words."""
    rung = search.last(name)
    standing = rung.standings[name]
    if name == search.winner:
        return "winner"
    if standing.state != "in":
        return _DROPPED[standing.state]
    if rung.number < len(search.rungs):
        return "still in" if name in search.rungs[rung.number].names else "gains too little"
    return _not_chosen(standing) if search.decided else "not yet decided"


def _not_chosen(standing: Standing) -> str:
    """Why a candidate of the last rung has not won."""
    if not standing.holds:
        return "may lose too much"
    return "gains too little" if standing.objective.low <= 0 else "ranks lower"


def how_searched(search: Search) -> list[str]:
    """What was searched, on which seeds, and what was never read."""
    notes = [f"What is maximised: {search.objective.words}."]
    if search.keep:
        notes.append(f"What may be lost against equal weights: {limits(search)}.")
    seeds = sorted({run.record.trial["seed"] for run in search.runs})
    numbers = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"
    if search.untried:
        untried = ", ".join(search.untried)
        notes.append(f"Not tried, since the runs that give their weights did not finish: {untried}.")
    rate = f", {search.rate:g}," if search.ended_rungs else ""
    rates = ", ".join(f"{each:g}" for each in search.rates)
    tried = f", and chosen with equal weights from {rates}" if rates else ""
    return [
        *notes,
        f"The runs of the search have the {numbers} and never read the test split: all gains of the search are of the "
        f"validation split. The learning rate{rate} is the same for all{tried}.",
        "A gain is the difference from equal weights with the same seed. All candidates of a rung have the same seeds. They "
        f"are ranked by their lower bound, {LOWER_BOUND}, times the probability that they keep what may not be lost. The "
        "first of them are in the next rung, without those that clearly lose too much.",
        "The winner is the first candidate of the last rung whose lower bound is above 0, and which keeps what may not be "
        "lost by its lower bounds.",
        "What choosing alone gives is the mean gain of the winner in simulated searches whose candidates are all copies of "
        "equal weights, with the noise of this search.",
        f"No decision of the search reads the runs with the fresh seeds 0 to {search.seeds - 1}. The winner is recommended "
        "if the 95% interval of its gain on their test split lies above 0, the sign-flip test agrees, and no mean change is "
        "below what may be lost.",
    ]
