"""The gate of RQ's queues: which jobs may run, and where what may not is put away, counted and never run.

RQ restores a job before it looks at it, and one that cannot be restored ends the worker. So everything is checked
where a job leaves its queue, before anything is imported.
"""

from __future__ import annotations

import json
import logging
import time
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import django_rq
import rq
from django.conf import settings
from django_rq.queues import DjangoRQ
from redis import Redis
from redis.exceptions import RedisError, ResponseError
from rq.exceptions import NoSuchJobError
from rq.job import JOB_ID_PATTERN, Job, JobStatus
from rq.utils import decode_redis_hash, now, str_to_date

logger = logging.getLogger(__name__)

LIST, COUNTER = "flotilla:quarantine", "flotilla:quarantined"
KEPT = 200
LARGEST_JOB = 1 << 20  # bytes, packed and unpacked: ids are small
LONGEST_WAIT = 366 * 86_400
FORBIDDEN = (
    "success_callback_name",
    "failure_callback_name",
    "stopped_callback_name",
    "webhooks",
    "dependency_ids",
    "dependency_id",
    "repeats_left",
    "repeat_intervals",
    "rate_limit_key",
    "rate_limit_concurrency",
    "group_id",
)
DATES = ("created_at", "enqueued_at", "started_at", "ended_at", "last_heartbeat")
NUMBERS = ("timeout", "ttl", "result_ttl", "failure_ttl", "number_of_retries", "retries_left")
TEXTS = ("origin", "description", "worker_name", "status")


# ---------------------------------------------------------------------------------------------- what may run


class RefusedJob(NoSuchJobError):
    """A job in Redis that Flotilla did not make, or that asks for what we never ask for.

    To RQ it is a job that does not exist: the worker goes on to the next one.
    """


class AllowedJob(Job):
    """Refuses anything but `settings.JOB_FUNCTIONS` where a job is restored, before anything is imported."""

    def refresh(self) -> None:
        if int(self.connection.hstrlen(self.key, "data")) > LARGEST_JOB:  # asked first, so that it is not even read
            raise RefusedJob(f"it is larger than {LARGEST_JOB} bytes")
        super().refresh()

    def restore(self, raw_data: Any) -> Any:
        try:
            check(decode_redis_hash(raw_data))
            return super().restore(raw_data)
        except NoSuchJobError:
            raise
        except Exception as problem:  # what it says may quote the payload
            raise RefusedJob(f"it cannot be read ({type(problem).__name__})") from problem


def check(stored: dict[str, Any]) -> None:
    """Raises `RefusedJob` for whatever we would not have written ourselves."""
    if sum(len(value) for value in stored.values()) > LARGEST_JOB:
        raise RefusedJob(f"it is larger than {LARGEST_JOB} bytes")
    name = called(stored.get("data", b""))
    if name not in settings.JOB_FUNCTIONS:
        raise RefusedJob(f"the function {name[:80]!r} is not one of ours")
    if asked := [field for field in FORBIDDEN if stored.get(field) not in (None, b"", b"[]", b"0")]:
        raise RefusedJob(f"{', '.join(asked)} is not allowed")
    unpacked(stored.get("exc_info", b""))
    _check_fields(stored)


def called(data: bytes) -> str:
    """The name of the function that the job would call."""
    try:
        call = json.loads(unpacked(data))
    except (ValueError, RecursionError):
        raise RefusedJob("its data is not JSON") from None
    match call:
        case [str(name), None, list(), dict()]:
            return name
    raise RefusedJob("its data is no call of a function")


def unpacked(data: bytes) -> bytes:
    """As RQ will unpack it, but never more than a job may be large."""
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(data, LARGEST_JOB)
    except zlib.error:
        return data
    if unpacker.unconsumed_tail:
        raise RefusedJob(f"it is larger than {LARGEST_JOB} bytes")
    return text if unpacker.eof else data


def _check_fields(stored: dict[str, Any]) -> None:
    field = ""
    try:
        for field in DATES:
            if stored.get(field):
                str_to_date(stored[field])
        for field in NUMBERS:
            if stored.get(field) and not -1 <= int(stored[field]) <= LONGEST_WAIT:
                raise ValueError
        for field in TEXTS:
            stored.get(field, b"").decode()
        field = "status"
        JobStatus(stored.get(field, b"").decode() or "created")
    except (ValueError, TypeError, OverflowError):
        raise RefusedJob(f"{field} cannot be read") from None


# ------------------------------------------------------------------------------------- where it leaves its queue


class Gate(rq.Queue):
    """A queue whose workers get past everything that is no job of ours."""

    @classmethod
    def lpop(cls, queue_keys: Sequence[str], timeout: int | None, connection: Redis | None = None) -> Any:
        assert connection is not None
        while (result := super().lpop(queue_keys, timeout, connection)) is not None:
            if _is_id(result[1]):
                return result
            put_away(connection, result[0], result[1], "its id is no id of a job")
        return None

    @classmethod
    def lmove(cls, connection: Redis, queue_key: str, timeout: int | None) -> Any:
        """What a worker with a single queue pops with; RQ remembers the id in a second list."""
        while (result := super().lmove(connection, queue_key, timeout)) is not None:
            if _is_id(result[1]):
                return result
            put_away(connection, result[0], result[1], "its id is no id of a job")
        return None

    @classmethod
    def _fetch_dequeued_job(
        cls,
        connection: Redis,
        queue_key: str,
        job_id: str,
        job_class: type[Job] | None = None,
        serializer: Any = None,
        death_penalty_class: Any = None,
    ) -> tuple[Job, rq.Queue] | None:
        options: dict[str, Any] = {"job_class": job_class, "serializer": serializer}
        queue = cls.from_queue_key(queue_key, connection=connection, death_penalty_class=death_penalty_class, **options)
        try:
            job = (job_class or AllowedJob).fetch(job_id, connection=connection, serializer=serializer)
            if job.origin != queue.name:  # RQ would keep its books under that name
                raise RefusedJob("it names another queue as its own")
        except RefusedJob as refusal:
            why = str(refusal)
        except NoSuchJobError:
            why = "nothing is stored of it: it ran out, or was never written"
        except ResponseError:
            why = "what is stored under its name is no job"
        else:
            return job, queue
        put_away(connection, queue_key, job_id.encode(), why)
        return None


class InstallationQueue(Gate, DjangoRQ):
    """A queue of `settings.RQ_QUEUES`."""


class Patient:
    """For a worker: tidying up registries that hold strange things must not keep it from its jobs."""

    def run_maintenance_tasks(self) -> None:
        try:
            super().run_maintenance_tasks()  # type: ignore[misc]
        except (ValueError, TypeError, ResponseError, NoSuchJobError):
            logger.exception("The registries of the queues could not be tidied up")
            self.last_cleaned_at = now()


def _is_id(job_id: bytes) -> bool:
    try:
        return bool(JOB_ID_PATTERN.fullmatch(job_id.decode()))
    except UnicodeDecodeError:
        return False


# ----------------------------------------------------------------------------------------------- the quarantine


@dataclass(frozen=True, slots=True)
class Poison:
    """What was put away: never the payload. ``at`` is in Unix seconds."""

    id: str
    queue: str
    why: str
    at: float


def put_away(connection: Redis, queue_key: str | bytes, job_id: bytes, why: str) -> None:
    """Note the poison down, delete it, and count it. Never raises: the good jobs behind it come next."""
    key = queue_key if isinstance(queue_key, bytes) else queue_key.encode()
    queue = key.removeprefix(b"rq:queue:").decode(errors="backslashreplace")
    poison = Poison(job_id[:100].decode(errors="backslashreplace"), queue, why[:200], time.time())
    logger.error("Quarantined a job of the queue %s: %s", queue, poison.why)
    try:
        with connection.pipeline(transaction=False) as pipe:
            pipe.lrem(f"{key.decode()}:intermediate", 1, job_id)  # type: ignore[arg-type]
            pipe.unlink(b"rq:job:" + job_id)
            pipe.lpush(LIST, json.dumps(asdict(poison)))
            pipe.ltrim(LIST, 0, KEPT - 1)
            pipe.incr(COUNTER)
            pipe.execute()
    except (RedisError, OSError):
        logger.exception("What was quarantined could not be noted down")


def quarantined(redis: Redis | None = None) -> int:
    """How many poisonous jobs were ever met; a Redis that was emptied forgets."""
    count: Any = (redis or django_rq.get_connection("clock")).get(COUNTER)
    return int(count or 0)


def quarantine(redis: Redis | None = None) -> list[Poison]:
    """The poisonous jobs met last, newest first, at most `KEPT`."""
    kept: Any = (redis or django_rq.get_connection("clock")).lrange(LIST, 0, KEPT - 1)
    return [Poison(**json.loads(entry)) for entry in kept]
