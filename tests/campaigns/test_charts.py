"""Where bars and columns stand."""

from __future__ import annotations

import pytest
from django.template.loader import render_to_string

from campaigns.charts import Series, columns, round_up, width_of


@pytest.mark.parametrize(
    ("count", "top"),
    [(0, 2), (1, 2), (3, 4), (5, 6), (9, 10), (10, 10), (11, 20), (99, 100), (101, 200), (1_000_000, 1_000_000)],
)
def test_an_axis_ends_at_a_number_that_reads_well(count: int, top: int) -> None:
    assert round_up(count) == top


def test_something_is_never_drawn_as_nothing() -> None:
    assert width_of(0, 10) == 0
    assert width_of(1, 1_000_000) == 0.3
    assert width_of(12, 10) == 100
    assert width_of(3, 0) == 0


def test_columns_stand_on_the_ground_and_side_by_side() -> None:
    chart = columns("Sent", ["a", "b"], [Series("sent", "Sent", [4, 0]), Series("read", "Read", [2, 1])])
    assert (chart.top, chart.width, chart.height) == (4, 20, 100)
    assert [(one.key, one.x, one.y, one.height) for one in chart.columns] == [
        ("sent", 1.0, 0.0, 100.0),
        ("read", 5.0, 50.0, 50.0),
        ("read", 15.0, 75.0, 25.0),
    ]
    assert chart.rows == [("a", [(4, ""), (2, "")]), ("b", [(0, ""), (1, "")])]


def test_a_line_to_compare_with_is_drawn_over_the_columns_and_stands_in_the_table() -> None:
    chart = columns("Sent", ["a", "b"], [Series("sent", "Sent", [4, 0])], Series("before", "Before", [8, 2]))
    assert (chart.top, chart.points) == (8, "5.0,0.0 15.0,75.0")
    assert chart.rows == [("a", [(4, ""), (8, "")]), ("b", [(0, ""), (2, "")])]
    html = render_to_string("components/charts/_columns.html", {"chart": chart, "row_word": "Day"})
    assert '<polyline class="chart-before" points="5.0,0.0 15.0,75.0">' in html
    assert html.count("Before") == 2
    assert not columns("", ["a"], [Series("sent", "Sent", [0])], Series("before", "Before", [1])).is_empty


def test_few_of_many_labels_are_written() -> None:
    hours = [str(hour) for hour in range(24)]
    chart = columns("", hours, [Series("sent", "Sent", [1] * 24)])
    assert [label for label in chart.axis if label] == ["0", "4", "8", "12", "16", "20"]
    assert len(chart.axis) == 24
    assert columns("", [], []).axis == []
    weeks = [f"from {day} Nov" for day in range(10, 22)]
    assert [label for label in columns("", weeks, []).axis if label] == ["from 10 Nov", "from 14 Nov", "from 18 Nov"]


def test_the_drawing_needs_no_style_of_its_own_and_has_its_numbers_as_a_table() -> None:
    chart = columns("Sent by hour", ["<a>"], [Series("sent", "Sent", [1234], ["/x?a=1&b=2"])])
    html = render_to_string("components/charts/_columns.html", {"chart": chart, "row_word": "Hour"})
    assert "style=" not in html
    assert "<caption" in html
    assert "Sent by hour" in html
    assert '<a href="/x?a=1&amp;b=2">1,234</a>' in html
    assert "&lt;a&gt;" in html
