"""`manage.py audit`: is every message accounted for? Exit 1 when not."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connection, transaction

from monitoring.invariants import audit, is_clean


class Command(BaseCommand):
    help = "Count every campaign's messages anew and look for what must never be. Exit 1 when something is wrong."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object on one line")

    def handle(self, *args: Any, **options: Any) -> None:
        with transaction.atomic():
            with connection.cursor() as cursor:  # one snapshot, or sending between two queries would look like drift
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            result = audit()
        if options["json"]:
            self.stdout.write(json.dumps(result))
        else:
            self._tell(result)
        if not is_clean(result):
            raise SystemExit(1)

    def _tell(self, result: dict[str, Any]) -> None:
        for campaign in result["campaigns"]:
            counts = ", ".join(f"{count:,} {state}" for state, count in campaign["counts"].items() if count)
            self.stdout.write(
                f"{campaign['name']} ({campaign['state']}): {campaign['recipients']:,} people: {counts or 'none yet'}"
                + (f", DRIFT {campaign['drift']:,}" if campaign["drift"] else "")
            )
        self.stdout.write(
            f"In all {result['recipients']:,} people, drift {result['drift']}, {result['open_attempts']} in flight."
        )
        for violation in result["violations"]:
            self.stdout.write(f"{violation['what']}: {violation['count']} ({', '.join(violation['which'])})")
