"""What a user should know of how a table was read: a card of plain data, and sentences about what was guessed."""


def table_notes(problem: str) -> list[str]:
    """Say how a table was read, where that is not plain from its targets."""
    return []
