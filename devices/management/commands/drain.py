"""`manage.py drain`: has a host give all its devices away, before its machine is retired."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from devices.hosting.retiring import left_with, retire, without_a_host

LOOK_S = 1.0


class Command(BaseCommand):
    help = "Have a running host hand all its devices over, with clean copies of their sessions, and wait until it has."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="", help="its id; without it, the host of this SESSIONS_DIR")
        parser.add_argument("--undo", action="store_true", help="let it take devices again")

    def handle(self, *args: Any, host: str, undo: bool, **options: Any) -> None:
        host_id = host or own_host()
        if not retire(host_id, retiring=not undo):
            raise CommandError(f"No running engine has the host id {host_id}.", returncode=2)
        if undo:
            self.stdout.write(f"Host {host_id} takes devices again.")
            return
        for driver in without_a_host(host_id):
            self.stdout.write(f"No other running engine serves {driver} devices: these wait until one does.")
        self._wait(host_id)
        self.stdout.write(f"Host {host_id} has no devices any more and takes none until it is started again.")

    def _wait(self, host_id: str) -> None:
        told = None
        while left := left_with(host_id):
            if left != told:
                self.stdout.write(f"{left} devices to hand over.")
                self.stdout.flush()
                told = left
            time.sleep(LOOK_S)
            if not retire(host_id):  # again and again: an engine that was started anew knows nothing of it
                raise CommandError(f"The engine of host {host_id} ended with {left} devices left.", returncode=2)


def own_host() -> str:
    try:
        return (Path(settings.SESSIONS_DIR) / "host.id").read_text().strip()
    except OSError:
        raise CommandError("This SESSIONS_DIR has no host.id: name the host with --host.", returncode=2) from None
