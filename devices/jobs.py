"""RQ as Flotilla uses it: which jobs may run, the queues of each host, and the bell that wakes an engine.

A job carries ids and is safe to lose, repeat or run late: the rows in Postgres decide (DESIGN 3).
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import django_rq
import rq
from django.conf import settings
from django.db import transaction
from django.utils.module_loading import import_string
from redis.exceptions import RedisError
from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.utils import decode_redis_hash

logger = logging.getLogger(__name__)

LANES = ("control", "campaign", "sequence")
JOB_TTL = 300
IDS_A_JOB = 1_000
_FORBIDDEN = (
    "success_callback_name",
    "failure_callback_name",
    "stopped_callback_name",
    "webhooks",
    "dependency_ids",
    "dependency_id",
    "repeats_left",
)


class RefusedJob(NoSuchJobError):
    """A job in Redis that Flotilla did not make, or that asks for what we never ask for.

    To RQ it is a job that does not exist: the worker goes on to the next one.
    """


class AllowedJob(Job):
    """Refuses anything but `settings.JOB_FUNCTIONS` where a job is restored, before anything is imported."""

    def restore(self, raw_data: Any) -> Any:
        try:
            _check(decode_redis_hash(raw_data))
            return super().restore(raw_data)
        except Exception as problem:
            logger.error("Refused a job of the queues: %s", problem)
            raise problem if isinstance(problem, NoSuchJobError) else RefusedJob(str(problem)) from problem


def _check(stored: dict[str, Any]) -> None:
    name = _function_name(stored.get("data", b""))
    if name not in settings.JOB_FUNCTIONS:
        raise RefusedJob(f"function {name!r} is not one of ours")
    if asked := [field for field in _FORBIDDEN if stored.get(field) not in (None, b"", b"[]", b"0")]:
        raise RefusedJob(f"{', '.join(asked)} is not allowed")


def _function_name(data: bytes) -> str:
    try:
        unpacked = zlib.decompress(data)
    except zlib.error:
        unpacked = data
    try:
        return str(json.loads(unpacked)[0])
    except (ValueError, IndexError, KeyError, TypeError):
        raise RefusedJob("the job's data is not JSON") from None


def host_queue(lane: str, host_id: str) -> rq.Queue:
    """The queue `<lane>@<host>`. Made here because `django_rq.get_queue` knows only the queues of the settings."""
    return rq.Queue(
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
        Bell.deliver(device_ids)


def look(device_ids: list[int]) -> None:
    """Look at what people asked of these devices: pairing, reconnect, unlink, show the code again."""
    if Bell.look:
        Bell.look(device_ids)
