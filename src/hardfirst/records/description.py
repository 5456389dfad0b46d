"""The content of study.json: the study, and the role of each trial in it."""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from hardfirst.records.names import EQUAL, Role
from hardfirst.records.run_record import Record
from hardfirst.records.table_card import TableCard


class Entry(BaseModel):
    """The role of a trial in a study.

    Args:
        key: the name of its record.
        method: what it is a run of: a spec as the user wrote it, "single-task", "static weights (mean)", …
        role: "method" for what is compared, "static" for the static weights chosen from a grid, "grid" for a grid point that
            is shown as a reference, "single" for a single-task network, "control" for a variant of a method, "order" for one
            of many orders of tasks, or with `tuning` for the run that determines an order, "candidate" for a run by which a
            search decides.
        tuning: whether it only served to choose settings, and never saw the test split.
        control_of: for a control, the method that it is a variant of; None in older folders.
        constant_weights: whether the method is static weights given by the user.
        rung: of a search, the rung that the run is for, from 1; None for the runs before it and those on fresh seeds.
    """

    key: str = Field(pattern=r"^[\w-]*$")  # it becomes a file's name
    method: str
    role: Role = "method"
    tuning: bool = False
    control_of: str | None = None
    constant_weights: bool | None = None
    rung: int | None = None

    @property
    def shown(self) -> bool:
        """Whether the run alone makes a report: it is of what is compared, or of a search."""
        return self.role == "candidate" or (not self.tuning and self.role in ("method", "static"))

    @model_serializer(mode="wrap")
    def _without_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out unknown fields, so that study.json looks as it did before these fields existed."""
        return {name: value for name, value in handler(self).items() if value is not None}


class CaseTrials(BaseModel):
    """The trials of one problem and network, and the baseline that methods are compared with."""

    problem: str
    network: str
    trials: list[Entry]
    baseline: str = EQUAL


class Description(BaseModel):
    """The content of study.json.

    Args:
        title: what the study is, in words.
        command: what the user typed.
        cases: the trials of each problem and network.
        plan: what a YAML file of the study would hold.
        kind: the kind of study.
        tables: of each problem that is a table, by the problem's name, how it was read. Left out where there is none.
    """

    title: str
    command: str | None
    cases: list[CaseTrials]
    plan: dict[str, Any] = {}
    kind: str = "balancers"
    tables: dict[str, TableCard] = {}

    @model_serializer(mode="wrap")
    def _without_tables(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what no problem has: study.json then looks as it did before tables had a card."""
        return {name: value for name, value in handler(self).items() if name != "tables" or value}

    @model_validator(mode="before")
    @classmethod
    def _infer_kind(cls, content: Any) -> Any:
        """Infer the kind of study from a setting of the plan, as older folders store it."""
        if isinstance(content, dict) and "kind" not in content and isinstance(plan := content.get("plan"), dict):
            return content | {"kind": next((kind for kind in ("losses", "orders") if plan.get(kind)), "balancers")}
        return content


@dataclass(frozen=True)
class Run:
    """A record, and its role in the study."""

    entry: Entry
    record: Record
