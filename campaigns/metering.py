"""Metering: counts what was settled, by device and minute, and has it in Redis within a second.

Nothing waits for it: counting is a dictionary's work, everything else happens on a thread of its own. What Redis loses
is written again from memory; what an engine could not write before it died, the next one finds out and counts.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from redis.exceptions import RedisError

from accounts.redis import hints
from campaigns import meter_buckets
from campaigns.actions.meters import roll_up_or_raise
from campaigns.meter_buckets import PACKED, TIME_MS, TIMES, WIDTH, Bucket
from campaigns.meters import class_of
from campaigns.outbox import Moved
from campaigns.outbox.statement import array, rows_of
from campaigns.published import Published
from campaigns.querysets.meters import COMPARED_SQL, NOTE_AHEAD_SQL
from devices.hosting.leases import Lease
from devices.hosting.threads import DatabaseThread
from devices.models import Host

logger = logging.getLogger(__name__)

BEAT_S = 1.0
KEPT_MINUTES = 15
PROOF_S = 10.0  # between two looks at what former engines may have left uncounted
SETTLED_S = 1.5  # what was committed before a look is counted by then
FORMER_S = 3.0  # so long after it lost a device, a living engine has written what it had counted of it
LAST_WORD_S = 1.0
AWAY = (RedisError, OSError)


class Compared(NamedTuple):
    """One device's counts (sent, failed, delivered, replied), by its streams and by its meters; see `MeterTotal`."""

    device: int
    workspace: int
    streams: list[int]
    meters: list[int]
    ahead: list[int]


class Metering:
    """Counts on the event loop, for one host incarnation.

    A minute's row of a device is absolute: how often it is written makes no difference. Fifteen minutes are kept.
    """

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.published = Published(lease.host)
        self._minutes: dict[int, dict[int, list[int]]] = {}  # minute since 1970 → device → its row
        self._changed: dict[int, set[int]] = {}  # what of it is not written yet
        self._tried: set[int] = set()  # minutes of which something may be in Redis
        self._doubted_at: dict[int, float] = {}  # devices that others may have left uncounted
        self._proved_at = float("-inf")
        self._away = False
        self._stopping = False
        self._database = DatabaseThread("meters")

    # ------------------------------------------------------------------ counting

    def settled(self, moved: Iterable[Moved]) -> None:
        rows, changed = self._now()
        for device, state, ms in moved:
            row = rows.get(device)
            if row is None:
                row = rows[device] = [0] * WIDTH
            changed.add(device)
            if state != "sent":
                row[1] += 1
                continue
            row[0] += 1
            if ms is not None:
                row[TIME_MS] += ms
                row[TIMES + class_of(ms)] += 1

    def receipted(self, moved: Iterable[tuple[int, int, int]]) -> None:
        for device, sent, delivered in moved:
            self._add(device, (sent, 0, delivered, 0))

    def replied(self, replied: Mapping[int, int]) -> None:
        for device, messages in replied.items():
            self._add(device, (0, 0, 0, messages))

    def doubt(self, devices: Iterable[int]) -> None:
        """Something may have been settled for these devices that nobody counted: by an engine that died, or where
        PostgreSQL's answer was lost."""
        now = time.time()
        for device in devices:
            self._doubted_at[device] = now

    def _now(self) -> tuple[dict[int, list[int]], set[int]]:
        minute = int(time.time()) // 60
        return self._minutes.setdefault(minute, {}), self._changed.setdefault(minute, set())

    def _add(self, device: int, counts: Sequence[int]) -> None:
        rows, changed = self._now()
        row = rows.setdefault(device, [0] * WIDTH)
        for place, count in enumerate(counts):
            row[place] += count
        changed.add(device)

    # ------------------------------------------------------------------ writing

    async def run(self, owned: Callable[[], Collection[int]], status: Callable[[], dict[str, Any]]) -> None:
        """``owned``: the devices in this host's hands. ``status``: what the host says of itself."""
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                counted = await self.write()
                await self._publish(counted, owned(), status)
                await self._prove()
                self._heard()
            except AWAY as problem:
                self._unheard(problem)
            except Exception:
                logger.exception("Meters could not be told; again in a second")

    async def write(self) -> set[int]:
        """Bring what changed to Redis; returns the devices. Raises `RedisError` or `OSError`: then it changed still."""
        now = time.time()
        self._age(int(now) // 60 - KEPT_MINUTES)
        held = [self._bucket(minute) for minute in self._tried]
        emptied = await self._database.run(lambda: meter_buckets.missing(hints(), held))
        for bucket in emptied:
            self._changed.setdefault(bucket.minute, set()).update(self._minutes[bucket.minute])
        if emptied:  # with them went what engines had written that are no more
            self.doubt({device for rows in self._minutes.values() for device in rows})
        changed, self._changed = self._changed, {}
        changed = {minute: devices for minute, devices in changed.items() if devices}
        buckets = {
            self._bucket(minute): [(device, PACKED.pack(*self._minutes[minute][device])) for device in devices]
            for minute, devices in changed.items()
        }
        self._tried.update(changed)
        counted = set().union(*changed.values())
        try:
            await self._database.run(lambda: meter_buckets.write(hints(), self.lease.host, buckets, now))
        except BaseException:
            for minute, devices in changed.items():
                self._changed.setdefault(minute, set()).update(devices)
            raise
        return counted

    async def last_word(self) -> None:
        """At an orderly end: what is not written yet, within a second."""
        self._stopping = True
        try:
            async with asyncio.timeout(LAST_WORD_S):
                await self.write()
        except (*AWAY, TimeoutError) as problem:
            logger.warning("The last meters could not be written: %s", type(problem).__name__)

    def _bucket(self, minute: int) -> Bucket:
        return Bucket(minute, self.lease.host, self.lease.incarnation)

    def _age(self, oldest: int) -> None:
        """Forget minutes before this one. What Redis never saw of them counts in the next minute, so that it is not
        lost; what it may have seen a part of is kept until it has it all."""
        for minute in sorted(minute for minute in self._minutes if minute < oldest):
            unwritten = minute in self._changed
            if unwritten and minute in self._tried:
                continue
            rows = self._minutes.pop(minute)
            self._changed.pop(minute, None)
            self._tried.discard(minute)
            if unwritten:
                later = min((other for other in self._minutes if other > minute), default=oldest)
                kept = self._minutes.setdefault(later, {})
                for device, row in rows.items():
                    known = kept.get(device)
                    kept[device] = row if known is None else [a + b for a, b in zip(known, row, strict=True)]
                self._changed.setdefault(later, set()).update(rows)

    # ------------------------------------------------------------------ publishing

    async def _publish(self, counted: set[int], owned: Collection[int], status: Callable[[], dict[str, Any]]) -> None:
        devices = self.published.next_devices(counted, owned)
        minute = int(time.time()) // 60
        latest = {
            earlier: {device: tuple(row[:TIME_MS]) for device in devices if (row := rows.get(device))}
            for earlier in range(minute - 3, minute + 1)
            if (rows := self._minutes.get(earlier))
        }
        told = status() if self.published.wants_status() else None
        await self._database.run(self.published.publish, devices, latest, minute, told)

    def _heard(self) -> None:
        if self._away:
            logger.info("Meters are published again")
        self._away = False

    def _unheard(self, problem: Exception) -> None:
        if not self._away:
            logger.warning("Meters are kept in memory until Redis is back: %s", type(problem).__name__)
        self._away = True

    # ------------------------------------------------------------------ what nobody counted

    async def _prove(self) -> None:
        """Compare the doubted devices' meters with their streams, and count what is missing.

        What this engine counted meanwhile would blur it: such devices are looked at again. A device that sends without
        a pause is looked at when it rests.
        """
        now = time.time()
        doubted = [device for device, at in self._doubted_at.items() if at < now - FORMER_S]
        if not doubted or now < self._proved_at + PROOF_S:
            return
        self._proved_at = now
        if self._changed:  # counted since it was written, a moment ago: it must be in Redis, too
            await self.write()
        since = max(self._doubted_at[device] for device in doubted) + FORMER_S
        held = [self._bucket(minute) for minute in self._tried]
        compared = await self._database.run(_compare, held, self.lease.host, doubted, min(since, now - BEAT_S))
        await asyncio.sleep(SETTLED_S)
        if compared is None or self._stopping:
            return
        meanwhile = set().union(*self._changed.values())
        proved = [one for one in compared if one.device not in meanwhile and self._doubted_at[one.device] < now]
        await self._database.run(_note_ahead, proved)
        for one in proved:
            lost = missing_of(one)
            if any(lost):
                self._add(one.device, lost)
        for device in set(doubted) - {one.device for one in compared}:
            self._doubted_at.pop(device, None)  # it is no more
        for one in proved:
            self._doubted_at.pop(one.device, None)

    def close(self) -> None:
        self._database.close()


def missing_of(one: Compared) -> list[int]:
    """What the streams have and the meters lack, of each of the four."""
    return [
        max(0, streams - meters - ahead)
        for streams, meters, ahead in zip(one.streams, one.meters, one.ahead, strict=True)
    ]


def _compare(held: Sequence[Bucket], host: str, devices: Collection[int], since: float) -> list[Compared] | None:
    """None where Redis has lost a bucket of this engine's, or a living one has not written yet what it had counted by
    ``since``: that may be what is missing."""
    others = list(Host.objects.alive().exclude(pk=host).values_list("pk", flat=True))

    def is_all_there() -> bool:
        return not meter_buckets.missing(hints(), held) and meter_buckets.last_written(hints(), others) >= since

    if not is_all_there():
        return None
    roll_up_or_raise(all_of_it=True)
    compared = [Compared(*row) for row in rows_of(COMPARED_SQL, {"devices": list(devices)})]
    return compared if is_all_there() else None  # it may have been emptied meanwhile


def _note_ahead(proved: Collection[Compared]) -> None:
    """The meters are ahead where a person had something tried again: that is not missing later."""
    ahead = {
        one.device: array([min(ahead, s - m) for s, m, ahead in zip(one.streams, one.meters, one.ahead, strict=True)])
        for one in proved
    }
    if ahead:
        rows_of(NOTE_AHEAD_SQL, {"devices": list(ahead), "ahead": list(ahead.values())})
