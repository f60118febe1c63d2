"""What sessions tell beside outcomes: receipts, replies and evidence, written down apart from the sending."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import islice
from typing import Any

from django.db import InterfaceError, OperationalError

from campaigns import outbox
from campaigns.actions.replies import note_incoming
from campaigns.metering import Metering
from campaigns.outbox import ReceiptRow
from campaigns.pulse import Pulse
from devices.gateway import contract
from devices.hosting.sessions import Sessions
from devices.hosting.threads import DatabaseThread

logger = logging.getLogger(__name__)

NOTE_S = 0.2
SEARCH_S = 5.0
RECEIPTS_KEPT = 50_000
STRANGERS_KEPT = 100  # of one device
STRANGERS_KEPT_S = 120.0  # after a doubt, or a login: the session file is searched meanwhile
INCOMING_AT_ONCE = 500
RECEIPTS_AT_ONCE = 300  # their streams are locked until all of them are written
OUTAGE = (OperationalError, InterfaceError)  # PostgreSQL's state is to blame, and not what it was told


class Notes:
    """Receipts and replies, on a thread of their own: many at once must not hold up the sending.

    ``unsettled`` tells whether a device has a message under way, or is not known to be online.
    """

    def __init__(self, pulse: Pulse, unsettled: Callable[[int], bool], metering: Metering) -> None:
        self.pulse = pulse
        self.metering = metering
        self._unsettled = unsettled
        self._strangers: dict[int, list[ReceiptRow]] = {}  # by device: ids that no settled message has
        self._doubted_at: dict[int, float] = {}
        self._receipts: list[ReceiptRow] = []
        self._ripe: list[ReceiptRow] = []
        self._incoming: deque[contract.Incoming] = deque()
        self._found: list[contract.Found] = []
        self._noted = 0  # of the incoming messages there ever were
        self._doubtful: set[int] = set()  # devices whose session files may know what became of a message
        self._questions = 0
        self._loop = asyncio.get_running_loop()
        self._database = DatabaseThread("notes")

    async def run(self, sessions: Sessions) -> None:
        await asyncio.gather(self._note_for_ever(), self._search_for_ever(sessions))

    # ------------------------------------------------------------------ what is heard

    def receipt(self, receipt: contract.Receipt) -> None:
        if len(self._receipts) + len(self._ripe) < RECEIPTS_KEPT:
            device, chat, kind, at = receipt.device, receipt.chat, receipt.kind, receipt.at
            self._receipts += [ReceiptRow(device, id, chat, kind, at) for id in receipt.ids]

    def incoming(self, incoming: contract.Incoming) -> None:
        if len(self._incoming) < RECEIPTS_KEPT:
            self._incoming.append(incoming)

    def found(self, found: contract.Found) -> None:
        self._found.append(found)

    def search(self, devices: Iterable[int]) -> None:
        """Something may be uncertain on these devices: search their session files.

        A file is open while its device is online; of one that is not, `on_online` speaks again.
        """
        for device in devices:
            self._doubtful.add(device)
            self._doubted_at[device] = self._loop.time()

    def doubt(self, devices: Iterable[int]) -> None:
        """A message of each of these devices has just become uncertain; its receipt may have come before."""
        for device in list(devices):
            self.search([device])
            self._hear_strangers(device)

    def _hear_strangers(self, device: int) -> None:
        self._ripe += self._strangers.pop(device, [])

    def _keep_strangers(self, receipts: Iterable[ReceiptRow]) -> None:
        """A receipt may come long before the library gives up waiting for the acknowledgement, which was lost; and at
        the login after a crash, before anybody has looked for what the crash left in doubt."""
        for receipt in receipts:
            if self._may_be_ours(receipt.device):
                kept = self._strangers.setdefault(receipt.device, [])
                kept.append(receipt)
                del kept[:-STRANGERS_KEPT]

    def _may_be_ours(self, device: int) -> bool:
        doubted_at = self._doubted_at.get(device, float("-inf"))
        return self._unsettled(device) or doubted_at > self._loop.time() - STRANGERS_KEPT_S

    def _forget_strangers(self) -> None:
        self._doubted_at = {device: at for device, at in self._doubted_at.items() if self._may_be_ours(device)}
        self._strangers = {device: kept for device, kept in self._strangers.items() if self._may_be_ours(device)}

    def take_receipts(self) -> list[ReceiptRow]:
        receipts, self._receipts = self._receipts, []
        return receipts

    def ripen(self, receipts: list[ReceiptRow], unsettled: Collection[int]) -> None:
        """The settlements heard before these receipts are written, except those of the ``unsettled`` devices.

        Now each receipt finds its message by its id.
        """
        self._ripe += [receipt for receipt in receipts if receipt.device not in unsettled]
        self._receipts[:0] = [receipt for receipt in receipts if receipt.device in unsettled]

    @property
    def heard(self) -> int:
        return self._noted + len(self._incoming)

    @property
    def noted(self) -> int:
        return self._noted

    # ------------------------------------------------------------------ what is written

    async def _note_for_ever(self) -> None:
        while True:
            await asyncio.sleep(NOTE_S)
            found, self._found = self._found, []
            if found:
                await self._write(self._note_evidence, found)
                for one in found:
                    if any(one.ids.values()):
                        self._hear_strangers(one.device)
            receipts, self._ripe = self._ripe, []
            for start in range(0, len(receipts), RECEIPTS_AT_ONCE):
                await self._write(self._settle_receipts, receipts[start : start + RECEIPTS_AT_ONCE])
            while self._incoming:
                batch = list(islice(self._incoming, INCOMING_AT_ONCE))
                await self._write(self._note_incoming, batch)
                for _ in batch:
                    self._incoming.popleft()
                self._noted += len(batch)

    async def _search_for_ever(self, sessions: Sessions) -> None:
        while True:
            await asyncio.sleep(SEARCH_S)
            self._forget_strangers()
            devices, self._doubtful = {device for device in self._doubtful if sessions.is_online(device)}, set()
            if not devices:
                continue
            try:
                doubts = await self._database.run(outbox.doubts_of, list(devices))
            except OUTAGE:
                self._doubtful |= devices
                continue
            by_device: dict[int, list[bytes]] = {}
            for doubt in doubts:
                by_device.setdefault(doubt.device, []).append(doubt.tag)
            for device in devices - by_device.keys():
                self._doubted_at.pop(device, None)
            for device, tags in by_device.items():
                self._questions += 1
                sessions.post(device, contract.Evidence(device, self._questions, tags))

    def _settle_receipts(self, receipts: Sequence[ReceiptRow]) -> set[int]:
        """In the database's thread."""
        settled = outbox.settle_receipts(receipts)
        self._loop.call_soon_threadsafe(self._keep_strangers, settled.strangers)
        self._loop.call_soon_threadsafe(self._ripe.extend, settled.postponed)
        self._loop.call_soon_threadsafe(self.metering.receipted, settled.moved)
        return settled.campaigns

    def _note_incoming(self, incoming: Sequence[contract.Incoming]) -> set[int]:
        """In the database's thread."""
        noted = note_incoming(incoming)
        self._loop.call_soon_threadsafe(self.metering.replied, noted.replied)
        return noted.campaigns

    @staticmethod
    def _note_evidence(found: Sequence[contract.Found]) -> set[int]:
        for one in found:
            outbox.note_evidence(one.device, {bytes.fromhex(tag): id for tag, id in one.ids.items()})
        return set()

    async def _write(self, write: Callable[[Any], set[int]], told: Sequence[Any]) -> None:
        """Written once PostgreSQL answers, since a reply may ask to stop. What it refuses is looked for by halves, so
        that it takes no others with it, and is lost (P15)."""
        while True:
            try:
                for campaign in await self._database.run(write, told):
                    self.pulse.touch(campaign)
                return
            except OUTAGE:
                logger.exception("Receipts or replies could not be written; again in a second")
                self.metering.doubt({one.device for one in told})
                await asyncio.sleep(1)
            except Exception as error:
                if len(told) == 1:  # what PostgreSQL says of it may quote it
                    logger.error("A word of device %d cannot be written: %s", told[0].device, type(error).__name__)
                    return
                break
        await self._write(write, told[: len(told) // 2])
        await self._write(write, told[len(told) // 2 :])

    def close(self) -> None:
        self._database.close()
