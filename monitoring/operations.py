"""What staff see of the installation: its hosts, by what each said of itself at its last heartbeat."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count
from django.utils import timezone
from redis.exceptions import RedisError

from accounts.templatetags.flotilla import number
from campaigns.shown import duration
from devices.models import Host
from devices.quarantine import quarantined
from monitoring.health import redis_client
from monitoring.redis_check import queues

REMEMBERED = timedelta(days=1)  # a host that is gone and owns nothing disappears from the page


@dataclass(frozen=True, slots=True)
class HostShown:
    """``limit`` is how many sends may be under way at once; it moves between ``least`` and ``most``."""

    id: str
    process: str
    word: str
    colour: str
    reason: str
    heartbeat_at: datetime
    alive: bool
    devices: int
    in_flight: int | None
    limit: int | None
    least: int | None
    most: int | None
    waiting: int
    slow: int
    latency_ms: float | None
    held_back: str
    lease_until: datetime
    retiring: bool
    rss_mb: float | None
    fds: int | None
    version: str
    gateways_mb: float | None
    processes: list[GatewayShown]


@dataclass(frozen=True, slots=True)
class GatewayShown:
    """One gateway process of a host, by what it said last; figures are None while it starts."""

    name: str
    word: str
    colour: str
    devices: int
    online: int | None
    in_flight: int | None
    rss_mb: float | None
    fds: int | None


def operations() -> dict[str, Any]:
    """Everything `_operations.html` reads."""
    found: list[Any] = list(Host.objects.with_alive().annotate(owned=Count("devices")).order_by("id"))
    known = [host for host in found if host.lives or host.owned or host.heartbeat_at > timezone.now() - REMEMBERED]
    hosts = [host_shown(host) for host in sorted(known, key=lambda host: not host.lives)]
    alive = [host for host in hosts if host.alive]
    return {
        "hosts": hosts,
        "alive": len(alive),
        "served": sum(host.devices for host in alive),
        "in_flight": sum(host.in_flight or 0 for host in alive),
        "limit": sum(host.limit or 0 for host in alive),
        "waiting": sum(host.waiting for host in alive),
        "refused": refused_jobs(),
        "queues": job_queues(),
    }


def host_shown(host: Any) -> HostShown:
    meters = host.meters if host.lives else {}
    word, colour, reason = state_of(host)
    return HostShown(
        id=host.id,
        process=f"{host.hostname or 'unknown machine'}, process {host.pid}",
        word=word,
        colour=colour,
        reason=reason,
        heartbeat_at=host.heartbeat_at,
        alive=host.lives,
        devices=host.owned,
        in_flight=meters.get("in_flight"),
        limit=meters.get("limit"),
        least=meters.get("min_limit"),
        most=meters.get("max_limit"),
        waiting=meters.get("waiting") or 0,
        slow=meters.get("slow") or 0,
        latency_ms=meters.get("latency_ms"),
        held_back=held_back(meters, " MAX_CONCURRENT_WORKERS may be raised."),
        lease_until=host.lease_until,
        retiring=host.retiring,
        rss_mb=meters.get("rss_mb"),
        fds=meters.get("fds"),
        version=meters.get("version") or "",
        gateways_mb=meters.get("gateway_rss_mb"),
        processes=[gateway_shown(process) for process in meters.get("processes") or []],
    )


GATEWAY_STATES = {
    "running": ("Running", "green"),
    "starting": ("Starting", "blue"),
    "on trial": ("On trial", "amber"),
    "retiring": ("Being replaced", "amber"),
    "silent": ("Silent", "red"),
}


def gateway_shown(process: dict[str, Any]) -> GatewayShown:
    word, colour = GATEWAY_STATES.get(process.get("state", ""), ("Unknown", "grey"))
    pid = process.get("pid")
    return GatewayShown(
        name=f"{process.get('driver', '?')}{f', process {pid}' if pid else ''}",
        word=word,
        colour=colour,
        devices=process.get("devices") or 0,
        online=process.get("online"),
        in_flight=process.get("in_flight"),
        rss_mb=process.get("rss_mb"),
        fds=process.get("fds"),
    )


def state_of(host: Any) -> tuple[str, str, str]:
    if host.lives:
        return ("Retiring", "amber", "It hands its devices over.") if host.retiring else ("Running", "green", "")
    if host.owned:
        return "Gone", "red", f"{number(host.owned)} of its devices wait for another host."
    return "Gone", "grey", "Other hosts have its devices."


def held_back(meters: dict[str, Any], advice: str = "") -> str:
    """As a sentence, and the ``advice`` behind it; empty when the limit never was what held sending back."""
    seconds = meters.get("held_back_s")
    if not seconds:
        return ""
    told = duration(seconds) if seconds >= 60 else f"{seconds:.0f} s"
    return f"Sending was held back by the limit for {told} since it started.{advice}"


def refused_jobs() -> int | None:
    """None: Redis does not answer."""
    try:
        return quarantined()
    except (RedisError, OSError):
        return None


def job_queues() -> list[dict[str, Any]] | None:
    """RQ's, the installation's and the hosts': those with something in them first. None: Redis does not answer."""
    try:
        with redis_client() as client:
            found = queues(client)
    except (RedisError, OSError):
        return None
    rows = [{"name": name, **counts} for name, counts in found.items()]
    return sorted(rows, key=lambda row: (not row["failed"], not row["waiting"], row["name"]))
