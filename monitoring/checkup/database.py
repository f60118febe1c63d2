"""What PostgreSQL knows: of itself, of engines and programs by their heartbeats, of the books."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Count, F, OuterRef, Subquery
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from campaigns.engine.lifecycle import MESSAGE_STATES
from campaigns.shown import counted
from devices.models import Device, Host
from monitoring.checkup.parts import BAD, OK, UNKNOWN, WARN, Finding
from monitoring.models import Heartbeat, Kept

OLDEST_POSTGRES = 15_00_00
CROWDED, FULL = 0.85, 0.95
SILENT_BEATS = 3  # so many beats missed: it is gone
SILENT_RENEWALS = 1.8  # of a lease: a busy engine may be late
MISSED_FOR = timedelta(minutes=10)  # a killed program that nothing came after
LONG_TURN_S = 60
AUDIT_IS_OLD = timedelta(hours=3)
BOOKS_EVERY_S = 30
# By kind of worker: the queues, and what is not done while nobody serves them.
UNDONE = {
    frozenset({"clock"}): "the timetable's work is not done",
    frozenset({"planning"}): "starting campaigns are not planned",
    frozenset({"webhooks"}): "alerts are not sent by e-mail",
    frozenset({"imports", "exports"}): "imports and exports wait",
}


# ---- The server


def postgres() -> Finding:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('server_version_num')::int, current_setting('server_version'), "
            "current_setting('max_connections')::int, (SELECT count(*) FROM pg_stat_activity), pg_is_in_recovery()"
        )
        number, version, most, used, is_copy = cursor.fetchone()
        started = time.perf_counter()
        cursor.execute("SELECT 1")
        ms = (time.perf_counter() - started) * 1000
    value = f"PostgreSQL {version.split()[0]}, {used} of {most} connections, {ms:.1f} ms"
    if is_copy:
        return Finding("database", BAD, "The database can be read but not written.", value)
    if number < OLDEST_POSTGRES:
        return Finding("database", BAD, "The database server is older than PostgreSQL 15.", value)
    if used > FULL * most:
        return Finding("database", BAD, "The database has hardly a connection left.", value)
    if used > CROWDED * most:
        return Finding("database", WARN, "The database runs out of connections.", value)
    return Finding("database", OK, "Pages open and everything is kept.", value)


# ---- Engines


def hosts() -> list[Any]:
    """Those alive, with devices, or silent only lately; each with `lives`, `owned`, `silence` and `left`."""
    theirs = Device.objects.linked().filter(owner=OuterRef("pk")).order_by().values("owner")
    found: Any = Host.objects.with_alive().annotate(
        owned=Coalesce(Subquery(theirs.annotate(owned=Count("pk")).values("owned")), 0),
        silence=Now() - F("heartbeat_at"),
        left=F("lease_until") - Now(),
    )
    return [host for host in found.order_by("id") if host.owned or host.silence < MISSED_FOR]


def is_silent(host: Any) -> bool:
    """It missed a beat: the status page speaks of it while its lease still keeps it alive for all others."""
    return host.silence.total_seconds() > SILENT_RENEWALS * settings.LEASE_TIMES["renew"]


def engines() -> Finding:
    known = hosts()
    running = [host for host in known if not is_silent(host)]
    gone = [host for host in known if is_silent(host)]
    waiting = sum(host.owned for host in gone)
    nobodys = Device.objects.linked().filter(owner=None).count()
    value = "; ".join(map(told_of, known)) or "no host has ever run"
    if not running:
        return Finding("engines", BAD, "No engine is running: nothing is sent.", value)
    if waiting or nobodys:
        value += f"; {counted(waiting + nobodys, 'device')} without an engine"
        return Finding("engines", BAD, "An engine is gone: devices wait for another one to take them over.", value)
    if any(not host.retiring for host in gone):
        return Finding(
            "engines", WARN, "An engine went away without an orderly end. The others have its devices.", value
        )
    return Finding("engines", OK, "Messages are sent when they are due.", value)


def told_of(host: Any) -> str:
    left = host.left.total_seconds()
    lease = f"lease ends in {left:.0f} s" if left > 0 else "lease has run out"
    return f"{host.id}: {counted(host.owned, 'device')}, heartbeat {host.silence.total_seconds():.0f} s ago, {lease}"


def gateways() -> Finding:
    """Of engines that are not silent, by what they say of themselves; one that has just begun has said nothing yet."""
    telling = [host for host in hosts() if not is_silent(host) and "gateways" in host.meters]
    bare = [host.id for host in telling if host.owned and not host.meters["gateways"]]
    value = "; ".join(
        f"{host.id}: {host.meters['gateways']} of its gateways run, {host.meters.get('gateway_rss_mb', 0)} MB"
        for host in telling
    )
    if bare:
        return Finding("gateways", BAD, "No process holds the connections of some devices.", value)
    if not telling:
        return Finding("gateways", UNKNOWN, "No engine tells.", value)
    return Finding("gateways", OK, "Devices can connect.", value)


# ---- Other programs


def programs(kind: str) -> tuple[list[Any], list[Any]]:
    """Those that beat, and those that fell silent and that nothing on their machine came after."""
    rows: list[Any] = list(
        Heartbeat.objects.filter(kind=kind, at__gt=Now() - MISSED_FOR)
        .annotate(silence=Now() - F("at"))
        .order_by("started_at")
    )
    limit = SILENT_BEATS * settings.HEALTH_EVERY_S
    beating = [row for row in rows if row.silence.total_seconds() <= limit]
    silent = [row for row in rows if row not in beating]
    followed = [(row.machine, row.started_at, work_of(row)) for row in beating]
    missed = [
        row
        for row in silent
        if not any(m == row.machine and at >= row.at and work == work_of(row) for m, at, work in followed)
    ]
    return beating, missed


def work_of(row: Any) -> tuple[str, ...]:
    return tuple(row.told.get("queues", ()))


def workers() -> Finding:
    beating, missed = programs("worker")
    unserved = set(settings.RQ_QUEUES) - {queue for row in beating for queue in work_of(row)}
    value = "; ".join(f"{row.name} ({', '.join(work_of(row))})" for row in beating) or "none beats"
    if unserved:
        undone = [words for queues, words in UNDONE.items() if queues & unserved]
        value += f"; nobody serves {', '.join(sorted(unserved))}"
        return Finding("workers", BAD, f"A worker is missing: {listed(undone)}.", value)
    if missed:
        value += f"; silent: {', '.join(row.name for row in missed)}"
        return Finding("workers", WARN, "A worker was lost; others do its work.", value)
    return Finding("workers", OK, "Imports, exports and planning are done as they come.", value)


def listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def clock() -> Finding:
    beating, missed = programs("clock")
    value = "; ".join(f"{row.name}, last turn {row.told.get('turn_s', 0)} s before its beat" for row in beating)
    if not beating:
        return Finding("clock", BAD, "No clock is running: nothing starts by itself.", "none beats")
    if all(row.told.get("turn_s", 0) > LONG_TURN_S for row in beating):
        return Finding("clock", WARN, "The clock is busy with one thing for over a minute; the others wait.", value)
    if missed:
        value += f"; silent: {', '.join(row.name for row in missed)}"
        return Finding("clock", WARN, "A clock was lost; another one does its work.", value)
    return Finding("clock", OK, "Campaigns start at their time.", value)


# ---- The books

ALL = " + ".join(f's."{state}"' for state in MESSAGE_STATES)
# Of what runs or ended within a day, by counters alone: no message is read.
DRIFT_SQL = f"""
WITH open AS (
    SELECT id, recipients FROM campaigns_campaign
    WHERE state IN ('running', 'paused') OR finished_at > now() - interval '1 day'
), counted AS (
    SELECT o.id, o.recipients, coalesce(sum({ALL}), 0) AS n
    FROM open o LEFT JOIN campaigns_stream s ON s.campaign_id = o.id GROUP BY o.id, o.recipients
)
SELECT coalesce(sum(abs(recipients - n)), 0)
     + abs((SELECT coalesce(sum(sending), 0) FROM campaigns_stream)
         - (SELECT count(*) FROM devices_device WHERE open_message IS NOT NULL))
FROM counted
"""  # noqa: S608

_books: tuple[float, int] | None = None


def drift() -> int:
    """How many messages the counters of open campaigns have lost or made up; asked anew every 30 s at most."""
    global _books
    if _books is None or time.monotonic() - _books[0] > BOOKS_EVERY_S:
        with connection.cursor() as cursor:
            cursor.execute(DRIFT_SQL)
            _books = time.monotonic(), int(cursor.fetchone()[0])
    return _books[1]


def forget_books() -> None:
    """The next one who asks gets a fresh answer."""
    global _books
    _books = None


def ledger() -> Finding:
    off = drift()
    audit = Kept.objects.filter(name="audit").first()
    value = f"drift {off}"
    wrong: list[dict[str, Any]] = []
    if audit:
        wrong = audit.value["violations"]
        value += f"; audit of {audit.at:%Y-%m-%d %H:%M} UTC, {audit.value['seconds']} s: drift {audit.value['drift']}"
        value += "".join(f"; {found['count']} x {found['what']}" for found in wrong)
        if audit.at < timezone.now() - AUDIT_IS_OLD:
            value += "; a newer one is due"
    else:
        value += "; not audited yet"
    if off or wrong or (audit and audit.value["drift"]):
        return Finding("ledger", BAD, "Some campaigns' figures do not add up.", value)
    return Finding("ledger", OK, "Figures equal the messages behind them.", value)
