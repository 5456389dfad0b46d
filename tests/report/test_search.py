"""A search: what is said and shown of it, from its first run to its verdict."""

import functools
import io
import json
import re
from dataclasses import replace

import pandas as pd
import pytest

import hardfirst
from hardfirst.errors import InputError
from hardfirst.records.description import CaseTrials, Description
from hardfirst.records.names import HARD_TASKS
from hardfirst.records.study_folder import StudyFolder, completed
from hardfirst.report import Comparison, arrange, exports, page
from hardfirst.report.model import search as model
from hardfirst.report.model.answer import answer
from hardfirst.report.model.search import run_count, search_of
from hardfirst.report.text import search as text
from hardfirst.report.text.by_kind import headline_of
from hardfirst.report.text.search_notes import how_searched, outcome
from hardfirst.statistics.search import rungs
from hardfirst.studies import Store
from made_records import SEED, as_run, case_of, run, search_case, search_plan, search_runs, study, text_of

DTP, MILD, LOST = "dtp", "dtp:anneal=0.6+0.8,uniform=0.2", "stch"
CANDIDATES = {DTP: (0.15, -0.042), MILD: (0.1, 0.0), "famo": (0.01, 0.0), "dwa": (-0.02, -0.01), LOST: None}
FRESH = {DTP: (0.15, -0.042), MILD: (0.1, 0.0)}
COMMAND = "hardfirst search toy --maximise worst"


@pytest.fixture(autouse=True)
def _quick_chance(monkeypatch):
    """What choosing alone gives, without the simulation."""
    monkeypatch.setattr(model, "chance_gain", lambda candidates, equal, allowed, plan: 0.1 * len(candidates))


@functools.cache
def _case(candidates, fresh, **settings):
    return search_case(dict(candidates), dict(fresh), **settings)


def searched(candidates=CANDIDATES, fresh=FRESH, **settings):
    """The case of a search, which no test changes."""
    return _case(tuple(candidates.items()), tuple(fresh.items()), **settings)


def fresh(*gains):
    return FRESH | {MILD: gains}


# 95% intervals of the worst task are 2.446912 · √(2/21) = .755 points to either side, those of the mean a third of that
CHANCE = "of this, about +0.5 is what choosing the best of 5 equal candidates gives."
OF_DTP = "On fresh seeds, `dtp` has +15.0 [+14.2, +15.8] on the worst task, −4.2 [−4.5, −3.9] on the mean over tasks."
REFUSED = f"Keep equal weights: fresh seeds do not confirm `{MILD}`, since"
SITUATIONS = {
    "recommended": (
        {},
        f"Use `{MILD}`: +10.0 [+9.2, +10.8] on the worst task, +0.0 [−0.3, +0.3] on the mean over tasks. In the search it "
        f"gained +10.0 on the validation split; {CHANCE} {OF_DTP} What may be lost: at most 0.5 points of the mean over "
        "tasks.",
    ),
    "no gain on fresh seeds": (
        {"fresh": fresh(0.0, 0.0)},
        f"{REFUSED} its gain cannot be told from chance: +0.0 [−0.8, +0.8]",
    ),
    "a loss on fresh seeds": (
        {"fresh": fresh(0.1, -0.01)},
        f"{REFUSED} on average it loses more than allowed: +10.0 [+9.2, +10.8]",
    ),
    "a loss that rounds to what may be lost": (
        {"fresh": fresh(0.1, -0.0053)},
        f"{REFUSED} on average it loses more than allowed: +10.00 [+9.24, +10.76] on the worst task, −0.53 [−0.78, −0.28] ",
    ),
    "a run on fresh seeds diverged": (
        {"fresh": FRESH | {MILD: None}},
        f"{REFUSED} a run did not finish: – on the worst task",
    ),
    "few fresh seeds": ({"seeds": 2}, f"{REFUSED} a verdict takes more than 2 seeds: +9.5 on the worst task"),
    "nothing to keep": ({"keep": ()}, "Use `dtp`: +15.0 [+14.2, +15.8] on the worst task. In the search it gained +15.0"),
    "no candidate": (
        {"candidates": {"famo": (-0.01, 0.0), "dwa": (-0.02, -0.01)}, "fresh": {DTP: FRESH[DTP]}},
        "Keep equal weights: no candidate is shown to raise the worst task within what may be lost. In the last rung, "
        "`famo` ranks first with −1.0 on the worst task, +0.0 on the mean over tasks of the validation split: gains too "
        "little. By choosing alone, the best of 2 "
        f"equal candidates shows about +0.2. {OF_DTP}",
    ),
    "before the first rung": (
        {"ended": 2},
        "Still searching: 2 of 3 first runs, which choose the learning rate and find the hard tasks.",
    ),
    "in the first rung": ({"ended": 5}, "Still searching: rung 1 of 3 with 5 candidates, 2 of 11 runs."),
    "with one candidate": (
        {"candidates": {"famo": (0.1, 0.0)}, "fresh": {DTP: FRESH[DTP]}, "ended": 5},
        "Still searching: rung 1 of 3 with 1 candidate, ",
    ),
    "in the second rung": ({"ended": 16}, "Still searching: rung 2 of 3 with 2 of 5 candidates, 2 of 4 runs."),
    "before the verdict": ({"ended": 40}, f"The search chose `{MILD}`, which is now tested: 2 of 7 fresh seeds so far."),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_headline_claims_what_fresh_seeds_support(situation):
    settings, expected = SITUATIONS[situation]
    sentences = headline_of(answer(searched(**settings))).sentences
    assert " ".join(sentences).startswith(expected)


@pytest.mark.parametrize(("settings", "end"), [({}, "fresh seeds 21."), ({"ended": 16}, " so far.")])
def test_the_cost_of_a_search_that_has_not_ended_is_that_so_far(settings, end):
    assert text.cost(searched(**settings).search).endswith(end)


@pytest.mark.parametrize(("best", "last"), [(0.003, True), (0.01, False), (0.03, True)])
def test_a_learning_rate_at_the_end_of_those_tried_is_said(best, last):
    search = searched().search
    runs = [
        replace(each, record=replace(each.record, trial=each.record.trial | {"learning_rate": best})) for each in search.runs
    ]
    runs = [new if old.entry.rung else old for old, new in zip(search.runs, runs, strict=True)]
    found = replace(search, runs=tuple(runs))
    assert ("The best learning rate is the last one tried" in [alert.text for alert in text.alerts(found)]) == last
    sentence = f"The learning rate, {best:g}, is the same for all, and chosen with equal weights from 0.003, 0.01, 0.03."
    assert any(sentence in note for note in how_searched(found))


def test_each_candidate_has_an_outcome():
    search = searched().search
    assert [rung.names for rung in search.rungs] == [(MILD, "famo", DTP, "dwa", LOST), (MILD, "famo"), (MILD, "famo")]
    outcomes = {name: outcome(search, name) for name in search.rungs[0].names}
    assert outcomes == {
        DTP: "loses too much",
        MILD: "winner",
        "famo": "ranks lower",
        "dwa": "loses too much",
        LOST: "a run did not finish",
    }
    assert outcome(searched(ended=16).search, "famo") == "still in"


def test_the_first_rungs_do_not_depend_on_later_runs():
    whole, early = searched().search, searched(ended=16).search
    assert early.rungs[0] == whole.rungs[0]
    assert not early.rungs[1].standings
    assert (early.rungs[1].ended, early.rungs[1].planned) == (2, 4)


def test_what_choosing_alone_gives_is_of_this_search(monkeypatch):
    asked = []
    monkeypatch.setattr(model, "chance_gain", lambda *given: asked.append(given) or 0.7)
    search = search_case(CANDIDATES).search
    ((candidates, equal, allowed, plan),) = asked
    assert {name: figures.shape for name, figures in candidates.items()}[MILD] == equal.shape == (2, 6)
    assert (set(candidates), list(allowed), plan) == (set(CANDIDATES), [0.5], rungs(5))
    assert search.chance == 0.7


def test_equal_weights_that_diverge_are_no_reason_to_keep_them():
    entries, runs = search_runs({DTP: (0.1, 0.0), MILD: (0.1, 0.0)})
    rung = [each for each in runs if each.entry.rung in (None, 1)]
    for each in rung:
        if each.entry.rung and each.entry.method == "equal":
            each.record.outcome = "diverged"
    known = [entry for entry in entries if entry.rung in (None, 1)]
    found = search_of(arrange(rung), known, rung, search_plan([DTP, MILD, "fixed:weights=dtp"]))
    assert text.lead(found) == "No answer: equal weights have no KPIs that candidates could be compared with."
    assert outcome(found, DTP) == "cannot be compared"
    assert text.next_step(found, 0, COMMAND).why == "If equal weights diverged, give a lower learning rate."
    assert found.untried == ("fixed:weights=dtp",)
    assert "1 candidate not tried" in [alert.text for alert in text.alerts(found)]
    assert "Not tried, since the runs that give their weights did not finish: fixed:weights=dtp." in how_searched(found)
    case = replace(arrange(rung), search=found)
    assert "nan" not in text_of(page(case, title="Search on toy"))
    with pytest.raises(InputError, match="with a finished run of equal weights"):
        Comparison([case]).recommended  # noqa: B018


def test_hard_tasks_are_those_that_the_search_measured():
    first = [as_run(run("equal", SEED + seed, (0.9, 0.2, 0.3)), HARD_TASKS, "candidate", tuning=True) for seed in (0, 1)]
    first.append(as_run(run("equal", SEED + 2, (0.0, 0.9, 1.0), outcome="diverged"), HARD_TASKS, "candidate", tuning=True))
    entries, runs = search_runs(CANDIDATES, FRESH)
    runs = [*first, *runs]
    found = search_of(arrange(runs), [each.entry for each in runs], runs, search_plan(CANDIDATES) | {"search": "hard"})
    assert found.objective.words == "the hard tasks (middle, hard)"
    assert text.tiles(found)[0].label == "Hard tasks, winner − equal"
    unknown = search_of(arrange(runs[3:6]), entries, runs[3:6], search_plan(CANDIDATES) | {"search": "hard"})
    assert text.lead(unknown).startswith("Still searching")


def test_the_verdict_reads_the_test_split():
    entries, runs = search_runs(CANDIDATES, FRESH)
    for each in runs:
        if each.entry.role == "method" and each.entry.method == MILD:
            each.record.test["tasks"]["hard"]["kpi"] += 0.02
    found = search_of(arrange(runs), entries, runs, search_plan(CANDIDATES))
    assert text.lead(found).startswith(f"Use `{MILD}`: +12.0")
    assert found.gain == pytest.approx(10)


def test_the_cost_is_in_runs_of_all_epochs():
    whole, stopped = run("equal", 0, (0.5,) * 3), run("equal", 1, (0.5,) * 3)
    del stopped.epochs[1:]
    assert run_count([whole, whole, stopped]) == pytest.approx(1 + 1 / 3), "a record that serves two purposes counts once"


def test_few_fresh_seeds_ask_for_more():
    step = text.next_step(searched(seeds=2).search, 0, f"{COMMAND} --seeds 2")
    assert step.command == f"{COMMAND} --seeds 7"
    assert text.next_step(searched().search, 0, COMMAND) is None


# What to paste


def test_the_winner_can_be_pasted():
    plan = {"problems": ["my/toy.py"], "epochs": 3, "clip": 1.0, "drop_last": True}
    spec, command, python = text.paste(searched().search, plan)
    assert spec.text == MILD
    recipe = "--epochs 3 --clip 1.0 --drop-last"
    assert command.text == f"hardfirst train my/toy.py --balancer {MILD} --learning-rate 0.01 {recipe}"
    assert python.text.splitlines() == [
        f'balancer = hardfirst.Spec.parse("{MILD}").build(tasks)',
        "balancer.steps = steps  # of the whole training",
    ]
    names = {"hardfirst": hardfirst, "tasks": ["easy", "hard"], "steps": 100}
    exec(python.text, names)
    assert names["balancer"].steps == 100


def test_the_pasted_weights_are_those_that_the_search_measured():
    weights = "fixed:normalize=true,weights.easy=0.5,weights.hard=1.5,weights.middle=1.0"
    entries, runs = search_runs({"fixed:weights=dtp": (0.1, 0.0)}, {"fixed:weights=dtp": (0.1, 0.0)})
    for each in runs:
        if each.entry.method != "equal":
            each.record.trial |= {"balancer": weights, "network": "mmoe"}
    plan = search_plan(["fixed:weights=dtp"])
    found = search_of(arrange(completed(runs)), entries, runs, plan)
    spec, command, python = text.paste(found, plan)
    assert text.lead(found).startswith("Use `fixed:weights=dtp`: +10.0")
    assert spec.text == weights
    assert "--network mmoe" in command.text
    assert len(python.text.splitlines()) == 1


@pytest.mark.parametrize("settings", [{"fresh": fresh(0.0, 0.0)}, {"ended": 40}, {"ended": 16}])
def test_nothing_is_pasted_that_fresh_seeds_do_not_support(settings):
    case = searched(**settings)
    assert text.paste(case.search, {}) == ()
    assert "hardfirst train" not in text_of(page(case, title="Search on toy"))


def test_python_gets_what_is_recommended():
    assert Comparison([searched()]).recommended == MILD
    assert Comparison([searched(fresh=fresh(0.0, 0.0))]).recommended == "equal"
    with pytest.raises(InputError, match="has runs to go"):
        Comparison([searched(ended=16)]).recommended  # noqa: B018
    with pytest.raises(InputError, match="this study compares methods"):
        Comparison([case_of(study(equal=[0.4]))]).recommended  # noqa: B018


# The page and the other forms


def sections_of(document):
    return re.findall(r"<h2>(.*?)</h2>", document)


def test_the_page_shows_the_answer_then_how_it_was_found():
    document = page(searched(), title="Search on toy", command=COMMAND)
    found = text_of(document)
    assert found.startswith(f"What should I use on toy? Use {MILD} : +10.0 [+9.2, +10.8] on the worst task")
    order = ["Change from equal weights", "On fresh seeds", "The search", "Leaderboard", "By task"]
    assert sections_of(document)[:5] == order
    assert f"{MILD} +9.0 ± 0.0 +10.0 ± 0.6 +10.0 ± 0.4 +9.8 +0.0 ± 0.1 winner" in found
    figures = json.loads(document.partition('id="figures">')[2].partition("</script>")[0])
    looks = [
        {trace.get("name"): trace["marker"]["color"] for trace in figures[name]["data"]} for name in ("tradeoff", "path")
    ]
    assert looks[0][MILD] == looks[1][MILD] != looks[1]["famo"]
    assert -0.5 in [shape["x0"] for shape in figures["tradeoff"]["layout"]["shapes"]], "what may be lost"
    links = re.findall('<a [^>]*href="#(.*?)">', document)
    assert {"fresh", "search", "measured"} <= set(links) <= set(re.findall(r' id="(.*?)"', document))


@pytest.mark.parametrize("ended", [1, 5, 16, 40])
def test_an_unfinished_search_claims_nothing(ended):
    document = page(searched(ended=ended), title="Search on toy", command=COMMAND, missing=5)
    found = text_of(document)
    assert not re.search(r"\bUse\b|Keep equal", found)
    assert "The same command continues; finished runs are kept." in found
    assert COMMAND in found
    assert "nan" not in found


def test_all_forms_have_the_path_and_the_fresh_seeds():
    comparison = Comparison([searched()], title="Search on toy", plan=search_plan(CANDIDATES))
    # over six seeds s² = 4/5 and the standard error is √(s²/6) = .365, half of which is below the lower bound
    path, chosen = f"{MILD} | +9.0 ± 0.0 | +10.0 ± 0.6 | +10.0 ± 0.4 | +9.8 | +0.0 ± 0.1 | winner |", f"Use `{MILD}`: +10.0"
    written = exports.md(comparison)
    assert f"| {path}" in written
    assert f"| {MILD} | +10.0 [+9.2, +10.8] | +0.0 [−0.3, +0.3] |" in written
    assert written.count(chosen) == 2  # as the answer, and before the tests
    tables = exports.tex(comparison)
    assert path.replace("|", "&").replace("±", r"$\pm$").removesuffix(" &") in tables
    html = comparison._repr_html_()
    assert "<script" not in html
    assert all(text in html for text in (f">{MILD}</th>", "+10.0 ± 0.4", "hardfirst train toy --balancer"))
    frame = pd.read_csv(io.StringIO(exports.csv(comparison))).set_index(["row", "kind", "method"])
    assert frame.loc[("worst", "objective", MILD), ["n", "difference"]].tolist() == [7, pytest.approx(10)]
    low, high = frame.loc[("rung 3: worst", "rung", MILD), ["difference_low", "difference_high"]]
    assert (round(low, 1), round(high, 1)) == (9.8, 10.2)
    assert len(frame.query("kind == 'rung'")) == 2 * (5 + 2 + 2)


def test_json_has_the_whole_search():
    content = json.loads(exports.json(Comparison([searched()], plan=search_plan(CANDIDATES))))["cases"][0]
    found = content["search"]
    assert (found["objective"], found["keep"], found["winner"], found["recommended"]) == ("worst", ["mean:0.5"], MILD, True)
    assert found["paste"]["spec"] == MILD
    assert found["rungs"][1] == {"rung": 2, "seeds": 3, "candidates": [MILD, "famo"], "ended": 4, "runs": 4}
    assert [each["candidate"] for each in found["candidates"]] == [MILD, "famo", DTP, "dwa", LOST]
    assert found["candidates"][-1]["rungs"][0]["gain"] is None
    assert found["fresh_seeds"][DTP]["objective"]["mean"] == pytest.approx(15)
    assert content["notes"][0] == "What is maximised: the worst task."
    assert found["runs"][-1]["validation"]["worst"] == pytest.approx(42)  # the rival of the last rung, with the sixth seed
    early = json.loads(exports.json(Comparison([searched(ended=2)])))["cases"][0]["search"]
    assert (early["decided"], early["winner"], early["recommended"], early["rungs"]) == (False, None, None, [])


def test_a_folder_is_read_as_it_was_written(tmp_path):
    entries, runs = search_runs(CANDIDATES, FRESH, ended=16)
    Store(tmp_path).begin()
    for each in runs:
        record = each.record
        lines = [
            {"kind": "trial", "schema": 1, "trial": record.trial, "tasks": record.tasks, "made_with": record.made_with},
            *({"kind": "epoch", "learning_rate": 0.01, **line} for line in record.epochs),
            {"kind": "end", "outcome": record.outcome, "reason": record.reason, "seconds": 1.0, "memory": None},
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        StudyFolder(tmp_path).record_file(each.entry.key).write_text(text)
    cases = [CaseTrials(problem="toy", network="own", trials=entries)]
    plan = search_plan(CANDIDATES)
    Store(tmp_path).describe(Description(title="Search on toy", command=COMMAND, cases=cases, plan=plan, kind="search"))
    comparison = Comparison.read(tmp_path)
    assert comparison.missing == 2
    assert comparison.verdict == ["Still searching: rung 2 of 3 with 2 of 5 candidates, 2 of 4 runs."]
    assert comparison.cases[0].search.rungs == searched(ended=16).search.rungs
    plan["search"] = "worts"
    Store(tmp_path).describe(Description(title="Search on toy", command=COMMAND, cases=cases, plan=plan, kind="search"))
    with pytest.raises(InputError, match="Unknown task 'worts'"):
        Comparison.read(tmp_path)
