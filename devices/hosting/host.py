"""A host at work: keeps its lease, takes devices that nobody owns, gives surplus back, sees what people ask."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

from devices.hosting import leases, shares, watchdog
from devices.hosting.leases import Abandon, Lease, LeaseTimes, OwnedDevice
from devices.hosting.sessions import Sessions
from devices.hosting.shares import Share
from devices.hosting.threads import DatabaseThread
from devices.hosting.watchdog import Watchdog

logger = logging.getLogger(__name__)

LOOK_S = 2.0
RETRY_S = 1.0
ANSWER_S = 0.5  # in which gateways say how they are
TAKE_AT_ONCE = 1_000
GIVE_AT_ONCE = 50  # handed over in small batches: what a host gives up is offline until the next one has it
Meters = Callable[[], dict[str, Any]]


class Host:
    """The duties of one host. ``lost`` is set when another incarnation has the id: stop at once."""

    def __init__(
        self,
        lease: Lease,
        times: LeaseTimes,
        drivers: Sequence[str],
        sessions: Sessions,
        abandon: Abandon,
        meters: Meters = dict,
    ) -> None:
        self.lease = lease
        self.times = times
        self.drivers = drivers
        self.sessions = sessions
        self.abandon = abandon
        self.meters = meters
        self.watchdog = Watchdog(times)
        self.lost = asyncio.Event()
        self._renewals = DatabaseThread("lease")  # its own: no takeover that waits for a lock may cost the lease
        self._database = DatabaseThread("host")
        self._looked = asyncio.Event()
        self._asked = asyncio.Event()
        self._again: set[int] = set()

    async def run(self) -> None:
        self.watchdog.start()
        await asyncio.gather(
            self._renew_for_ever(), self._take_for_ever(), self._give_for_ever(), self._look_for_ever()
        )

    def look(self, device_ids: Sequence[int]) -> None:
        """Somebody asks for these devices: look now instead of in 2 s, show their pairing codes again, and say at once
        how this host is."""
        self._again.update(device_ids)
        self._looked.set()
        self._asked.set()

    async def close(self) -> None:
        """The orderly end: the claim is kept for a restart on this disk."""
        self.watchdog.stop()
        try:
            await self._renewals.run(leases.lay_down, self.lease, self.times)
        except Exception:
            logger.exception("The claim could not be laid down; the lease runs out by itself")
        self._renewals.close()
        self._database.close()

    async def _renew_for_ever(self) -> None:
        pause = self.times.renew
        while True:
            await self._until_heartbeat(pause)
            began = watchdog.now()
            try:
                if not await self._renewals.run(leases.renew, self.lease, self.times, self._told()):
                    logger.error("The lease ran out, or another engine took this host's id over: this one ends")
                    if not self.watchdog.is_overdue():  # else the watchdog does it, at once
                        self.lost.set()
                    return
                self.watchdog.renewed(began)
                pause = self.times.renew
            except Exception:
                logger.exception("The lease could not be renewed")
                # PostgreSQL may be back long before the watchdog's patience ends.
                pause = min(RETRY_S, self.times.renew)

    async def _until_heartbeat(self, pause: float) -> None:
        """So many seconds; less when somebody asks, once the gateways have said how they are."""
        try:
            async with asyncio.timeout(pause):
                await self._asked.wait()
        except TimeoutError:
            return
        self.sessions.gateways.ask()
        await asyncio.sleep(ANSWER_S)
        self._asked.clear()

    def _told(self) -> dict[str, Any] | None:
        """What the heartbeat says beside "alive"; no figure that cannot be told may cost the lease."""
        try:
            meters = self.meters()
            json.dumps(meters, allow_nan=False)
            return meters
        except Exception:
            logger.exception("The host's meters could not be read")
            return None

    async def _take_for_ever(self) -> None:
        """At first everything a dead predecessor with this id owned, then whatever nobody living owns."""
        own = True
        while True:
            try:
                await self._take(own)
                own = False  # at once: taken again, what is being sent would be given up
                for device in await self._database.run(leases.ban_over, self.lease):
                    self.sessions.reopen(device)
            except Exception:
                logger.exception("Devices could not be taken over")
            await asyncio.sleep(min(LOOK_S, self.times.renew / 2))

    async def _take(self, own: bool) -> None:
        if own:
            taken = await self._database.run(
                leases.take, self.lease, self.drivers, self.abandon, room=1_000_000, own=True
            )
        else:
            taken = await self._take_share()
        for device in taken:
            self.sessions.keep(device)
        if taken:
            logger.info("Took %d devices", len(taken))

    async def _take_share(self) -> list[OwnedDevice]:
        taken: list[OwnedDevice] = []
        for share in await self._database.run(shares.fair_shares, self.lease):
            if share.fair > share.mine:
                room = min(TAKE_AT_ONCE, share.fair - share.mine)
                taken += await self._database.run(leases.take, self.lease, [share.driver], self.abandon, room=room)
        return taken

    async def _give_for_ever(self) -> None:
        """Apart from taking: closing sessions takes its time, and the devices of a dead host must not wait for it."""
        while True:
            await asyncio.sleep(min(LOOK_S, self.times.renew / 2))
            try:
                for share in await self._database.run(shares.fair_shares, self.lease):
                    if share.retiring:
                        self.sessions.interrupt_pairings(share.driver)
                    if share.mine > share.fair:
                        await self._give(share)
            except Exception:
                logger.exception("Devices could not be handed over")

    async def _give(self, share: Share) -> None:
        most = min(share.mine - share.fair, GIVE_AT_ONCE)
        resting = await self._database.run(shares.rest, self.lease, share, most)
        released: list[int] = []
        try:
            closed = await self.sessions.hand_over(resting)
            released = await self._database.run(shares.release, self.lease, closed)
        finally:
            for device_id in released:
                self.sessions.drop(device_id)
            self.sessions.take_back(resting)
        if released:
            logger.info("Handed %d devices over", len(released))

    async def _look_for_ever(self) -> None:
        since_all = 0.0
        while True:
            try:
                await self._look(everything=since_all >= self.times.renew)
            except Exception:
                logger.exception("Requests could not be read")
            since_all = 0.0 if since_all >= self.times.renew else since_all + LOOK_S
            try:
                await asyncio.wait_for(self._looked.wait(), LOOK_S)
            except TimeoutError:
                continue
            self._looked.clear()

    async def _look(self, *, everything: bool) -> None:
        again, self._again = self._again, set()
        for device in await self._database.run(leases.requested, self.lease):
            self.sessions.serve(device)
        for device_id in again:
            self.sessions.show_again(device_id)
        if everything:
            owned = await self._database.run(leases.assigned, self.lease)
            for device in owned:
                self.sessions.keep(device)
            for device_id in self.sessions.sessions.keys() - {device.id for device in owned}:
                self.sessions.drop(device_id)
