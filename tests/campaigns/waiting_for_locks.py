"""Two transactions in a fixed order: the second one begins while the first one holds its locks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from django.db import connection, transaction

PATIENCE_S = 10.0


def while_held(first: Callable[[], object], second: Callable[[], object]) -> None:
    """Run ``first`` in a transaction and ``second`` beside it; commit when ``second`` waits for a lock of ``first``."""

    def work() -> None:
        try:
            second()
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    with transaction.atomic():
        first()
        thread.start()
        deadline = time.monotonic() + PATIENCE_S
        while not someone_waits():
            assert thread.is_alive(), "the second did not wait for the first"
            assert time.monotonic() < deadline
            time.sleep(0.01)
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def crosswise(locks: Sequence[Callable[[], object]], work: Callable[[], object]) -> None:
    """Take the first lock, begin ``work``, take the others once it waits, and commit."""
    errors: list[Exception] = []

    def run() -> None:
        try:
            work()
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    with transaction.atomic():
        locks[0]()
        thread.start()
        done = threading.Event()
        while not someone_waits():
            assert thread.is_alive(), errors
            done.wait(0.01)
        for lock in locks[1:]:
            lock()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert not errors


def someone_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
            " WHERE NOT l.granted AND a.datname = current_database()"
        )
        return bool(cursor.fetchone()[0])
