"""Seconds and peak memory of planning a large audience, on a durable PostgreSQL of its own.

`python -m tests.benchmarks.bench_plan [--people 1000000] [--devices 15] [--chunk 10000]`: one workspace's people are
planned by round-robin, then with sticky devices while nobody has one yet, then again while everybody has.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import secrets
import time
from typing import Any

from config.embedded import temporary_servers

PEOPLE_SQL = """
INSERT INTO campaigns_contact (workspace_id, phone, name, fields, status, consent_source, opted_out_reason)
SELECT %(workspace)s, '+6012' || lpad(n::text, 8, '0'), 'Person ' || n, '{"city": "Kuala Lumpur"}', 'prospect', 'Form',
       ''
FROM generate_series(1, %(people)s) n
"""


def work(campaign_id: int, chunk: int, result: multiprocessing.Queue[tuple[float, float, int]]) -> None:
    """What the worker process does; its own start-up counts in its memory but not in its time."""
    import django

    django.setup()
    from campaigns.actions.planning import plan_chunk
    from tests.memory import peak_mb

    began = time.perf_counter()
    longest = 0.0
    done = False
    while not done:
        start = time.perf_counter()
        done = plan_chunk(campaign_id, chunk)
        longest = max(longest, time.perf_counter() - start)
    result.put((time.perf_counter() - began, longest, peak_mb()))


def run_once(what: str, campaign_id: int, chunk: int) -> None:
    from campaigns.models import Campaign

    spawn = multiprocessing.get_context("spawn")
    result: multiprocessing.Queue[tuple[float, float, int]] = spawn.Queue()
    worker = spawn.Process(target=work, args=(campaign_id, chunk, result))
    worker.start()
    seconds, longest, megabytes = result.get()
    worker.join()
    people = Campaign.objects.get(pk=campaign_id).recipients
    print(  # noqa: T201
        f"{what}: {people:,} people in {seconds:.1f} s, {people / seconds:,.0f} a second; "
        f"longest chunk {longest:.2f} s, peak {megabytes} MB"
    )


def run_all(people: int, devices: int, chunk: int) -> None:
    from django.db import connection
    from django.utils import timezone

    from campaigns.models import CampaignState
    from tests.factories import make_campaign, make_device, make_workspace

    workspace = make_workspace()
    numbers = tuple(make_device(workspace) for _ in range(devices))
    with connection.cursor() as cursor:
        cursor.execute(PEOPLE_SQL, {"workspace": workspace.pk, "people": people})
        cursor.execute("VACUUM ANALYZE campaigns_contact")
    running: dict[str, Any] = {"state": CampaignState.RUNNING, "launched_at": timezone.now()}
    for what, assignment in (
        ("round-robin", "round_robin"),
        ("sticky, first time", "sticky"),
        ("sticky, second time", "sticky"),
    ):
        campaign = make_campaign(workspace, devices=numbers, assignment=assignment, **running)
        run_once(what, campaign.pk, chunk)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--devices", type=int, default=15)
    parser.add_argument("--chunk", type=int, default=10_000)
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
        run_all(options.people, options.devices, options.chunk)
        connections.close_all()


if __name__ == "__main__":
    main()
