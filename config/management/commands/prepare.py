"""`manage.py prepare`: what has to be done between starting the servers and starting the programs."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser
from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor

from accounts.masking import mask_url
from accounts.setup import first_account_url


class Command(BaseCommand):
    help = "Migrate, collect the static files, and say how to make the first account."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--demo", action="store_true", help="also seed a workspace worth looking at")

    def handle(self, *args: Any, demo: bool, **options: Any) -> None:
        self.wait_for_database()
        self.migrate()
        self.collect_static_files()
        if demo:
            call_command("seed_demo", stdout=self.stdout)
        if link := first_account_url(settings.SITE_URL):
            self.stdout.write(f"Nobody can administer this installation yet. Make the first account here, once: {link}")

    def wait_for_database(self) -> None:
        told = False
        while True:
            try:
                connection.ensure_connection()
            except OperationalError:
                if not told:
                    self.stderr.write(f"Waiting for PostgreSQL at {mask_url(settings.DATABASE_URL)} …")
                told = True
                time.sleep(1)
            else:
                return

    def migrate(self) -> None:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            with connection.cursor() as cursor:
                cursor.execute("SET statement_timeout = 0")  # building an index on millions of rows takes its time
            call_command("migrate", interactive=False, verbosity=0)

    def collect_static_files(self) -> None:
        """Only when a source file or the packages changed: naming every file by its content takes seconds."""
        if not settings.STATIC_MANIFEST:
            return
        stamp, now = Path(settings.STATIC_ROOT) / ".sources", sources_stamp()
        if not stamp.exists() or stamp.read_text() != now:
            call_command("collectstatic", interactive=False, verbosity=0, clear=True)
            stamp.write_text(now)


def sources_stamp() -> str:
    """A hash over the path, size and time of every static source file."""
    digest = hashlib.sha256()
    for finder in get_finders():
        for name, storage in finder.list([]):
            entry = Path(storage.path(name)).stat()
            digest.update(f"{name} {entry.st_size} {entry.st_mtime_ns}\n".encode())
    return digest.hexdigest()
