"""Milliseconds of Worker Status with thousands of devices, on a durable PostgreSQL of its own.

`python -m tests.benchmarks.bench_fleet_pages [--devices 3000] [--times 30]`: staff's pages over all workspaces and a
workspace's own, with meters, queues and a message on its way in a third of the devices.
"""

from __future__ import annotations

import argparse
import os
import secrets
from datetime import timedelta
from functools import partial
from typing import Any

from config.embedded import temporary_servers
from tests.benchmarks.bench_pages import BUDGET_MS, measured, say
from tests.benchmarks.busy_fleet import DEVICES_A_WORKSPACE

STATES = ("online",) * 40 + ("offline", "banned", "connecting")
STATUS = "/api/workers/status"
MINUTES = 6  # of meters, so that there is a last full one as long as this runs
PAGES = {
    "grid": "",
    "grid, one state": "?state=banned",
    "grid, searched": "?q=Number+12",
    "all as a frame": "?frame=1",
    "table": "?view=table",
    "table, far down": "?view=table&page=50",
    "table, by queue": "?view=table&sort=-queue",
    "table, by state": "?view=table&sort=state",
    "table, by day": "?view=table&sort=-day",
    "table, by time": "?view=table&sort=-time",
}
# What pages must not go through: the meters of an hour of minutes, a week of hours and 60 days.
HISTORY_SQL = """
INSERT INTO campaigns_{meter}meter (workspace_id, device_id, start, sent, failed, delivered, replied, time_ms, times)
SELECT d.workspace_id, d.id, date_trunc('{meter}', now(), w.timezone) - n * interval '1 {meter}', d.id %% 50, 0, 0, 0,
       d.id %% 50 * 800, ARRAY[0, 0, 0, 0, d.id %% 50, 0, 0, 0, 0, 0, 0, 0]
FROM generate_series({first}, {last}) n, devices_device d JOIN accounts_workspace w ON w.id = d.workspace_id
ON CONFLICT DO NOTHING
"""
HISTORY = (("minute", 5, 60), ("hour", 1, 168), ("day", 1, 60))


def fill(devices: int) -> Any:
    """Returns a workspace's owner."""
    from django.db import connection
    from django.utils import timezone

    from campaigns.last_minute import last_full_minute
    from campaigns.models import DayMeter, HourMeter, Lane, MinuteMeter, Stream
    from devices.models import Device
    from monitoring.totals import fold
    from tests.factories import make_campaign, make_host, make_workspace

    host, now = make_host(), timezone.now()
    owner = None
    for first in range(0, devices, DEVICES_A_WORKSPACE):
        workspace = make_workspace()
        owner = owner or workspace.owner
        made = Device.objects.bulk_create(
            Device(
                workspace=workspace, name=f"Number {n}", phone=f"+60{n:09d}", state=STATES[n % len(STATES)], owner=host
            )
            for n in range(first, min(devices, first + DEVICES_A_WORKSPACE))
        )
        campaign = make_campaign(workspace, state="running", launched_at=now)
        Stream.objects.bulk_create(
            Stream(
                workspace=workspace, campaign=campaign, device=device, lane=Lane.CAMPAIGN, running=True, pending=500,
                next_due=now,
            )
            for device in made
        )  # fmt: skip
        meters: tuple[tuple[Any, Any], ...] = (
            *((MinuteMeter, last_full_minute(now) + timedelta(minutes=after)) for after in range(MINUTES)),
            (HourMeter, now.replace(minute=0, second=0, microsecond=0)),
            (DayMeter, now.replace(hour=0, minute=0, second=0, microsecond=0)),
        )
        for model, start in meters:
            model.objects.bulk_create(
                model(workspace=workspace, device=device, start=start, sent=device.pk % 50, failed=device.pk % 3)
                for device in made
            )
    with connection.cursor() as cursor:
        for meter, first, last in HISTORY:
            cursor.execute(HISTORY_SQL.format(meter=meter, first=first, last=last), [])
        cursor.execute("VACUUM ANALYZE")
    fold()  # as the clock has it done every hour
    return owner


def publish() -> None:
    """As engines do it, so that pages find live meters in Redis."""
    import json
    import time

    from accounts.redis import hints
    from campaigns.querysets.meters import WORDS
    from devices.models import Device

    line = hints().pipeline(transaction=False)
    counts = json.dumps({"minute": 20, "hour": 700, "day": 9_000})
    for pk in Device.objects.values_list("pk", flat=True):
        line.hset(
            f"broadcast:metrics:device:{pk}",
            mapping={**dict.fromkeys(WORDS, counts), "mean_ms": 120, "p95_ms": 300, "at": time.time() + 3_600},
        )
    line.execute()


def scraped(client: Any) -> Any:
    """Made anew each time, as for the first who asks."""
    from monitoring import metrics

    metrics.forget()
    return client.get("/metrics")


def run_all(devices: int, times: int) -> None:
    import logging

    from django.test import Client

    import config.urls  # noqa: F401 - every page's code, as the web process loads it
    from accounts.allocation import set_apart_what_stays
    from tests.benchmarks.busy_fleet import staff

    logging.disable(logging.CRITICAL)
    owner = fill(devices)
    publish()
    set_apart_what_stays()  # as the web process does before its first page
    over = []
    say(f"{'':44}   first     p50     p95   least     CPU ms; budget {BUDGET_MS}")
    for whose, user, path in (("staff", staff(), "/operations/workers"), ("own", owner, "/dashboard/workers")):
        client = Client()
        client.force_login(user)
        for what, query in PAGES.items():
            took = measured(partial(client.get, path + query), times)
            numbers = " ".join(f"{number:7.0f}" for number in took[:5])
            late = took.p95 > BUDGET_MS
            over += [f"{whose} {what}"] if late else []
            say(f"{f'{whose}: {what}':44} {numbers} {took.status}{'  over' if late else ''}")
    client = Client()
    client.force_login(staff())
    for what, ask in (
        ("a page of /api/workers/status", partial(client.get, STATUS)),
        ("/metrics", partial(scraped, client)),
    ):
        took = measured(ask, times)
        say(f"{what:44} {' '.join(f'{number:7.0f}' for number in took[:5])} {took.status}")
    say(f"{len(over)} over the budget: {', '.join(over) or 'none'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=3_000)
    parser.add_argument("--times", type=int, default=30)
    options = parser.parse_args()
    with temporary_servers() as urls:
        os.environ.update(
            urls,
            DJANGO_SETTINGS_MODULE="config.settings",
            SECRET_KEY=secrets.token_urlsafe(32),
            ENV_FILE="",
            STATIC_MANIFEST="0",
            ALLOWED_HOSTS="testserver",
        )
        import django

        django.setup()
        from django.core.management import call_command
        from django.db import connections

        call_command("migrate", verbosity=0)
        run_all(options.devices, options.times)
        connections.close_all()


if __name__ == "__main__":
    main()
