"""Jobs of the timetable: looking at every part, auditing the ledger, forgetting what is old."""

from __future__ import annotations

from monitoring.auditing import audit_and_keep
from monitoring.checkup import history
from monitoring.checkup.look import look
from monitoring.totals import fold


def look_around() -> None:
    history.record(look())


def audit_ledger() -> None:
    audit_and_keep()


def tidy() -> None:
    fold()
    history.tidy()
