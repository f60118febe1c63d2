"""Seeds a workspace worth looking at, once, and says how to sign in."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from campaigns.demo.workspace import EMAIL, NAME, password_file, seed


class Command(BaseCommand):
    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        made = seed()
        self.stdout.write(f"The demo workspace “{NAME}” {'was made' if made else 'is there already; nothing changed'}.")
        self.stdout.write(f"Sign in to it at {settings.SITE_URL}/")
        self.stdout.write(f"  E-mail:   {EMAIL}")
        self.stdout.write(f"  Password: {self.password()}")

    def password(self) -> str:
        try:
            return password_file().read_text().splitlines()[1]
        except (OSError, IndexError):
            return f"its file is gone; set another with `./manage.py changepassword {EMAIL}`"
