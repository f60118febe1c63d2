"""Prints the link that makes the first account, or nothing once there is one."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from accounts.setup import first_account_url


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--base", default="", help="Where the site is reached, such as http://localhost:8000")

    def handle(self, *args: Any, base: str, **options: Any) -> None:
        if url := first_account_url(base):
            self.stdout.write(url)
