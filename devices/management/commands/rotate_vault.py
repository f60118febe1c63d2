"""`manage.py rotate_vault`: seals the stored copies of sessions with the first of VAULT_KEYS."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from devices.hosting.sealing import BadKeys, Seal
from devices.hosting.vault import renew_all


class Command(BaseCommand):
    help = "Seal every stored copy of a session with the first of VAULT_KEYS; afterwards the others can go."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            seal = Seal(settings.VAULT_KEYS)
        except BadKeys as problem:
            raise CommandError(f"{problem}.", returncode=2) from None
        renewed, failed = renew_all(seal)
        self.stdout.write(f"Sealed with the first key: {renewed}.")
        if failed:
            raise CommandError(
                f"Cannot be opened with any of VAULT_KEYS: {failed}. Find their key before you drop any."
            )
