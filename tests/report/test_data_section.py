"""The page's section on a table's data."""

from hardfirst.records.table_card import InputCard, LeftOutCard, MajorityCard, SplitsCard, TableCard, TargetCard
from hardfirst.report.blocks import Bullets, Paragraphs, Table
from hardfirst.report.sections.data import section

LABELS = {"train": 6000, "validation": 20, "test": 18}
CARD = TableCard(
    file="homes.csv",
    format="UTF-8 with commas",
    rows=10000,
    splits=SplitsCard(how="by column part", train=6000, validation=2000, test=2000),
    inputs=[InputCard(name=f"x{number}", kind="number", inputs=1) for number in range(22)],
    width=22,
    left_out=[LeftOutCard(name="id", reason="the rows' numbers")],
    targets=[
        TargetCard(
            name="price", kind="regression", guessed=True, kpi="R²", why="the default", labels=LABELS, mean=3, deviation=2
        ),
        TargetCard(
            name="sold",
            kind="classification",
            guessed=False,
            kpi="AUC of 'yes'",
            why="95.0% of the training labels are 'no'",
            labels=LABELS,
            classes=["no", "yes"],
            majority=MajorityCard(label="no", share=0.951),
        ),
    ],
    notes=["Guessed: price is a regression."],
)


def test_the_section_says_how_a_table_was_read() -> None:
    paragraphs, targets, notes = section(CARD).blocks
    assert isinstance(paragraphs, Paragraphs)
    assert isinstance(targets, Table)
    assert isinstance(notes, Bullets)
    assert paragraphs.sentences[0].endswith(
        "6,000 for train, 2,000 for validation, 2,000 for test. They are split by column part."
    )
    assert paragraphs.sentences[1].startswith("22 columns are 22 inputs of the networks: x0, x1,")
    assert paragraphs.sentences[1].endswith("x19 and 2 more.")
    assert paragraphs.sentences[2] == "Left out: id (the rows' numbers)."
    price, sold = ([cell.text for cell in row.cells] for row in targets.rows)
    assert price == ["price", "regression", "6,000", "20", "18", "mean 3, off by 2", "R²"]
    assert sold[-2:] == ["'no', right in 95.1% of test; 2 classes", "AUC of 'yes'"]
    assert (targets.rows[0].cells[0].note, targets.rows[1].cells[-1].note) == (
        "guessed",
        "95.0% of the training labels are 'no'",
    )
    assert notes.sentences == ("Guessed: price is a regression.",)
