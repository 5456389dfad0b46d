"""The section on reproduction: commands, the plan as a file, settings and versions."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from markupsafe import Markup

from hardfirst.report.blocks import Block, Code, Heading, Paragraphs, Section, Table, TableCell, TableRow, row, table
from hardfirst.report.model.case import Case, setting_text
from hardfirst.report.sections.runs import reported_runs

_OWN_ROWS = {"balancer", "seed", "only", "test"}  # settings that have separate rows, or no meaning here


def section(cases: Sequence[Case], command: str | None, plan: Mapping[str, Any]) -> Section:
    """The commands, the plan, and each case's settings."""
    blocks: list[Block] = [_commands(cases, command), *_plan(plan)]
    for case in cases:
        blocks += [Heading(case.name)] if len(cases) > 1 else []
        blocks.append(settings_table(case))
    return Section("Reproduce", tuple(blocks), anchor="reproduce", folded=True, short="Reproduce")


def _commands(cases: Sequence[Case], command: str | None) -> Block:
    recorded = {record.made_with.get("command") for case in cases for record in case.runs.values()}
    commands = [command] if command is not None else sorted(filter(None, recorded))
    if not commands:
        return Paragraphs(("The records hold no command: the runs were started from Python.",))
    return Code("\n".join(commands))


def _plan(plan: Mapping[str, Any]) -> list[Block]:
    if not plan:
        return []
    lead = Markup("The same study as a file, for <code>hardfirst compare study.yaml</code>:")
    return [Paragraphs((lead,)), Code(yaml.safe_dump(dict(plan), sort_keys=False, allow_unicode=True))]


def settings_table(case: Case) -> Table:
    """The trials' settings and the versions of the packages that ran them."""
    keys = sorted({key for record in case.method_runs for key, value in record.trial.items() if value is not None})
    rows = [row(key, [TableCell(_setting(case, key), breakable=True)]) for key in keys if key not in _OWN_ROWS]
    rows += _single_settings(case)
    rows.append(row("seed", [", ".join(map(str, case.seeds))]))
    rows.append(row("balancer", [TableCell("\n".join(_balancer(case, method) for method in case.methods), breakable=True)]))
    rows += [row(package, [text]) for package, text in versions(case).items()]
    return table("Settings", "Settings of the trials, and the versions that ran them.", ["Setting", "Value"], rows)


def _setting(case: Case, key: str) -> str:
    values = case.settings(key)
    if len(values) == 1:
        return next(iter(values))
    return "\n".join(f"{value} ({', '.join(methods)})" for value, methods in values.items())


def _single_settings(case: Case) -> list[TableRow]:
    """The learning rates of single-task networks, and their recipes where runs have several."""
    records = [*case.method_runs, *case.single.values()]
    recipes = {setting_text(record.trial.get("recipe")) for record in records}
    return [
        row(f"{key} of single-task networks", [text])
        for key in ("learning_rate", *(["recipe"] if len(recipes) > 1 else []))
        if (text := _by_task(case, key))
    ]


def _by_task(case: Case, key: str) -> str:
    """A setting of single-task networks, each value with its tasks if there are several."""
    tasks: dict[str, dict[str, None]] = {}
    for (task, _), record in case.single.items():
        tasks.setdefault(setting_text(record.trial.get(key)), {})[task] = None
    return "\n".join(value if len(tasks) == 1 else f"{value} ({', '.join(names)})" for value, names in tasks.items())


def _balancer(case: Case, method: str) -> str:
    """The method's name and, if that is something else, what ran."""
    specs = list(dict.fromkeys(record.trial["balancer"] for record in case.of(method)))
    if specs == [method]:
        return method
    if len(specs) > 1:
        return f"{method} ran with options of each seed's own, such as {specs[0]}"
    return f"{method} ran as {specs[0]}"


def versions(case: Case) -> dict[str, str]:
    """The versions of the packages that ran the trials."""
    counts: dict[str, Counter[str]] = {}
    for _, record in reported_runs(case):
        for package, version in record.made_with.get("versions", {}).items():
            counts.setdefault(package, Counter())[setting_text(version)] += 1
    return {package: _version_text(versions) for package, versions in sorted(counts.items())}


def _version_text(versions: Counter[str]) -> str:
    if len(versions) == 1:
        return next(iter(versions))
    return "; ".join(f"{version} ({count} runs)" for version, count in sorted(versions.items()))
