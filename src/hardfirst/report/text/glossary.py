"""The terms of a report, explained for a reader who is new to multi-task learning."""

GLOSSARY = (
    "KPI: what a task is judged by, a number in [0, 1] where 1 is best. A point is a hundredth of it.",
    "Worst task: in each run the task with the lowest test KPI, which may be another task in another run.",
    "Mean: the mean of the test KPIs over tasks.",
    "Equal weights: every task's loss counts the same. This is the baseline of every comparison.",
    "Static weights: weights that stay the same during training, chosen from a grid on the validation split.",
    "Single-task network: a network of the same architecture that is trained on one task alone.",
    "Starvation gap: the single-task KPI minus the KPI under equal weights. A starved task has a gap above 0.",
    "Weight, × equal share: the factor of a task's loss in the gradient, relative to the mean over tasks.",
    "Δ: a difference from equal weights with the same seed, in points; positive is better.",
    "Δm: the mean relative change against single-task networks, in per cent; positive is better.",
    "Control: a variant of a method with one thing changed, which shows what its effect comes from.",
    "Holm-corrected: the test allows for the number of methods: if none has an effect, it calls any different in at most 5% "
    "of studies.",
)

OF_SEARCHES = (
    "Candidate: a method with options that a search tries.",
    "Rung: a round of a search. Each further rung has fewer candidates, with more seeds.",
    "Hard tasks: the tasks whose validation KPI under equal weights is below the mean over tasks.",
    "Fresh seeds: seeds whose runs no decision of a search reads, and which judge its winner on the test split.",
    "What choosing alone gives: the gain that the best of many equal candidates shows by chance.",
)
"""The terms of a search, in addition."""
