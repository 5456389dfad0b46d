"""The documents are right: their Python runs, their commands exist, their figure shows the library's numbers."""

import inspect
import pkgutil
import re
import runpy
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import typer

from hardfirst import DTP, functional
from hardfirst.cli import app
from hardfirst.studies import KINDS

ROOT = Path(__file__).parent.parent
MADE = ("docs/_", "docs/methods/cards/")  # pages that a build of the site leaves
SITE = sorted(page for page in ROOT.glob("docs/**/*.md") if not page.relative_to(ROOT).as_posix().startswith(MADE))
PAGES = [*(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY", "examples/README")), *SITE]


def _commands() -> Iterator[str]:
    """Every `hardfirst …` that a reader may copy; … and [brackets] stand for what the reader fills in."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        examples = re.findall(r"^\$ (hardfirst .*)$", text, re.MULTILINE)
        for command in [*examples, *re.findall(r"`(hardfirst [a-z][^`…]*)`", text)]:
            yield re.sub(r"\s+#.*", "", command.replace("\\|", "|"))


def _without_choices(command: str) -> str:
    """The command with its optional parts and the first of each set of alternatives."""
    return re.sub(r"(\w+)(\|\w+)+", r"\1", re.sub(r"[\[\]]", "", command))


@pytest.mark.parametrize("command", sorted(set(_commands())))
def test_a_command_in_the_documents_is_one(command: str) -> None:
    name, *words = shlex.split(_without_choices(command))
    node: Any = typer.main.get_command(app)
    context = node.make_context(name, [], resilient_parsing=True)
    while words and hasattr(node, "list_commands"):
        assert words[0] in node.list_commands(context)
        node = node.get_command(context, words.pop(0))
        try:
            context = node.make_context(node.name, list(words), parent=context)
        except Exception as error:
            # a sentence about an option may leave the problem out, and a group may be named alone
            if type(error).__name__ not in ("MissingParameter", "NoArgsIsHelpError"):
                raise
            return


def test_every_page_is_in_a_table_of_contents() -> None:
    listed = {
        (page.parent / name).resolve() for page in SITE for name in re.findall(r"^[\w/]+$", page.read_text("utf-8"), re.M)
    }
    decisions = ROOT / "docs/contributing/decisions"  # listed by a glob
    pages = {page.with_suffix("") for page in SITE if page.parent != decisions} - {ROOT / "docs/index"}
    assert pages <= listed


@pytest.mark.parametrize("page", [page for page in PAGES if page not in SITE], ids=lambda page: page.name)
def test_links_outside_the_site_lead_somewhere(page: Path) -> None:
    """Sphinx checks those of the site."""
    for target in re.findall(r"\]\(([^):]+)\)", page.read_text("utf-8")):
        path, _, heading = target.partition("#")
        assert (page.parent / path).exists(), f"{page.name} links {target}"
        if heading:
            headings = re.findall(r"^#+ (.*)$", (page.parent / path).read_text("utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings}, target


def _write_files(page: str, folder: Path) -> list[Path]:
    """Write the Python files that a page shows: blocks that begin with a comment of their name."""
    blocks = re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    for name, code in blocks:
        (folder / name).write_text(code, encoding="utf-8")
    return [folder / name for name, _ in blocks]


@pytest.mark.parametrize("page", [page for page in PAGES if ">>>" in page.read_text("utf-8")], ids=lambda page: page.stem)
def test_python_in_the_documents_gives_what_it_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import doctest

    _write_files(page.read_text("utf-8"), tmp_path)
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testfile(str(page), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert tried
    assert not failed


@pytest.mark.slow
def test_the_balancer_of_the_documents_is_compared(
    hardfirst: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _write_files((ROOT / "docs/guides/extending.md").read_text("utf-8"), tmp_path)[0]
    monkeypatch.setattr("hardfirst.cli._progress.LOG_EVERY", 0)
    assert "power: the exponent p" in hardfirst("list", "balancers", "my_methods.py:LossRank")
    study = ["digits", "--seeds", "1", "--epochs", "1", "--no-baselines", "--no-controls", "--out", "study"]
    methods = ["--balancers", "equal,my_methods.py:LossRank,my_methods.py:LossRank:power=2"]
    printed = hardfirst("compare", *study, *methods)
    assert "\nmy_methods.py:LossRank:power=2 " in printed
    assert re.search("[123] of 3 runs", printed), "a log file has a line now and then"

    file.write_text(file.read_text("utf-8") + "# a change\n", encoding="utf-8")
    assert "3 runs in study, 1 already done" in hardfirst("compare", *study, *methods), "the other method's run stays"

    file.unlink()
    assert "LossRank:power=2 " in hardfirst("report", "study"), "a report does not need the file"


def test_the_kind_of_study_of_the_documents_has_a_command(
    hardfirst: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _write_files((ROOT / "docs/guides/extending.md").read_text("utf-8"), tmp_path)[1]
    kind = runpy.run_path(str(file))["RateStudy"]
    monkeypatch.setitem(KINDS.plugins, "rates", None)
    monkeypatch.setitem(KINDS.loaded, "rates", kind)
    printed = hardfirst("study", "rates", "digits", "--seeds", "2", "--dry-run")
    assert re.search(r"│ × 0\.1 +│ +0 │ +2 │", printed)


def _documented() -> Iterator[tuple[str, str]]:
    """Every name in the API reference, with its documentation and that of its members."""
    for page in sorted(ROOT.glob("docs/reference/api/*.md")):
        module = ""
        directives = r"\.\. (currentmodule|auto\w+):: ([\w.]+)(\n   :members:)?"
        for directive, name, members in re.findall(directives, page.read_text("utf-8")):
            if directive == "currentmodule":
                module = f"{name}."
                continue
            target = pkgutil.resolve_name(name if name.startswith("hardfirst") else module + name)
            if directive == "automodule" and not members:
                continue
            names = _public(target) if directive == "automodule" else [""]
            for part in names:
                value = getattr(target, part) if part else target
                texts = [value, *vars(value).values()] if inspect.isclass(value) else [value]
                yield f"{name}.{part}".strip("."), "".join(inspect.getdoc(text) or "" for text in texts)


def _public(module: ModuleType) -> list[str]:
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
    return getattr(module, "__all__", [name for name in own if not name.startswith("_")])


# constants, errors, and small records whose fields say all
WITHOUT_EXAMPLE = {"MEASURED", "NETWORKS", "InputError", "MissingPackage"}


@pytest.mark.parametrize(("name", "text"), [pytest.param(*pair, id=pair[0]) for pair in _documented()])
def test_the_reference_has_an_example_of_everything(name: str, text: str) -> None:
    if name.rpartition(".")[2] not in WITHOUT_EXAMPLE:
        assert ">>>" in text or "Example:" in text, f"{name} has no example"


@pytest.mark.browser
def test_the_figure_of_the_idea_has_the_weights_of_the_library(browser: Any) -> None:
    page = browser.new_page()
    page.set_content((ROOT / "docs/_static/dtp.html").read_text("utf-8").replace('src="../_static/dtp.js"', ""))
    page.add_script_tag(path=str(ROOT / "docs/_static/dtp.js"))
    page.get_by_label("γ", exact=True).fill("2")
    page.get_by_label("κ̄ of task A").fill("0.05")
    balancer = DTP(["A", "B", "C"], gamma=2.0)
    balancer.update({"A": 0.05, "B": 0.6, "C": 0.9})
    weights = ", ".join(f"{task} {weight:.2f}" for task, weight in balancer.weights.items())
    assert page.locator("#dtp-tasks .result").inner_text() == f"Weights: {weights}. They sum to 3, the number of tasks."

    page.get_by_label("p of the example").fill("0.5")
    loss = functional.focal(-torch.tensor(0.5).log(), gamma=2.0)
    assert f"focal loss {loss:.3f}: 25.0% of it is left" in page.locator("#dtp-example .result").inner_text()
    page.close()
