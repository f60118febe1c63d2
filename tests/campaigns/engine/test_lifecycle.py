"""The table of moves is the diagram that docs/engine.md shows."""

from __future__ import annotations

import re
from pathlib import Path

from campaigns.engine.lifecycle import DELIVERED, MESSAGE_MOVES, READ

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "engine.md"


def test_the_table_of_moves_is_the_diagram_of_the_document() -> None:
    drawn = set(re.findall(r"^    (\w+) --> (\w+):", DOCUMENT.read_text(), re.MULTILINE))
    drawn |= {(origin, READ) for origin, target in drawn if target == DELIVERED}
    assert drawn == {(origin, target) for origin, targets in MESSAGE_MOVES.items() for target in targets}
