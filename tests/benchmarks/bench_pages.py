"""Milliseconds of pages over a large workspace, on a durable PostgreSQL of its own.

`python -m tests.benchmarks.bench_pages [--people 1000000] [--devices 15] [--times 20]`: contacts, one campaign with a
message to each of them in every state and with its replies, then each page so many times: p50 and p95, the answers'
status, and the slowest page beside its query. Rows are made by SQL.
"""

from __future__ import annotations

import argparse
import os
import secrets
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from config.embedded import temporary_servers

BUDGET_MS = 150
PEOPLE_SQL = """
INSERT INTO campaigns_contact (workspace_id, phone, name, fields, status, consent_source, opted_out_reason)
SELECT %(workspace)s, '+6012' || lpad(n::text, 8, '0'), 'Person ' || n, '{"city": "Kuala Lumpur"}', 'prospect', 'Form',
       ''
FROM generate_series(1, %(people)s) n
"""
# Sent in the order of contacts; a few in each rare state, and the last tenth still to come.
MESSAGES_SQL = """
INSERT INTO campaigns_message (workspace_id, campaign_id, stream_id, contact_id, content_id, phone, state, reason,
    due_at, attempts, attempted_at, sent_at, delivered_at, read_at, replied_at, dead_at, text)
SELECT %(workspace)s, %(campaign)s, (%(streams)s::bigint[])[1 + n %% %(devices)s], contact_id, %(content)s, phone,
       state,
       CASE state WHEN 'skipped' THEN CASE WHEN n %% 2000 = 7 THEN 'opted_out' ELSE 'hold_out' END
                  WHEN 'dead' THEN 'refused ' || (480 + n %% 7) WHEN 'expired' THEN 'too_late' ELSE '' END,
       start, (state <> 'pending')::int, CASE WHEN state <> 'pending' THEN sent END,
       CASE WHEN state IN ('sent', 'delivered', 'read') THEN sent END,
       CASE WHEN state IN ('delivered', 'read') THEN sent + interval '1 minute' END,
       CASE WHEN state = 'read' THEN sent + interval '3 hours' END,
       CASE WHEN state = 'read' AND n %% 40 = 4 THEN sent + interval '5 hours' END,
       CASE WHEN state = 'dead' THEN sent END, CASE WHEN state IN ('sent', 'delivered', 'read') THEN 'Hello' END
FROM (
    SELECT n, c.id AS contact_id, c.phone, now() - interval '4 days' AS start,
           now() - interval '4 days' + n * interval '3 days' / %(people)s AS sent,
           CASE WHEN n > 0.9 * %(people)s THEN CASE WHEN n %% 5000 = 9 THEN 'expired' ELSE 'pending' END
                WHEN n %% 5000 = 3 THEN 'dead' WHEN n %% 1000 = 7 THEN 'skipped'
                WHEN n %% 10 < 3 THEN 'sent' WHEN n %% 10 = 4 THEN 'read' ELSE 'delivered' END AS state
    FROM (SELECT row_number() OVER (ORDER BY id) AS n, id, phone FROM campaigns_contact
          WHERE workspace_id = %(workspace)s) c
) m ORDER BY contact_id
"""
COUNTS_SQL = """
UPDATE campaigns_stream s SET {counts}, next_due = now() - interval '4 days', next_id = 0
FROM (SELECT stream_id, {sums} FROM campaigns_message WHERE campaign_id = %(campaign)s GROUP BY stream_id) n
WHERE n.stream_id = s.id
"""
REPLIES_SQL = """
INSERT INTO campaigns_reply (workspace_id, device_id, contact_id, message_id, phone, chat, wire_id, kind, text, at)
SELECT m.workspace_id, s.device_id, m.contact_id, m.id, m.phone, 'chat', 'reply-' || m.id, 'text', 'Yes', m.replied_at
FROM campaigns_message m JOIN campaigns_stream s ON s.id = m.stream_id WHERE m.replied_at IS NOT NULL
"""


def seed(people: int, devices: int) -> Any:
    from django.db import connection
    from django.utils import timezone

    from campaigns.engine.lifecycle import MESSAGE_STATES
    from campaigns.models import CampaignState, Lane, Stream
    from tests.factories import make_campaign, make_device, make_workspace

    workspace = make_workspace()
    numbers = tuple(make_device(workspace) for _ in range(devices))
    now = timezone.now()
    campaign = make_campaign(
        workspace, devices=numbers, state=CampaignState.RUNNING, launched_at=now, planned_at=now, recipients=people
    )
    streams = [
        Stream.objects.create(workspace=workspace, campaign=campaign, device=device, lane=Lane.CAMPAIGN).pk
        for device in numbers
    ]
    values: dict[str, Any] = {
        "workspace": workspace.pk,
        "people": people,
        "campaign": campaign.pk,
        "content": campaign.content_id,
        "streams": streams,
        "devices": devices,
    }
    sums = [f"count(*) FILTER (WHERE state = '{state}') AS {state}" for state in MESSAGE_STATES]
    sums.append("count(replied_at) AS replied")
    counts = [f"{name} = n.{name}" for name in (*MESSAGE_STATES, "replied")]
    with connection.cursor() as cursor:
        cursor.execute(PEOPLE_SQL, values)
        cursor.execute(MESSAGES_SQL, values)
        cursor.execute(COUNTS_SQL.format(counts=", ".join(counts), sums=", ".join(sums)), values)
        cursor.execute(REPLIES_SQL)
        cursor.execute("VACUUM ANALYZE campaigns_contact")
        cursor.execute("VACUUM ANALYZE campaigns_message")
        cursor.execute("ANALYZE")
    return campaign


def pages_of(campaign: Any) -> dict[str, str]:
    from django.urls import reverse

    from campaigns.models import Contact, Message

    people = reverse("campaigns:recipients", args=[campaign.uuid])
    device = campaign.device_links.all()[0].device.uuid
    contact = Contact.objects.filter(workspace=campaign.workspace)[0].uuid
    message = Message.objects.filter(campaign=campaign, state="dead").order_by("-pk")[0]
    lists = {
        "should": "",
        "sent": "?figure=sent",
        "failed, 180 of them": "?figure=failed",
        "failed, one reason": "?figure=failed&reason=refused+483",
        "remaining, the last tenth": "?figure=remaining",
        "skipped": "?figure=skipped",
        "expired, at the very end": "?figure=skipped&state=expired",
        "held out": "?figure=skipped&reason=hold_out",
        "replied": "?figure=replied",
        "sent and not replied": "?figure=sent&replied=no",
        "one device": f"?figure=sent&device={device}",
        "one device, failed": f"?figure=failed&device={device}",
        "read in one hour": "?figure=read&hour=9",
    }
    return {
        "home": reverse("monitoring:home"),
        "contacts": reverse("campaigns:contacts"),
        "contacts, searched": reverse("campaigns:contacts") + "?q=Person+77",
        "contact": reverse("campaigns:contact", args=[contact]),
        "campaigns": reverse("campaigns:list"),
        "campaign": reverse("campaigns:campaign", args=[campaign.uuid]),
        "report": reverse("campaigns:report", args=[campaign.uuid]),
        "report's details, kept": reverse("campaigns:report_details", args=[campaign.uuid]),
        "retry: how many": reverse("campaigns:retry_confirm", args=[campaign.uuid]),
        "recipient": reverse("campaigns:recipient", args=[message.pk]),
        **{f"people: {what}": people + query for what, query in lists.items()},
    }


def measured(ask: Callable[[], Any], times: int) -> tuple[float, float, int]:
    """p50 and p95 in milliseconds, and the status; after one that nobody counts."""
    status, took = ask().status_code, []
    for _ in range(times):
        began = time.perf_counter()
        ask()
        took.append(1000 * (time.perf_counter() - began))
    took.sort()
    return statistics.median(took), took[max(0, round(0.95 * len(took)) - 1)], status


def run_all(people: int, devices: int, times: int) -> None:
    import logging

    from django.core.cache import cache
    from django.test import Client

    from campaigns.querysets.report import tally

    logging.disable(logging.CRITICAL)
    began = time.perf_counter()
    campaign = seed(people, devices)
    say(f"{people:,} people with a message each, made in {time.perf_counter() - began:.0f} s; budget {BUDGET_MS} ms")
    client = Client()
    client.force_login(campaign.workspace.owner)
    began = time.perf_counter()
    tally(campaign, campaign.workspace.zone)
    say(f"{'one pass for hours and reasons':36} {1000 * (time.perf_counter() - began):8.0f} ms")
    cache.clear()
    for what, url in pages_of(campaign).items():
        p50, p95, status = measured(partial(client.get, url), times)
        over = "  over" if p95 > BUDGET_MS else ""
        say(f"{what:36} p50 {p50:6.0f} ms  p95 {p95:6.0f} ms  {status}{over}")


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--devices", type=int, default=15)
    parser.add_argument("--times", type=int, default=20)
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
        run_all(options.people, options.devices, options.times)
        connections.close_all()


if __name__ == "__main__":
    main()
