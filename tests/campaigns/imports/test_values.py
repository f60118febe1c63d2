"""Typed cells are read, or refused with a reason; never guessed."""

import pytest

from campaigns.imports import values
from campaigns.imports.mapping import BadRow, Column, Mapping, Role, guess_columns
from campaigns.imports.reader import Record


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (values.number, "12", "12"),
        (values.number, "-0.50", "-0.5"),
        (values.number, "1,234.50", "1234.5"),
        (values.number, "1,234,567", "1234567"),
        (values.number, "12,5", "12.5"),
        (values.number, "1 234", "1234"),
        (values.number, "6.01E+10", "60100000000"),
        (values.number, "-0", "0"),
        (values.day, "2026-01-31", "2026-01-31"),
        (values.day, "2026/01/31", "2026-01-31"),
        (values.day, "2026-01-31 09:30", "2026-01-31"),
        (values.day, "2026-01-31T09:30:00Z", "2026-01-31"),
        (values.day, "31/1/2026", "2026-01-31"),
        (values.day, "1/31/2026", "2026-01-31"),
        (values.day, "3.2.2026", "2026-02-03"),
        (values.day, "2/2/2026", "2026-02-02"),
        (values.yes_or_no, "Ya", "yes"),
        (values.yes_or_no, "FALSE", "no"),
        (values.status, "Customers", "customer"),
        (values.status, "lead", "prospect"),
    ],
)
def test_what_is_clear_is_read(read, text, value) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (values.number, "1,234"),
        (values.number, "1_000"),
        (values.number, "٣"),
        (values.number, "inf"),
        (values.number, "1e400"),
        (values.number, "twelve"),
        (values.day, "02/03/2026"),
        (values.day, "31.02.2026"),
        (values.day, "45321"),
        (values.day, "20260131"),
        (values.day, "soon"),
        (values.yes_or_no, "perhaps"),
        (values.status, "vip"),
    ],
)
def test_what_is_not_clear_is_refused(read, text) -> None:
    with pytest.raises(ValueError, match=r"^is n"):
        read(text)


def test_a_cell_that_is_no_such_thing_refuses_its_row() -> None:
    columns = [Column(Role.PHONE), Column(Role.FIELD, "age"), Column(Role.STATUS)]
    mapping = Mapping(columns, "MY", {"age": "number"})
    assert mapping.person(Record(1, 2, ["0123456789", "7.0", "Customer"], "")).fields == {"age": "7"}
    for cells, reason in [
        (["0123456789", "old", ""], r"The age “old” is not a number"),
        (["0123456789", "", "x"], "“x” is neither prospect"),
    ]:
        with pytest.raises(BadRow, match=reason):
            mapping.person(Record(1, 2, cells, ""))


def test_a_column_of_prospects_and_customers_is_recognised() -> None:
    rows = [["Phone", "Status", "Type"], ["0123456789", "Customer", "Shop"], ["0123456780", "prospect", ""]]
    assert [column.role for column in guess_columns(rows, True, "MY")] == [Role.PHONE, Role.STATUS, Role.FIELD]
