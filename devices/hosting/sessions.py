"""Sessions: keeps every device that this host owns open in a gateway, and writes down what gateways say of it.

Everything here runs in the engine's event loop; states are written in batches.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, get_args

from devices.gateway import contract
from devices.gateway.contract import Command, Event
from devices.hosting import session_files, vault
from devices.hosting.copies import Copies
from devices.hosting.gateways import Gateways, GatewaySlot, Limits
from devices.hosting.leases import OwnedDevice
from devices.hosting.pairings import PairingDesk
from devices.hosting.ramp import Ramp
from devices.hosting.sealing import Seal
from devices.hosting.states import FATAL, Report, write
from devices.hosting.threads import DatabaseThread
from devices.hosting.vault import Vault

logger = logging.getLogger(__name__)

FLUSH_S = 0.1
COPIES_AT_ONCE = 4
FAILED_PAUSE_S = 60.0
LOOK_S = 0.05
PATIENCE_S = 120.0  # longer than a gateway may take to answer
# Every outcome carries the wire's instant; the figures are for whoever runs the gateways.
UNHEARD = (contract.Wire, contract.StatsReport)
IN_USE = "session in use"
IN_USE_PAUSE_S = 2.0


class SendingSide(Protocol):
    """What the engine's sending half wants to hear of sessions."""

    def on_outcome(self, outcome: contract.Outcome) -> None: ...
    def on_receipt(self, receipt: contract.Receipt) -> None: ...
    def on_incoming(self, incoming: contract.Incoming) -> None: ...
    def on_found(self, found: contract.Found) -> None: ...
    def on_numbers(self, numbers: contract.Numbers) -> None: ...
    def on_online(self, devices: Iterable[tuple[int, int, int, int]]) -> None: ...
    def on_offline(self, devices: Iterable[int]) -> None: ...
    def on_lost(self, devices: Iterable[int], why: str) -> None: ...

    def is_idle(self, device: int) -> bool:
        """Whether nothing of the device's is under way, nor will be before `on_online`, once it was `on_offline`."""


@dataclass(slots=True)
class Session:
    """One device in this host's hands."""

    device: OwnedDevice
    gateway: GatewaySlot
    state: str
    served: tuple[str, float] = ("", 0.0)  # the request done last, so that none is done twice
    opening: bool = False  # its file is being brought, and its gateway told next
    leaving: bool = False  # it is being closed, for another host or another gateway to have it
    fatal: bool = False  # it ends every gateway that it is opened in: a person has to reconnect it
    fresh: bool = False  # opened with fresh keys, which the gateway has not confirmed yet

    @property
    def stays_open(self) -> bool:
        """Whether the device belongs connected: linked, and nothing is waited for before it may be opened."""
        return bool(self.device.phone) and self.state != "banned" and not self.leaving and not self.fatal


class Sessions:
    """Keeps devices open. ``programs``: driver → argv of its gateway; ``sizes``: driver → devices a process."""

    def __init__(
        self,
        host: str,
        sessions_dir: Path,
        programs: Mapping[str, Sequence[str]],
        sizes: Mapping[str, int],
        sending: SendingSide,
        *,
        seal: Seal | None = None,
        copy_every_s: float = vault.COPY_EVERY_S,
        pairings_at_once: int = 10,
        limits: Mapping[str, Limits] | None = None,
    ) -> None:
        self.host = host
        self.sending = sending
        self.vault = Vault(host, sessions_dir, seal, copy_every_s)
        self.copies = Copies(self.vault)
        self.gateways = Gateways(programs, sizes, limits or {}, self)
        self.sessions: dict[int, Session] = {}
        self.ramp = Ramp()
        # By class, the frequent words; all others are about a session's state.
        self._hearers: dict[type[Event], Callable[[Any], None]] = {
            **dict.fromkeys(get_args(contract.Outcome), sending.on_outcome),
            **dict.fromkeys(UNHEARD, _ignore),
            contract.Receipt: sending.on_receipt,
            contract.Incoming: sending.on_incoming,
            contract.Found: sending.on_found,
            contract.Numbers: sending.on_numbers,
            contract.SnapshotTaken: self.copies.heard,
        }
        self._reports: list[Report] = []
        self._handed_over: set[int] = set()  # by `hand_over`, and not taken back yet
        self._tasks: set[asyncio.Task[Any]] = set()
        self._database = DatabaseThread("states")
        self.desk = PairingDesk(host, programs, pairings_at_once, self._database, self._linked)

    # ------------------------------------------------------------------ what the host asks

    async def run(self) -> None:
        self.vault.tidy()
        await asyncio.gather(self.gateways.run(), self._open_for_ever(), self._flush_for_ever(), self._copy_for_ever())

    def keep(self, device: OwnedDevice) -> None:
        """Open the device, or move its session to a newer epoch; a repeat of what is known does nothing."""
        known = self.sessions.get(device.id)
        if known and known.device.epoch == device.epoch:
            self._weigh(known, device.weight)
            return
        if known:
            known.device, known.state = device, device.state
            self.desk.end(device.id, "")  # what it does is fenced off; whoever asks is served anew
        else:
            slot = self.gateways.place_for(device.driver)
            slot.devices.add(device.id)
            known = self.sessions[device.id] = Session(device, slot, device.state)
        if known.stays_open:
            self.ramp.add([device.id])

    def _weigh(self, session: Session, weight: int) -> None:
        """Staff may have given the workspace another weight meanwhile."""
        device = session.device
        if device.weight != weight:
            session.device = replace(device, weight=weight)
            if session.state == "online":
                self.sending.on_online([(device.id, device.epoch, device.workspace, weight)])

    def reopen(self, device: OwnedDevice) -> None:
        """Connect a device whose ban is over."""
        self.keep(device)
        self.sessions[device.id].state = device.state
        self.ramp.add([device.id])

    def drop(self, device_id: int) -> None:
        """Close a device that is no longer this host's."""
        session = self.sessions.pop(device_id, None)
        if session:
            self.desk.end(device_id, "")
            session.gateway.devices.discard(device_id)
            session.gateway.post([contract.Close(device_id)])
            self.vault.forget([device_id])
            self.sending.on_offline([device_id])

    async def hand_over(self, device_ids: Collection[int]) -> list[int]:
        """Close devices for which nothing is claimed any more; returns those that left a clean copy, or have none.

        Until they are dropped, or taken back, nothing opens them.
        """
        known = [session for device_id in device_ids if (session := self.sessions.get(device_id))]
        leaving = [session for session in known if not session.leaving]  # else: on its way to another gateway here
        for session in leaving:
            session.leaving = True
            self._handed_over.add(session.device.id)
            self.ramp.discard(session.device.id)
        self.sending.on_offline(device_ids)
        unknown = [device_id for device_id in device_ids if device_id not in self.sessions]
        closed = await asyncio.gather(*(self.copies.close(session.gateway, session.device) for session in leaving))
        return unknown + [session.device.id for session, is_closed in zip(leaving, closed, strict=True) if is_closed]

    def take_back(self, device_ids: Iterable[int]) -> None:
        """Open again what was not handed over after all."""
        for device_id in self._handed_over.intersection(device_ids):
            self._handed_over.discard(device_id)
            session = self.sessions.get(device_id)
            if session:
                session.leaving = False
                if session.stays_open:
                    self.ramp.add([device_id])

    def serve(self, device: OwnedDevice) -> None:
        """Do what a person asked of the device; what its gateway can't be told yet is done at the next look."""
        self.keep(device)
        session = self.sessions[device.id]
        asked = (device.request, device.requested_at)
        if session.served != asked and self._do(session, device):
            session.served = asked

    def _do(self, session: Session, device: OwnedDevice) -> bool:
        request = device.request
        if request == "pair":
            return self.desk.begin(device, self.vault.path(device))
        if request == "cancel":
            if not self.desk.end(device.id, "cancelled"):
                self._report(session, "new", "cancelled", served=True)
            return True
        if request == "reconnect" and session.fatal:
            session.fatal = False
            self.gateways.isolate(device.id, session.gateway)
            self._report(session, "connecting", served=True)
            return True
        if not session.gateway.up or session.opening or device.id in self.ramp:
            return False
        if request == "reconnect":
            session.gateway.post([contract.Close(device.id)])
            self._report(session, "connecting", served=True)
            self.ramp.add([device.id])
        elif request == "unlink":
            session.gateway.post([contract.Unlink(device.id)])
        return True

    def show_again(self, device_id: int) -> None:
        """Publish what a pairing shows at this moment once more, for a page that has just been opened."""
        self.desk.show_again(device_id)

    def post(self, device_id: int, command: Command) -> bool:
        """Hand a command to the device's gateway; false when the device has none."""
        session = self.sessions.get(device_id)
        return session is not None and session.gateway.post([command])

    def is_online(self, device_id: int) -> bool:
        session = self.sessions.get(device_id)
        return session is not None and session.state == "online"

    def send_all(self, sends: Iterable[contract.Send]) -> list[contract.Send]:
        """Hand messages to their gateways, a batch each; returns those whose device has no gateway now."""
        batches: dict[int, tuple[GatewaySlot, list[Command]]] = {}
        homeless = []
        for send in sends:
            session = self.sessions.get(send.device)
            if session is None or session.gateway.process is None:
                homeless.append(send)
            else:
                batches.setdefault(id(session.gateway), (session.gateway, []))[1].append(send)
        for slot, batch in batches.values():
            slot.post(batch)
        return homeless

    @property
    def congested(self) -> bool:
        """A gateway does not keep up: claim nothing more for now."""
        return self.gateways.congested

    def meters(self) -> dict[str, Any]:
        """For the host's heartbeat."""
        return {
            "devices": len(self.sessions),
            "online": sum(session.state == "online" for session in self.sessions.values()),
            **self.gateways.meters(),
        }

    def interrupt_pairings(self, driver: str) -> None:
        """The host is to link no more devices of this driver."""
        for device_id, pairing in self.desk.pairings.items():
            if pairing.device.driver == driver:
                self.desk.end(device_id, "interrupted")

    async def end_pairings(self) -> None:
        """Before the end: nobody is linked any more."""
        await self.desk.close()

    async def stop(self) -> None:
        await self.end_pairings()
        for task in self._tasks:
            task.cancel()
        await self.gateways.stop()
        self.vault.close()
        self._database.close()

    # ------------------------------------------------------------------ gateways

    def on_up(self, slot: GatewaySlot) -> None:
        self.ramp.add(device_id for device_id in slot.devices if self.sessions[device_id].stays_open)

    def on_lost(self, slot: GatewaySlot) -> None:
        self.sending.on_lost(list(slot.devices), "gateway died")
        for device_id in slot.devices:
            if device_id in self.desk.pairings:
                continue  # in a process of its own
            session = self.sessions[device_id]
            session.served = ("", 0.0)  # what was asked of the gateway died with it
            if session.stays_open:
                self._report(session, "connecting", "gateway restarts")
        self.copies.lost(slot)

    def on_moved(self, devices: Collection[int], slot: GatewaySlot) -> None:
        for device_id in devices:
            self.sessions[device_id].gateway = slot

    def on_fatal(self, device: int) -> None:
        logger.error("Device %d ends every gateway that it is opened in: it stays closed", device)
        session = self.sessions[device]
        session.fatal = True
        self.ramp.discard(device)
        self._report(session, "offline", FATAL)

    def on_worn(self, slot: GatewaySlot) -> None:
        self._spawn(self._empty(slot))

    async def _empty(self, slot: GatewaySlot) -> None:
        """Move its devices to other gateways, one at a time, the idle ones first; then end it.

        When its process dies meanwhile, the new one needs no replacing.
        """
        while slot.retiring and slot.devices:
            for device_id in sorted(slot.devices, key=self.sending.is_idle, reverse=True):
                await self._move_from(slot, device_id)
            await asyncio.sleep(LOOK_S)
        if slot.retiring:
            await self.gateways.remove(slot)

    async def _move_from(self, slot: GatewaySlot, device_id: int) -> None:
        target = self.gateways.place_for(slot.driver)
        await self._until(lambda: target.up or not slot.retiring, PATIENCE_S)
        session = self.sessions.get(device_id)
        if slot.retiring and target.up and session and session.gateway is slot:
            await self._move(session, target)

    async def _move(self, session: Session, target: GatewaySlot) -> None:
        """Close the device where it is, once nothing of it is under way, and open it there."""
        device = session.device
        self.sending.on_offline([device.id])
        idle = await self._until(lambda: self.sending.is_idle(device.id), PATIENCE_S)
        if idle and not session.leaving and self.sessions.get(device.id) is session:
            session.leaving = True
            await self.copies.close(session.gateway, device)
            session.leaving = False
            if self.sessions.get(device.id) is session:
                session.gateway.devices.discard(device.id)
                target.devices.add(device.id)
                session.gateway = target
                if session.stays_open:
                    self.ramp.add([device.id])
        elif session.state == "online":
            self.sending.on_online([(device.id, device.epoch, device.workspace, device.weight)])

    async def _until(self, condition: Callable[[], bool], patience: float) -> bool:
        deadline = asyncio.get_running_loop().time() + patience
        while not condition():
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(LOOK_S)
        return True

    def _linked(self, device: OwnedDevice, copy: str) -> None:
        if copy:
            self._spawn(self.vault.keep(device, copy, clean=False))
        session = self.sessions.get(device.id)
        if session and session.device.epoch == device.epoch:
            session.device, session.state = device, "connecting"
            self.ramp.add([device.id])

    async def _open_for_ever(self) -> None:
        while True:
            device_ids = await self.ramp.next(self._driver_of)
            if batch := [session for device_id in device_ids if (session := self.sessions.get(device_id))]:
                await self._open(batch)

    def _driver_of(self, device_id: int) -> str | None:
        session = self.sessions.get(device_id)
        return session.device.driver if session and session.gateway.up else None

    async def _open(self, batch: list[Session]) -> None:
        devices = {session.device.id: session.device for session in batch}
        for session in batch:
            session.opening = True
        try:
            brought = await self.vault.bring(list(devices.values()))
        except Exception:
            logger.exception("Sessions could not be brought to this disk; again in a second")
            await asyncio.sleep(1)
            self.ramp.add(devices)
            return
        finally:
            for session in batch:
                session.opening = False
        for session in batch:
            device = devices[session.device.id]
            if self.sessions.get(device.id) is not session or session.device.epoch != device.epoch or session.leaving:
                continue
            if device.id in brought.failed:
                self._report(session, "offline", brought.failed[device.id])
                self.ramp.add_later(device.id, FAILED_PAUSE_S)
            elif device.id in brought.fresh:
                session.fresh = brought.fresh[device.id]
                path = str(self.vault.path(device))
                session.gateway.open(contract.Open(device.id, device.epoch, path, device.phone, session.fresh))

    # ------------------------------------------------------------------ copies

    async def _copy_for_ever(self) -> None:
        """Now and then a copy of every session, a few at a time: who has thousands of devices makes no storm of it."""
        while True:
            await asyncio.sleep(1)
            due = [session for device_id in self.vault.due(COPIES_AT_ONCE) if (session := self.sessions.get(device_id))]
            online = [session for session in due if session.state == "online"]
            await asyncio.gather(*(self.copies.take(session.gateway, session.device) for session in online))

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ------------------------------------------------------------------ what gateways say

    def on_events(self, slot: GatewaySlot, events: list[Event]) -> None:
        for event in events:
            hear = self._hearers.get(type(event))
            if hear is None:
                self._hear_state(slot, event)
            else:
                hear(event)

    def _hear_state(self, slot: GatewaySlot, event: Event) -> None:
        device_id = getattr(event, "device", None)
        session = self.sessions.get(device_id) if device_id is not None else None
        if session is None or session.gateway is not slot or session.leaving:
            return  # the last words of a session that has moved on
        match event:
            case contract.Online():
                if session.fresh:
                    session.fresh = False
                    session_files.refreshed(self.vault.path(session.device))
                self._report(session, "online")
            case contract.Offline(why=why):
                self._report(session, "offline", why)
                if why == IN_USE:  # the gateway does not try again by itself
                    self.ramp.add_later(session.device.id, IN_USE_PAUSE_S)
            case contract.Unlinked(why=why):
                session_files.remove(self.vault.path(session.device))  # also of one that was not open
                session.device = replace(session.device, phone="")
                self._report(session, "unlinked", why, served=True)
            case contract.Replaced():
                self._report(session, "replaced")
            case contract.Banned(until=until, why=why):
                self._report(session, "banned", why, banned_until=until)
            case contract.Outdated():
                self._report(session, "outdated")

    def _report(
        self,
        session: Session,
        state: str,
        reason: str = "",
        *,
        phone: str | None = None,
        banned_until: float | None = None,
        served: bool = False,
    ) -> None:
        session.state = state
        self._reports.append(
            Report(session.device.id, session.device.epoch, state, reason, phone, banned_until, served)
        )

    async def _flush_for_ever(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            reports, self._reports = self._reports, []
            if reports:
                await self._flush(reports)

    async def _flush(self, reports: list[Report]) -> None:
        known, _ = await write(self._database, self.host, reports)
        last = {report.device: report for report in reports}
        for device_id, report in last.items():
            session = self.sessions.get(device_id)
            if session is None or session.device.epoch != report.epoch:
                continue  # dropped or assigned anew meanwhile: what is written speaks of the past
            if device_id not in known:
                self.drop(device_id)
            elif session.leaving:
                continue
            elif report.state == "online":
                device = session.device
                self.sending.on_online([(device_id, report.epoch, device.workspace, device.weight)])
            else:
                self.sending.on_offline([device_id])


def _ignore(event: Event) -> None:
    """Nothing follows from it."""
