"""What a rehearsal asks the database while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import Error, connection, transaction
from django.db.models.functions import Now
from django_rq import get_connection
from redis.exceptions import RedisError

from campaigns.models import OPEN, Campaign, Stream, Uncertain
from devices.models import Device, Host


def online() -> int:
    return Device.objects.online().count()


def all_online(pids: Iterable[int]) -> bool:
    """Every device, at a host that is one of these processes: a dead host's devices go on saying that they are."""
    return not Device.objects.exclude(state="online", owner__pid__in=list(pids)).exists()


def in_flight(**which: Any) -> int:
    """Open attempts, or only those of some devices."""
    return Device.objects.filter(open_message__isnull=False, **which).count()


def open_tags(**which: Any) -> set[str]:
    """The open attempts' tags, in hex."""
    opened = Device.objects.filter(open_tag__isnull=False, **which)
    return {bytes(tag).hex() for tag in opened.values_list("open_tag", flat=True) if tag is not None}


@contextmanager
def attempts_standing_still() -> Iterator[set[str]]:
    """The tags of the open attempts; inside the block none is begun and none is settled. PostgreSQL may die in it."""
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("LOCK TABLE devices_device IN SHARE MODE")
            yield open_tags()
    except Error:
        if connection.connection is not None and connection.is_usable():
            raise
        connection.close()


def is_up(pid: int, seconds: float) -> bool:
    """Whether the engine with this process has been at work for so long."""
    return Host.objects.filter(pid=pid, started_at__lt=Now() - timedelta(seconds=seconds)).exists()


def devices_of_hosts() -> list[int]:
    """How many devices each host that owns any has."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM devices_device WHERE owner_id IS NOT NULL GROUP BY owner_id ORDER BY 1")
        return [row[0] for row in cursor.fetchall()]


def doubts() -> dict[str, int]:
    """Of each uncertain message the tag, in hex, and its device."""
    return {bytes(tag).hex(): device for tag, device in Uncertain.objects.values_list("tag", "device_id")}


def uncertain() -> int:
    return Stream.objects.totals()["uncertain"]


def remaining() -> int:
    return Stream.objects.totals()["remaining"]


def all_planned() -> bool:
    return not Campaign.objects.filter(planned_at__isnull=True, state__in=OPEN).exists()


def all_ended() -> bool:
    return not Campaign.objects.exclude(state__in=["completed", "cancelled"]).exists()


def heartbeats_since(at: float) -> Callable[[], bool]:
    """Whether every living host has said something of itself since ``at``, in Unix seconds."""

    def said() -> bool:
        living = Host.objects.alive().filter(retiring=False)
        return not living.filter(heartbeat_at__lt=datetime.fromtimestamp(at, UTC)).exists()

    return said


def limits() -> list[dict[str, Any]]:
    """Of each living host: its limit of concurrent sends, the uppermost, and for how long that held sending back."""
    living = Host.objects.alive().filter(retiring=False).order_by("id")
    wanted = ("limit", "max_limit", "highest_limit", "held_back_s", "slow")
    return [{name: meters.get(name) for name in wanted} for meters in living.values_list("meters", flat=True)]


def redis_answers() -> bool:
    try:
        return bool(get_connection("clock").ping())
    except RedisError:
        return False


def postgres_answers() -> bool:
    try:
        connection.close()
        connection.ensure_connection()
    except Error:
        return False
    return True
