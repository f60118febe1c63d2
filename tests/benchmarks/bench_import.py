"""Rows a second and peak memory of an import, on a durable PostgreSQL of its own.

`python -m tests.benchmarks.bench_import [--rows 1000000] [--again] [--kill 10 50 90 [--crash]]`: a file of which 1 %
is bad and 2 % repeats a number is uploaded, imported by a worker process of its own, and with `--again` imported once
more. With `--kill` another workspace imports it, too: its worker is killed where so many percent are done (half is
reading, half saving) and another one goes on; with `--crash` PostgreSQL is killed as well and recovers. In the end both
workspaces must have the same people and figures.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import random
import resource
import secrets
import signal
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from config.embedded import temporary_servers

if TYPE_CHECKING:
    from accounts.models import Workspace
    from campaigns.models import ContactImport

HEADER = "Full Name,Phone No.,City,Tags\r\n"
CITIES = ["Kuala Lumpur", "São Paulo", "Lagos", '"line\nbreak"', ""]
TAGS = ["vip;new", "COLD", "ไทย", ""]


class GeneratedFile(io.RawIOBase):
    """The file as a stream, so that making it costs no memory."""

    def __init__(self, rows: int, seed: int = 1) -> None:
        self._lines = generated_lines(rows, seed)
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        parts = [self._rest]
        length = len(self._rest)
        while length < size and (line := next(self._lines, None)) is not None:
            parts.append(line)
            length += len(line)
        data = b"".join(parts)
        self._rest = data[size:]
        return data[:size]


def generated_lines(rows: int, seed: int) -> Iterator[bytes]:
    rng = random.Random(seed)
    yield HEADER.encode()
    for i in range(rows):
        n = rng.randrange(i) if i and i % 50 == 0 else i
        phone = "6.01E+10" if i % 100 == 7 else rng.choice(PHONES).format(a=200 + n // 10_000 % 800, b=n % 10_000)
        yield f"Person {i},{phone},{rng.choice(CITIES)},{rng.choice(TAGS)}\r\n".encode()


PHONES = ["012-{a:03}{b:04}", "+6013{a:03}{b:04}", "  +60 14-{a:03} {b:04} ", "0060 16 {a:03}{b:04}"]


def work(import_id: int, result: multiprocessing.Queue[tuple[float, float]]) -> None:
    """What the worker process does; its own start-up counts in its memory but not in its time."""
    import django

    django.setup()
    from campaigns.actions.importing import work_on_import

    began = time.perf_counter()
    work_on_import(import_id, turn=3600)
    result.put((time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def run_once(workspace: Workspace, rows: int, kills: Sequence[int] = (), crash: bool = False) -> ContactImport:
    from campaigns.models import ContactImport, ImportState
    from tests.factories import make_import

    began = time.perf_counter()
    contact_import = make_import(workspace, GeneratedFile(rows))
    uploaded = time.perf_counter() - began
    spawn = multiprocessing.get_context("spawn")
    result: multiprocessing.Queue[tuple[float, float]] = spawn.Queue()
    for percent in (*kills, 0):
        worker = spawn.Process(target=work, args=(contact_import.pk, result))
        worker.start()
        if percent:
            kill_at(percent, worker, contact_import.pk, crash)
    seconds, megabytes = result.get()
    worker.join()
    done = ContactImport.objects.get(pk=contact_import.pk)
    assert done.state == ImportState.DONE, done.error
    reading = (done.read_at - done.started_at).total_seconds() if done.read_at and done.started_at else 0
    if kills and done.finished_at and done.started_at:
        seconds = (done.finished_at - done.started_at).total_seconds()
    print(  # noqa: T201
        f"{done.rows_done:,} rows, {done.size / 1e6:.0f} MB: upload {uploaded:.1f} s, import {seconds:.1f} s "
        f"(reading {reading:.1f} s), {done.rows_done / seconds:,.0f} rows/s, peak {megabytes:.0f} MB; "
        f"accepted {done.accepted:,} rejected {done.rejected:,} created {done.created:,} "
        f"updated {done.updated:,} unchanged {done.unchanged:,}"
    )
    return done


def kill_at(percent: int, worker: multiprocessing.process.BaseProcess, import_id: int, crash: bool) -> None:
    from django.db import OperationalError, connection

    while percent_done(import_id) < percent:
        assert worker.is_alive(), "the import ended before"
        time.sleep(0.02)
    if crash:  # a backend that dies so ends all others: PostgreSQL forgets its memory and reads its log
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            os.kill(cursor.fetchone()[0], signal.SIGKILL)
    worker.kill()
    worker.join()
    began = time.perf_counter()
    kept = None
    while kept is None:
        try:
            kept = percent_done(import_id)
        except OperationalError:
            connection.close()
            time.sleep(0.05)
    print(f"killed at {percent} %, {kept:.1f} % is kept, known after {time.perf_counter() - began:.1f} s")  # noqa: T201


def percent_done(import_id: int) -> float:
    from campaigns.models import ContactImport

    found = ContactImport.objects.get(pk=import_id)
    return 50 * found.bytes_done / found.size + (50 * found.saved / found.contacts if found.read_at else 0)


PEOPLE_SQL = """
SELECT c.phone, c.name, c.fields, c.status, c.timezone,
       (SELECT array_agg(t.name ORDER BY t.name) FROM campaigns_contacttag l JOIN campaigns_tag t ON t.id = l.tag_id
        WHERE l.contact_id = c.id),
       (SELECT count(*) FROM campaigns_consententry e WHERE e.contact_id = c.id AND e.contact_import_id = %s)
FROM campaigns_contact c WHERE c.workspace_id = %s
"""
REJECTS_SQL = "SELECT row, line, reason, cells FROM campaigns_importreject WHERE contact_import_id = %s"


def assert_same(first: ContactImport, second: ContactImport) -> None:
    """What an import left behind, the rows it refused and its figures."""
    from django.db import connection

    from campaigns.models import ImportChunk, ImportRow

    figures = ("rows_done", "accepted", "rejected", "contacts", "created", "updated", "unchanged", "kept_out")
    assert [getattr(first, name) for name in figures] == [getattr(second, name) for name in figures]
    with connection.cursor() as cursor:
        for sql, one, other in (
            (PEOPLE_SQL, [first.pk, first.workspace_id], [second.pk, second.workspace_id]),
            (REJECTS_SQL, [first.pk], [second.pk]),
        ):
            cursor.execute(
                f"SELECT count(*) FROM (({sql} EXCEPT ALL {sql}) UNION ALL ({sql} EXCEPT ALL {sql})) d",
                one + other + other + one,
            )
            assert cursor.fetchone() == (0,), sql
    assert not ImportRow.objects.exists()
    assert not ImportChunk.objects.exists()
    print("the killed import left the same people, tags, consents, refused rows and figures")  # noqa: T201


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--kill", type=int, nargs="+", default=[], metavar="PERCENT")
    parser.add_argument("--crash", action="store_true")
    options = parser.parse_args()
    with temporary_servers() as urls:
        os.environ.update(
            urls, DJANGO_SETTINGS_MODULE="config.settings", SECRET_KEY=secrets.token_urlsafe(32), ENV_FILE=""
        )
        import django

        django.setup()
        from django.core.management import call_command
        from django.db import connections

        call_command("migrate", verbosity=0)
        from tests.factories import make_workspace

        workspace = make_workspace()
        calm = run_once(workspace, options.rows)
        if options.again:
            run_once(workspace, options.rows)
        if options.kill:
            assert_same(calm, run_once(make_workspace(), options.rows, options.kill, options.crash))
        connections.close_all()


if __name__ == "__main__":
    main()
