"""No cell of a file we give back is a formula, and each imports again as it was."""

from __future__ import annotations

import pytest

from campaigns.imports.mapping import clean
from campaigns.imports.neutral import neutral

FORMULA = "1+1"


@pytest.mark.parametrize("start", list("=+-@＝＋－＠"))  # noqa: RUF001 - Excel reads the wide ones as formulas too
def test_what_would_start_a_formula_is_text_and_comes_back(start: str) -> None:
    assert neutral(start + FORMULA) == f"'{start}{FORMULA}"
    assert clean(neutral(start + FORMULA)) == start + FORMULA


@pytest.mark.parametrize("blank", ["\t", "\r", "\n"])
def test_a_formula_behind_a_blank_is_text(blank: str) -> None:
    assert neutral(f"{blank}={FORMULA}").startswith("'")


def test_other_cells_stay_as_they_are() -> None:
    for cell in ("", "Ana", "'quoted'", "a=1", "٠١٢"):
        assert neutral(cell) == cell
