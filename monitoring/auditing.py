"""The whole audit of the ledger now and then, its result kept for the status page."""

from __future__ import annotations

import time

from django.db import connection, transaction
from django.utils import timezone

from monitoring.invariants import audit
from monitoring.models import Kept

LONGEST_MS = 300_000
WHICH = 3


def audit_and_keep() -> None:
    """Reads every message: rarely. Keeps ``{"drift", "violations": [{"what", "count", "which"}], "seconds"}``."""
    started = time.monotonic()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = {LONGEST_MS}")
        found = audit()
    value = {
        "drift": sum(abs(campaign["drift"]) for campaign in found["campaigns"]),
        "violations": [{**wrong, "which": wrong["which"][:WHICH]} for wrong in found["violations"]],
        "seconds": round(time.monotonic() - started, 1),
    }
    Kept.objects.update_or_create(name="audit", defaults={"at": timezone.now(), "value": value})
