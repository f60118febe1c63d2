"""Charts as plain numbers for SVG: where each bar and column stands. Templates in `components/charts` draw them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

HEIGHT = 100.0
COLUMN = 10.0  # width of the place of one label, gap included
GAP = 0.2  # of that place
LABELS, SHORT = 6, 6  # more labels than six of as many letters would run into each other on a phone


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of a bar chart. ``width`` in hundredths of the whole; ``key`` picks its colour."""

    key: str
    word: str
    count: int
    width: float
    url: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """Numbers that share a colour; ``urls`` lead to the rows behind each."""

    key: str
    word: str
    counts: Sequence[int]
    urls: Sequence[str] = ()

    @property
    def total(self) -> int:
        return sum(self.counts)


@dataclass(frozen=True, slots=True)
class Column:
    key: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Columns:
    """A column chart: for each label one column a series. ``top`` is the number at its upper edge.

    ``line`` is drawn over the columns, to compare with.
    """

    title: str
    labels: Sequence[str]
    series: Sequence[Series]
    top: int
    width: float
    columns: list[Column] = field(default_factory=list)
    line: Series | None = None

    @property
    def points(self) -> str:
        """Of the line, as SVG writes them: each in the middle of its label's place."""
        counts = self.line.counts if self.line else ()
        return " ".join(
            f"{round((at + 0.5) * COLUMN, 3)},{round(HEIGHT * (1 - count / self.top), 3)}"
            for at, count in enumerate(counts)
        )

    @property
    def drawn(self) -> list[Series]:
        """All that has numbers: the columns' series, then the line's."""
        return [*self.series, *([self.line] if self.line else [])]

    @property
    def height(self) -> float:
        return HEIGHT

    @property
    def half(self) -> float:
        return self.top / 2

    @property
    def axis(self) -> list[str]:
        """The labels as they stand below the columns: where there are many, some places stay empty."""
        are_short = max(map(len, self.labels), default=0) <= SHORT
        step = math.ceil(len(self.labels) / (LABELS if are_short else LABELS // 2)) if self.labels else 1
        return [label if place % step == 0 else "" for place, label in enumerate(self.labels)]

    @property
    def rows(self) -> list[tuple[str, list[tuple[int, str]]]]:
        """The same as a table: for each label, (number, address) of each series."""
        return [
            (label, [(one.counts[place], one.urls[place] if one.urls else "") for one in self.drawn])
            for place, label in enumerate(self.labels)
        ]

    @property
    def is_empty(self) -> bool:
        return not any(one.total for one in self.drawn)


def width_of(count: int, whole: int) -> float:
    """In hundredths, three digits; something is never drawn as nothing."""
    if not whole or not count:
        return 0.0
    return max(0.3, min(100.0, round(100 * count / whole, 3)))


def columns(title: str, labels: Sequence[str], series: Sequence[Series], line: Series | None = None) -> Columns:
    compared = [*series, *([line] if line else [])]
    top = round_up(max((count for one in compared for count in one.counts), default=0))
    place = COLUMN * (1 - GAP) / max(1, len(series))
    drawn = [
        Column(one.key, round(at * COLUMN + COLUMN * GAP / 2 + nth * place, 3), round(HEIGHT - high, 3), place, high)
        for nth, one in enumerate(series)
        for at, count in enumerate(one.counts)
        if (high := round(HEIGHT * count / top, 3))
    ]
    return Columns(title, labels, series, top, len(labels) * COLUMN, drawn, line)


def round_up(count: int) -> int:
    """The next number that reads well at an axis and has a half: 2, 4, 10, 20, 40, 100 …"""
    power = 10 ** max(0, len(str(max(1, count))) - 1)
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= count and step * power > 1)
