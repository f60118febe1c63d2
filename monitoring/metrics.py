"""Meters for Prometheus: one collector over PostgreSQL and Redis, by few queries, without a name of any tenant."""

from __future__ import annotations

import platform
import threading
import time
from collections import Counter as Tally
from collections.abc import Iterator, Mapping
from typing import Any

import structlog
from django.conf import settings
from django.db import Error, connection, transaction
from django.db.models import Count, F
from django.db.models.functions import Now
from django.utils import timezone
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from campaigns.engine.lifecycle import MESSAGE_STATES
from campaigns.models import Lane
from campaigns.querysets.lanes import DEPTH, OLDEST_DUE_S
from devices.jobs import LANES
from devices.models import Device
from devices.quarantine import quarantined
from devices.shown import SHOWN_STATES
from monitoring.checkup import database
from monitoring.checkup.parts import BAD, OK, WARN, Look
from monitoring.checkup.watch import watch
from monitoring.health import redis_client
from monitoring.models import Heartbeat, Kept
from monitoring.redis_check import queues
from monitoring.totals import totals

KEPT_S = 2.0
ASKED_LATELY_S = 90.0  # nobody scrapes less often than once a minute
STATEMENT_MS = 2_000
LEVELS = {OK: 0, WARN: 1, BAD: 2}
TOTALS = {
    "sent": "Messages that WhatsApp acknowledged.",
    "failed": "Messages given up: refused for good, or every try used up.",
    "delivered": "Messages delivered to a phone.",
    "replied": "Messages that people replied to.",
}

logger = structlog.get_logger(__name__)

SUMS = ", ".join(f'sum("{state}")' for state in MESSAGE_STATES)
# All counters of all streams, by lane.
STREAMS_SQL = f"""
SELECT s.lane, {SUMS}, {DEPTH}, {OLDEST_DUE_S} FROM campaigns_stream s GROUP BY s.lane
"""  # noqa: S608


class Installation(Collector):
    """What all processes share: any web process answers the same."""

    def collect(self) -> Iterator[Metric]:
        found = watch.current()
        yield InfoMetricFamily(
            "flotilla_build",
            "The version that runs here.",
            {"version": settings.VERSION, "python": platform.python_version()},
        )
        yield from parts(found)
        yield from guarded("flotilla_postgres_up", "Whether PostgreSQL answers.", postgres_meters, found, "database")
        yield from guarded("flotilla_redis_up", "Whether Redis answers.", redis_meters, found, "redis")


def guarded(name: str, told: str, meters: Any, found: Look, part: str) -> list[Metric]:
    """The meters, or none while their server is away: then nothing is asked, and nothing waits."""
    up, answered = 0, []
    if not found.is_away(part):
        try:
            answered, up = list(meters()), 1
        except (Error, RedisError, OSError) as problem:
            logger.warning("Some meters could not be read", of=part, problem=type(problem).__name__)
    return [GaugeMetricFamily(name, told, up), *answered]


def gauge(name: str, told: str, label: str, values: Mapping[Any, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, told, labels=[label])
    for key, value in values.items():
        family.add_metric([str(key)], value)
    return family


def parts(found: Look) -> Iterator[Metric]:
    levels = {one.part: LEVELS[one.state] for one in found.findings if one.state in LEVELS}
    yield gauge(
        "flotilla_part_state",
        "Of each part of the status page: 0 works, 1 needs a look, 2 does not work. Absent: nobody knows.",
        "part",
        levels,
    )


# ---- PostgreSQL


def postgres_meters() -> Iterator[Metric]:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = {STATEMENT_MS}")
        kept = Kept.objects.in_bulk(["totals", "audit"])
        hosts = database.hosts()
        yield from device_meters()
        yield from message_meters(kept.get("totals"))
        yield from host_meters(hosts)
        yield from process_meters(hosts)
        yield from ledger_meters(kept.get("audit"))


def device_meters() -> Iterator[Metric]:
    devices: Any = Device.objects.with_shown_state()
    counted: dict[str, int] = dict(devices.values_list("shown_state").annotate(n=Count("pk")).order_by())
    known = dict.fromkeys(SHOWN_STATES, 0) | counted
    yield gauge("flotilla_devices", "Devices by the state that pages show.", "state", known)


def message_meters(kept: Kept | None) -> Iterator[Metric]:
    with connection.cursor() as cursor:
        cursor.execute(STREAMS_SQL)
        rows = cursor.fetchall()
    by_state = {state: sum(row[1 + place] for row in rows) for place, state in enumerate(MESSAGE_STATES)}
    depth = {lane.label: 0 for lane in Lane} | {Lane(row[0]).label: row[-2] for row in rows}
    oldest = {lane.label: 0.0 for lane in Lane} | {Lane(row[0]).label: float(row[-1]) for row in rows}
    yield gauge("flotilla_messages", "Messages by state, from the streams' counters.", "state", by_state)
    yield gauge("flotilla_queue_messages", "Messages that running streams still have to send.", "lane", depth)
    yield gauge(
        "flotilla_queue_oldest_due_seconds",
        "Since when the oldest message of a running stream is due; paced ones are due long before their turn.",
        "lane",
        oldest,
    )
    since_ever = totals(kept)
    for word, told in TOTALS.items():
        yield CounterMetricFamily(f"flotilla_messages_{word}", told, since_ever[word])


def host_meters(hosts: list[Any]) -> Iterator[Metric]:
    """Of engines that live, or had devices to the end."""
    shown = [host for host in hosts if host.owned or host.lives]
    yield gauge(
        "flotilla_host_lease_age_seconds",
        "Since when the lease of each engine was not renewed.",
        "host",
        {host.id: host.silence.total_seconds() for host in shown},
    )
    yield gauge("flotilla_host_devices", "Linked devices by engine.", "host", {h.id: h.owned for h in shown})
    telling = [host for host in shown if host.lives]
    for name, key, told in (
        ("flotilla_host_in_flight", "in_flight", "Messages under way in each engine."),
        ("flotilla_host_limit", "limit", "How many each engine may have under way now."),
        ("flotilla_host_gateways", "gateways", "Gateway processes of each engine."),
    ):
        yield gauge(name, told, "host", {host.id: host.meters[key] for host in telling if key in host.meters})
    megabytes = {host.id: host.meters["gateway_rss_mb"] for host in telling if "gateway_rss_mb" in host.meters}
    yield gauge(
        "flotilla_host_gateway_memory_bytes",
        "Memory of all gateway processes of each engine.",
        "host",
        {host: value * 1_000_000 for host, value in megabytes.items()},
    )


def process_meters(hosts: list[Any]) -> Iterator[Metric]:
    """Sums by program and machine: a label for each process would begin a new series at each restart."""
    limit = database.SILENT_BEATS * settings.HEALTH_EVERY_S
    counts: Tally[tuple[str, str]] = Tally()
    memory: Tally[tuple[str, str]] = Tally()
    for beat in Heartbeat.objects.annotate(silence=Now() - F("at")).order_by("name"):
        if beat.silence.total_seconds() <= limit:
            counts[beat.kind, beat.machine] += 1
            memory[beat.kind, beat.machine] += int(beat.told.get("memory_bytes", 0))
    for host in hosts:
        if "rss_mb" in host.meters and host.lives:
            counts["engine", host.hostname] += 1
            memory["engine", host.hostname] += int(host.meters["rss_mb"] * 1_000_000)
    labels = ["program", "machine"]
    running = GaugeMetricFamily("flotilla_processes", "Processes that say they live.", labels=labels)
    held = GaugeMetricFamily("flotilla_process_memory_bytes", "Resident memory of these processes.", labels=labels)
    for key, count in counts.items():
        running.add_metric(list(key), count)
        held.add_metric(list(key), memory[key])
    yield running
    yield held


def ledger_meters(audit: Kept | None) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "flotilla_drift", "Messages of open campaigns that the counters have lost or made up.", database.drift()
    )
    if audit:
        wrong = sum(found["count"] for found in audit.value["violations"]) + audit.value["drift"]
        yield GaugeMetricFamily(
            "flotilla_audit_violations", "Rows that the last audit of the ledger objects to.", wrong
        )
        old = (timezone.now() - audit.at).total_seconds()
        yield GaugeMetricFamily("flotilla_audit_age_seconds", "Since the last audit of the ledger.", old)


# ---- Redis


def redis_meters() -> Iterator[Metric]:
    with redis_client() as client:
        found = queues(client)
        refused = quarantined(client)
    waiting: Tally[str] = Tally()
    failed: Tally[str] = Tally()
    for name, jobs in found.items():
        lane, host, _ = name.partition("@")
        if name in settings.RQ_QUEUES or (host and lane in LANES):  # of hosts: all of a lane together
            waiting[lane] += jobs["waiting"]
            failed[lane] += jobs["failed"]
    yield gauge("flotilla_jobs_waiting", "Jobs in each queue of RQ; hosts' own by lane.", "queue", dict(waiting))
    yield gauge("flotilla_jobs_failed", "Jobs that failed within a day.", "queue", dict(failed))
    yield CounterMetricFamily("flotilla_jobs_refused", "Jobs that were put away and never run.", refused)


# ---- The answer

registry = CollectorRegistry(auto_describe=False)
registry.register(Installation())
ProcessCollector(registry=registry)

_lock = threading.Lock()
_kept: tuple[float, bytes] | None = None  # until when it is good
_asked_at = float("-inf")


def exposition() -> bytes:
    """The text that Prometheus reads, as it was `KEPT_S` ago at most, or at the last look of the watch: of several who
    ask at once one has it made, and who asks every minute or more often finds it made."""
    global _kept, _asked_at
    _asked_at = time.monotonic()
    kept = _kept
    if kept is None or time.monotonic() > kept[0]:
        with _lock:
            kept = _kept
            if kept is None or time.monotonic() > kept[0]:
                kept = _kept = made(KEPT_S)
    return kept[1]


def keep_ready() -> None:
    """For the watch, after each of its looks."""
    global _kept
    if time.monotonic() - _asked_at < ASKED_LATELY_S:
        try:
            _kept = made(2 * settings.HEALTH_EVERY_S)
        finally:
            connection.close()


def made(good_s: float) -> tuple[float, bytes]:
    text = generate_latest(registry)
    return time.monotonic() + good_s, text


def forget() -> None:
    global _kept
    _kept = None
