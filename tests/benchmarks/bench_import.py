"""Rows a second and peak memory of an import, on a durable PostgreSQL of its own.

`python -m tests.benchmarks.bench_import [--rows 1000000] [--again]`: a file of which 1 % is bad and 2 % repeats a
number is uploaded, imported by a worker process of its own, and with `--again` imported once more.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import random
import resource
import secrets
import time
from collections.abc import Iterator

from config.embedded import temporary_servers

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


def run_once(rows: int) -> None:
    from accounts.models import Workspace
    from campaigns.models import ContactImport, ImportState
    from tests.factories import make_import, make_workspace

    workspace = Workspace.objects.first() or make_workspace()
    began = time.perf_counter()
    contact_import = make_import(workspace, GeneratedFile(rows))
    uploaded = time.perf_counter() - began
    spawn = multiprocessing.get_context("spawn")
    result: multiprocessing.Queue[tuple[float, float]] = spawn.Queue()
    worker = spawn.Process(target=work, args=(contact_import.pk, result))
    worker.start()
    seconds, megabytes = result.get()
    worker.join()
    done = ContactImport.objects.get(pk=contact_import.pk)
    assert done.state == ImportState.DONE, done.error
    reading = (done.read_at - done.started_at).total_seconds() if done.read_at and done.started_at else 0
    print(  # noqa: T201
        f"{done.rows_done:,} rows, {done.size / 1e6:.0f} MB: upload {uploaded:.1f} s, import {seconds:.1f} s "
        f"(reading {reading:.1f} s), {done.rows_done / seconds:,.0f} rows/s, peak {megabytes:.0f} MB; "
        f"accepted {done.accepted:,} rejected {done.rejected:,} created {done.created:,} "
        f"updated {done.updated:,} unchanged {done.unchanged:,}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--again", action="store_true")
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
        for _ in range(2 if options.again else 1):
            run_once(options.rows)
        connections.close_all()


if __name__ == "__main__":
    main()
