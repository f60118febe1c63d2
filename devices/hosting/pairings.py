"""The pairing desk: links new sessions, each in a gateway process of its own, a few at a time, in the order they came.

A process of its own, because a link that nobody finishes can never be stopped inside one.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from devices.gateway import contract
from devices.gateway.client import Gateway
from devices.gateway.contract import Event
from devices.hosting import session_files
from devices.hosting.leases import OwnedDevice
from devices.hosting.states import Report, write
from devices.hosting.threads import DatabaseThread
from devices.live import push_code, push_place, push_typed_code

logger = logging.getLogger(__name__)

SILENCE_S = 240.0  # a pairing that says nothing for so long is ended
ANSWER_S = 20.0  # for what a linked session is asked
STOP_S = 5.0
CLOSE_S = 8.0

E = TypeVar("E")
# Called with a device that is linked now, whose session file is free, and the path of a copy of it ("" for none).
Linked = Callable[[OwnedDevice, str], None]


@dataclass(frozen=True, slots=True)
class Turn:
    """It is this device's turn."""


@dataclass(frozen=True, slots=True)
class End:
    """The pairing comes to nothing, for this reason; without one nobody is told: the device is another host's now."""

    why: str


@dataclass(slots=True, eq=False)
class Pairing:
    """One device at the desk: what it is told, and what its page shows at this moment, which is stored nowhere."""

    device: OwnedDevice
    session: Path
    mailbox: asyncio.Queue[Event | Turn | End] = field(default_factory=asyncio.Queue)
    place: int = 0
    code: tuple[str, float] | None = None  # to scan, and when it ends
    typed_code: str = ""
    gateway: Gateway | None = None
    copy: str = ""
    ending: bool = False  # somebody has ended it

    @property
    def types_for(self) -> str:
        """The number that a code to type is asked for; empty: a code is scanned."""
        return self.device.pair_phone if self.device.pair_by_code else ""

    def hear(self, events: Sequence[Event]) -> None:
        for event in events:
            self.mailbox.put_nowait(event)

    def heard(self, kind: type[E]) -> E | None:
        """The next word of this kind among those that have come already."""
        while not self.mailbox.empty():
            if isinstance(word := self.mailbox.get_nowait(), kind):
                return word
        return None

    async def next(self, kind: type[E], patience: float) -> E | None:
        """The next word of this kind; None when none comes, or the pairing ends before."""
        try:
            async with asyncio.timeout(patience):
                while not isinstance(word := await self.mailbox.get(), End):
                    if isinstance(word, kind):
                        return word
        except TimeoutError:
            pass
        return None


class PairingDesk:
    """``programs``: driver → argv of its gateway; ``at_once``: how many devices are linked at the same time."""

    def __init__(
        self,
        host: str,
        programs: Mapping[str, Sequence[str]],
        at_once: int,
        database: DatabaseThread,
        on_linked: Linked,
    ) -> None:
        self.host = host
        self.programs = programs
        self.at_once = at_once
        self.pairings: dict[int, Pairing] = {}
        self._database = database
        self._on_linked = on_linked
        self._waiting: deque[Pairing] = deque()
        self._turns: set[Pairing] = set()
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------------ what the host asks

    def begin(self, device: OwnedDevice, session: Path) -> bool:
        """Link the device as soon as there is room; false when that cannot be taken up now: ask again."""
        if self._closed or device.id in self.pairings:
            return False
        pairing = self.pairings[device.id] = Pairing(device, session)
        self._waiting.append(pairing)
        self._call_next()
        self._spawn(self._see_through(pairing))
        return True

    def end(self, device_id: int, why: str) -> bool:
        """End the device's pairing for this reason (see `End`); false when there is none."""
        pairing = self.pairings.get(device_id)
        if pairing is not None and not pairing.ending:
            pairing.ending = True
            pairing.mailbox.put_nowait(End(why))
        return pairing is not None

    def show_again(self, device_id: int) -> None:
        """Publish the code or the place of this moment once more, for a page that has just been opened."""
        pairing = self.pairings.get(device_id)
        if pairing is not None:
            self._show(pairing)

    async def close(self) -> None:
        """Take up nothing more, end every pairing, and wait until that is written down; but no longer than CLOSE_S."""
        self._closed = True
        for device_id in self.pairings:
            self.end(device_id, "interrupted")
        until = asyncio.get_running_loop().time() + CLOSE_S
        while self._tasks and (left := until - asyncio.get_running_loop().time()) > 0:
            await asyncio.wait(self._tasks, timeout=left)
        for task in self._tasks:
            task.cancel()

    # ------------------------------------------------------------------ one pairing, from first to last

    async def _see_through(self, pairing: Pairing) -> None:
        try:
            ended = await self._wait(pairing) or await self._pair(pairing)
        except Exception:
            logger.exception("A pairing failed")
            ended = End("interrupted")
        del self.pairings[pairing.device.id]
        self._leave(pairing)
        if ended is None:
            self._on_linked(pairing.device, pairing.copy)
        elif ended.why:
            await self._tell(pairing, "new", ended.why, served=True)

    async def _wait(self, pairing: Pairing) -> End | None:
        if pairing in self._waiting:
            await self._tell(pairing, "pairing", "queued")
        while not isinstance(word := await pairing.mailbox.get(), Turn):
            if isinstance(word, End):
                return word
        return None

    async def _pair(self, pairing: Pairing) -> End | None:
        """None when it is linked, with its process ended and its session file free."""
        if not await self._tell(pairing, "pairing"):
            return End("")
        session_files.remove(pairing.session)  # of a device that is not linked: nobody's session any more
        try:
            pairing.gateway = await Gateway.start(
                [sys.executable, *self.programs[pairing.device.driver]],
                on_events=pairing.hear,
                on_exit=lambda _: pairing.mailbox.put_nowait(End("interrupted")),
            )
        except OSError as error:
            logger.error("A gateway to pair in could not be started: %s", error)
            return End("interrupted")
        try:
            ended = await self._talk(pairing, pairing.gateway)
        finally:
            await pairing.gateway.stop(STOP_S)
        if ended is not None and (crossed := pairing.heard(contract.Paired)):
            ended = await self._record(pairing, crossed.phone)  # scanned while somebody ended it: linked it is
        if ended is not None:
            session_files.remove(pairing.session)
        return ended

    async def _talk(self, pairing: Pairing, gateway: Gateway) -> End | None:
        device = pairing.device
        gateway.post([contract.Pair(device.id, device.epoch, str(pairing.session), pairing.types_for)])
        told = await self._show_codes(pairing)
        if isinstance(told, End):
            return told
        ended = await self._record(pairing, told.phone)
        await pairing.next(contract.Online, ANSWER_S)  # the phone waits for the new session's first log-in
        if ended is not None:
            gateway.post([contract.Unlink(device.id)])
            await pairing.next(contract.Unlinked, ANSWER_S)
            return ended
        gateway.post([contract.Close(device.id, 1)])
        taken = await pairing.next(contract.SnapshotTaken, ANSWER_S)
        pairing.copy = taken.path if taken else ""
        return None

    async def _show_codes(self, pairing: Pairing) -> contract.Paired | End:
        while True:
            try:
                word = await asyncio.wait_for(pairing.mailbox.get(), SILENCE_S)
            except TimeoutError:
                return End("no answer")
            match word:
                case contract.Qr(payload=payload, expires_s=expires_s):
                    pairing.code = (payload, time.time() + expires_s)
                case contract.Code(code=code):
                    pairing.typed_code = code
                case contract.PairFailed(why=why):
                    return End(why)
                case contract.Outdated():
                    return End("outdated")
                case contract.Banned():
                    return End("refused")
                case contract.Paired() | End():
                    pairing.code, pairing.typed_code = None, ""
                    return word
            self._show(pairing)

    async def _record(self, pairing: Pairing, phone: str) -> End | None:
        """Write down that the number is linked; why it may not be is the end of it."""
        device = pairing.device
        if device.pair_phone and phone != device.pair_phone:
            return End("another number")
        report = Report(device.id, device.epoch, "connecting", phone=phone, served=True)
        written = await write(self._database, self.host, [report])
        if device.id in written.taken:
            return End("taken")
        if device.id not in written.known:
            return End("")
        pairing.device = replace(device, phone=phone)
        return None

    async def _tell(self, pairing: Pairing, state: str, why: str = "", *, served: bool = False) -> bool:
        """False when the device is not this host's any more."""
        report = Report(pairing.device.id, pairing.device.epoch, state, why, served=served)
        return bool((await write(self._database, self.host, [report])).known)

    # ------------------------------------------------------------------ turns and pages

    def _leave(self, pairing: Pairing) -> None:
        self._turns.discard(pairing)
        if pairing in self._waiting:
            self._waiting.remove(pairing)
        self._call_next()

    def _call_next(self) -> None:
        while self._waiting and len(self._turns) < self.at_once:
            pairing = self._waiting.popleft()
            self._turns.add(pairing)
            pairing.place = 0
            pairing.mailbox.put_nowait(Turn())
        for place, pairing in enumerate(self._waiting, start=1):
            if pairing.place != place:
                pairing.place = place
                self._show(pairing)

    def _show(self, pairing: Pairing) -> None:
        device_id = pairing.device.id
        if pairing.place:
            self._spawn(self._push(push_place, device_id, pairing.place))
        elif pairing.typed_code:
            self._spawn(self._push(push_typed_code, device_id, pairing.typed_code))
        elif not pairing.types_for and pairing.code and pairing.code[1] > time.time():
            payload, until = pairing.code
            self._spawn(self._push(push_code, device_id, payload, until - time.time()))

    async def _push(self, push: Callable[..., None], *shown: Any) -> None:
        try:
            await self._database.run(push, *shown)
        except Exception:  # the page asks again
            logger.exception("A pairing could not be shown")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
