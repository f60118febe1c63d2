"""What meters cost: counting, writing, publishing, rolling up and reading, for thousands of devices.

`python -m tests.benchmarks.bench_meters [--devices 3000] [--rounds 10]`: medians, each with the computing of this
process alone; durable PostgreSQL.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

from config.embedded import temporary_servers

Took = dict[str, list[tuple[float, float]]]


@contextmanager
def timed(took: Took, what: str) -> Iterator[None]:
    began, computing = time.perf_counter(), time.process_time()
    yield
    took[what].append((time.perf_counter() - began, time.process_time() - computing))


def make_devices(devices: int) -> list[Any]:
    from devices.models import Device
    from tests.factories import make_workspace

    workspaces = [make_workspace() for _ in range(-(-devices // 15))]
    made = [Device(workspace=workspaces[number // 15], name=f"Device {number}") for number in range(devices)]
    return Device.objects.bulk_create(made)


async def rounds_of(owned: list[Any], rounds: int) -> Took:
    from asgiref.sync import sync_to_async

    from campaigns.actions.meters import roll_up_or_raise
    from campaigns.metering import Metering
    from campaigns.meters import live_meters
    from devices.hosting.leases import Lease

    took: Took = defaultdict(list)
    meters = Metering(Lease("here", 1))
    ids = [device.pk for device in owned]
    moved = [(device, "sent", 80) for device in ids]
    delivered = [(device, 0, 1) for device in ids]
    clock, real = [time.time()], time.time
    time.time = lambda: clock[0]
    roll: Callable[[], Awaitable[int]] = sync_to_async(lambda: roll_up_or_raise(all_of_it=True))
    for _ in range(rounds):
        for minute in ("a minute's first", "a minute's second"):
            with timed(took, "a message and a receipt for each are counted"):
                meters.settled(moved)
                meters.receipted(delivered)
            with timed(took, "all are written to Redis"):
                counted = await meters.write()
            with timed(took, f"{minute} roll-up of all"):
                await roll()
            clock[0] += 1
        with timed(took, "a beat is published"):
            await meters._publish(counted, ids, dict)
        with timed(took, "all are read, most from PostgreSQL"):
            await sync_to_async(live_meters)(owned)
        clock[0] += 60
    time.time = real
    for _ in range(3):
        for beginning in range(0, len(ids), 200):
            await meters._publish(set(ids[beginning : beginning + 200]), [], dict)
        with timed(took, "all are read from Redis"):
            await sync_to_async(live_meters)(owned)
    meters.close()
    return took


def run_all(devices: int, rounds: int) -> None:
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", verbosity=0)
    owned = make_devices(devices)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    for what, found in asyncio.run(rounds_of(owned, rounds)).items():
        whole, own = (1_000 * median(column) for column in zip(*found, strict=True))
        print(f"{what}: {whole:,.1f} ms, of that computing here {own:,.1f} ms")  # noqa: T201


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--devices", type=int, default=3_000)
    options.add_argument("--rounds", type=int, default=10)
    asked = options.parse_args()
    with temporary_servers() as urls:
        os.environ.update(urls, SECRET_KEY=secrets.token_urlsafe(48), DJANGO_SETTINGS_MODULE="config.settings")
        run_all(asked.devices, asked.rounds)


if __name__ == "__main__":
    main()
