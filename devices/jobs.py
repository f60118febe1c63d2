"""RQ as Flotilla uses it: what enqueues, the queues of each host, and the bell that wakes an engine.

A job carries ids and is safe to lose, repeat or run late: the rows in Postgres decide.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from functools import partial
from typing import Any

import django_rq
import rq
from django.db import transaction
from django.db.models.functions import Now
from django.utils.module_loading import import_string
from redis import Redis
from redis.exceptions import RedisError
from rq.serializers import JSONSerializer

from devices.models import Host
from devices.quarantine import AllowedJob, Gate

logger = logging.getLogger(__name__)

LANES = ("control", "campaign", "sequence")
JOB_TTL = 300
IDS_A_JOB = 1_000
GONE_AFTER = timedelta(hours=1)
REGISTRIES = (b"wip", b"finished", b"failed", b"deferred", b"ready", b"scheduled", b"canceled")


def host_queue(lane: str, host_id: str) -> rq.Queue:
    """The queue `<lane>@<host>`. Made here because `django_rq.get_queue` knows only the queues of the settings."""
    return Gate(
        f"{lane}@{host_id}",
        connection=django_rq.get_connection("clock"),
        serializer=JSONSerializer,
        job_class=AllowedJob,
        default_timeout=-1,
    )


def enqueue(queue: str, function: str, *args: Any, **options: Any) -> None:
    """After the commit, enqueue a call of the function named by its dotted path; a failure is logged, never raised."""
    if _alone.get():
        transaction.on_commit(partial(import_string(function), *args))
    else:
        transaction.on_commit(lambda: _enqueue_now(lambda: django_rq.get_queue(queue), function, args, options))


_alone: ContextVar[bool] = ContextVar("alone", default=False)


@contextmanager
def working_alone() -> Iterator[None]:
    """In this block nothing is enqueued: what would be is done at once. The clock's way while Redis is away."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


def _enqueue_now(queue: Callable[[], rq.Queue], function: str, args: Sequence[Any], options: dict[str, Any]) -> None:
    try:
        queue().enqueue_call(function, args=tuple(args), result_ttl=60, failure_ttl=86_400, **options)
    except (RedisError, OSError) as error:
        logger.warning("Could not enqueue %s; the reconciler will: %s", function, type(error).__name__)


def rouse(lane: str, devices: Iterable[tuple[str | None, int]]) -> None:
    """After the commit, ring for these (host id, device id) pairs: one job per host and ≤ 1,000 ids.

    ``lane`` is ``campaign``, ``sequence`` or ``control`` (test sends and replies). Devices without a host wait for one.
    """
    _ring(lane, "devices.jobs.deliver", devices)


def hurry(host_id: str | None, device_ids: Iterable[int]) -> None:
    """After the commit, have the host look at what people asked of these device rows."""
    _ring("control", "devices.jobs.look", [(host_id, device_id) for device_id in device_ids])


def _ring(lane: str, function: str, devices: Iterable[tuple[str | None, int]]) -> None:
    if _alone.get():
        return  # engines poll Postgres themselves
    by_host: dict[str, list[int]] = {}
    for host_id, device_id in devices:
        if host_id:
            by_host.setdefault(host_id, []).append(device_id)

    def after_commit() -> None:
        for host_id, ids in by_host.items():
            queue = partial(host_queue, lane, host_id)
            for start in range(0, len(ids), IDS_A_JOB):
                _enqueue_now(queue, function, [ids[start : start + IDS_A_JOB]], {"ttl": JOB_TTL})

    transaction.on_commit(after_commit)


class Bell:
    """Where the two jobs below arrive; the engine of this process puts its own functions here."""

    deliver: Callable[[list[int]], object] | None = None
    look: Callable[[list[int]], object] | None = None


def deliver(device_ids: list[int]) -> None:
    """Rouse the device workers: there may be something due. Ids this host does not own are ignored."""
    if Bell.deliver:
        Bell.deliver(_ids(device_ids))


def look(device_ids: list[int]) -> None:
    """Look at what people asked of these devices: pairing, reconnect, unlink, show the code again."""
    if Bell.look:
        Bell.look(_ids(device_ids))


def _ids(given: Any) -> list[int]:
    """What came through Redis goes into the engine's own loop: nothing but numbers may."""
    if isinstance(given, list) and all(type(number) is int for number in given):
        return given
    raise TypeError("a bell rings for a list of device ids")


def forget_queues() -> int:
    """Delete the queues of hosts that have been gone for an hour, with all they hold; returns how many queues."""
    try:
        redis = django_rq.get_connection("clock")
        by_host: dict[str, list[bytes]] = {}
        for key in redis.smembers("rq:queues"):
            lane, _, host = key.removeprefix(b"rq:queue:").partition(b"@")
            if lane.decode(errors="replace") in LANES:
                by_host.setdefault(host.decode(errors="replace"), []).append(key)
        kept = Host.objects.filter(id__in=by_host, lease_until__gt=Now() - GONE_AFTER).values_list("id", flat=True)
        gone = [key for host in by_host.keys() - set(kept) for key in by_host[host]]
        for key in gone:
            _delete_queue(redis, key)
    except (RedisError, OSError) as error:
        logger.warning("Queues of hosts that are gone could not be deleted: %s", type(error).__name__)
        return 0
    return len(gone)


def _delete_queue(redis: Redis, key: bytes) -> None:
    """By bytes, and not by RQ's own means: what lies there may be poison."""
    name = key.removeprefix(b"rq:queue:")
    lists = (key, key + b":intermediate")
    registries = [b"rq:%s:%s" % (kind, name) for kind in REGISTRIES]
    workers = b"rq:workers:" + name
    held: list[Any] = [*(redis.lrange(which, 0, -1) for which in lists)]
    held += [redis.zrange(registry, 0, -1) for registry in registries]
    ids = {entry.partition(b":")[0] for some in held for entry in some}  # running ones are "<job>:<execution>"
    dead = [worker for worker in redis.smembers(workers) if not redis.exists(worker)]
    with redis.pipeline(transaction=False) as pipe:
        for job_id in ids:
            pipe.unlink(b"rq:job:" + job_id, b"rq:results:" + job_id, b"rq:executions:" + job_id)
        if dead:
            pipe.srem("rq:workers", *dead)
        pipe.unlink(*lists, *registries, workers, b"rq:clean_registries:" + name)
        pipe.srem("rq:queues", key)
        pipe.execute()
