"""Ranks over cases in a sentence."""

from hardfirst.records.names import EQUAL
from hardfirst.report.model.ranks import ALPHA, FEWEST_CASES, Ranks


def rank_sentence(ranks: Ranks) -> str:
    """What Friedman's test says, and what can be concluded from this number of problems."""
    n, p = ranks.test.n, "p < 0.001" if ranks.test.p < 0.001 else f"p = {ranks.test.p:.2g}"
    if not ranks.exist:
        return f"Fewer than 2 cases have a figure {ranks.where} for every method: there are no ranks over cases."
    if n < FEWEST_CASES:
        return (
            f"Over {n} cases nothing can be told from the methods' ranks {ranks.where}: that takes about {FEWEST_CASES} "
            f"problems at the least (Friedman's test gives {p}, a rough approximation with so few)."
        )
    test = f"(Friedman's test over {n} cases, {p})"
    if not ranks.differ:
        return f"By their ranks {ranks.where} no methods can be told apart {test}."
    return (
        f"The methods' ranks {ranks.where} differ {test}; mean ranks {ranks.critical.difference:.2f} or more apart count "
        f"as different (Nemenyi's test at {ALPHA}). {_against_equal(ranks)}".rstrip()
    )


def _against_equal(ranks: Ranks) -> str:
    if EQUAL not in ranks.methods:
        return ""
    equal, means = ranks.methods.index(EQUAL), ranks.critical.mean_ranks
    apart = [index for index in range(len(ranks.methods)) if not ranks.critical.same[equal, index]]
    ahead = [ranks.methods[index] for index in apart if means[index] < means[equal]]
    behind = [ranks.methods[index] for index in apart if means[index] > means[equal]]
    sides = {"Ahead of equal weights": ahead, "Behind equal weights": behind}
    sentences = [f"{side}: {', '.join(names)}." for side, names in sides.items() if names]
    return " ".join(sentences) or "None differs from equal weights."
