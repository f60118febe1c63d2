"""What monitoring keeps in memory is forgotten between its tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    from monitoring import metrics, totals
    from monitoring.checkup import database
    from monitoring.checkup.watch import watch

    def forget() -> None:
        for thing in (metrics.forget, totals.forget, database.forget_books, watch.forget):
            thing()

    forget()
    yield
    forget()


@pytest.fixture
def no_database(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A database address where nothing listens."""
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "HOST", "/nowhere")
    yield
    monkeypatch.undo()
    connection.close()
