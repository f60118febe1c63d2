"""Settling: writes down what became of attempts, in batches, until PostgreSQL has taken every one of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from campaigns import outbox
from campaigns.metering import Metering
from campaigns.notes import OUTAGE, Notes
from campaigns.outbox import Settlement
from devices.fault_points import fault_point
from devices.hosting.threads import DatabaseThread

logger = logging.getLogger(__name__)

SETTLE_AT_ONCE = 1_000
SETTLE_S = 0.04
# Called with what is written down, and the seconds until each device may send again.
Closed = Callable[[Sequence[Settlement], dict[int, float]], None]


class Settling:
    """``closed`` hears of each batch once it is committed, without those that somebody's lock has postponed."""

    def __init__(self, notes: Notes, closed: Closed, metering: Metering) -> None:
        self.notes = notes
        self.metering = metering
        self._closed = closed
        self._settlements: list[Settlement] = []
        self._postponed: list[Settlement] = []
        self._database = DatabaseThread("settle")

    def add(self, settlement: Settlement) -> None:
        self._settlements.append(settlement)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(SETTLE_S)
            receipts = self.notes.take_receipts()
            settlements = self._postponed + self._settlements
            self._postponed, self._settlements = [], []
            for start in range(0, len(settlements), SETTLE_AT_ONCE):
                await self._settle(settlements[start : start + SETTLE_AT_ONCE])
            # Only now: a receipt finds its message by the id that the settlement before it wrote down. Too early, the
            # id would be a stranger's, and might pass for that of another message of the same person.
            self.notes.ripen(receipts, {settlement.device for settlement in self._postponed})

    async def _settle(self, batch: list[Settlement]) -> None:
        """Written until it works: what WhatsApp told us must not be lost. Repeating is safe."""
        fault_point("before_settle")
        while True:
            try:
                settled = await self._database.run(outbox.settle, batch)
                break
            except OUTAGE:
                logger.exception("Results could not be written; again in half a second")
                self.metering.doubt(settlement.device for settlement in batch)  # or was it only the answer that failed?
                await asyncio.sleep(0.5)
            except Exception:
                await self._settle_apart(batch)
                return
        fault_point("after_settle")
        self.metering.settled(settled.moved)
        self._postponed += settled.postponed
        postponed = {settlement.tag for settlement in settled.postponed}
        self._closed([settlement for settlement in batch if settlement.tag not in postponed], settled.waits)

    async def _settle_apart(self, batch: list[Settlement]) -> None:
        """One result that cannot be written must not hold up all the others: look for it, and write what is safe."""
        if len(batch) > 1:
            await self._settle(batch[: len(batch) // 2])
            await self._settle(batch[len(batch) // 2 :])
            return
        plain = batch[0]._replace(reason="what was said of it cannot be stored", text=None, wire_id=None, chat=None)
        if plain == batch[0]:
            logger.exception("The result of message %d cannot be written; its device stops", plain.message)
            return
        logger.exception("The result of message %d is written without its words", plain.message)
        await self._settle([plain])

    def close(self) -> None:
        self._database.close()
