"""Sessions: keeps every device that this host owns open in a gateway, and writes down what gateways say of it.

Everything here runs in the engine's event loop; states are written in batches.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from django.db import DataError, IntegrityError

from devices.gateway import contract
from devices.gateway.contract import Command, Event
from devices.hosting.gateways import Gateways, GatewaySlot
from devices.hosting.leases import OwnedDevice
from devices.hosting.states import Report, record
from devices.hosting.threads import DatabaseThread
from devices.live import push_code, push_devices

logger = logging.getLogger(__name__)

FLUSH_S = 0.1
RAMP = {"simulator": 1_000, "whatsapp": 40}  # sessions opened a second
IN_USE = "session in use"
IN_USE_PAUSE_S = 2.0
TAKEN = "This number is already linked to another device here. Unlink it there first."


class SendingSide(Protocol):
    """What the engine's sending half wants to hear of sessions."""

    def on_outcome(self, outcome: contract.Outcome) -> None: ...
    def on_receipt(self, receipt: contract.Receipt) -> None: ...
    def on_incoming(self, incoming: contract.Incoming) -> None: ...
    def on_found(self, found: contract.Found) -> None: ...
    def on_online(self, devices: Iterable[tuple[int, int, int, int]]) -> None: ...
    def on_offline(self, devices: Iterable[int]) -> None: ...
    def on_lost(self, devices: Iterable[int], why: str) -> None: ...


@dataclass(slots=True)
class Session:
    """One device in this host's hands."""

    device: OwnedDevice
    gateway: GatewaySlot
    state: str
    served: tuple[str, float] = ("", 0.0)  # the request done last, so that none is done twice
    code: tuple[str, float] | None = None  # the QR of a pairing under way and when it ends; never stored elsewhere

    @property
    def stays_open(self) -> bool:
        """Whether the device belongs connected: it is linked, and no ban is waited for."""
        return bool(self.device.phone) and self.state != "banned"


class Sessions:
    """Keeps devices open. ``programs``: driver → argv of its gateway; ``sizes``: driver → devices a process."""

    def __init__(
        self,
        host: str,
        sessions_dir: Path,
        programs: Mapping[str, Sequence[str]],
        sizes: Mapping[str, int],
        sending: SendingSide,
    ) -> None:
        self.host = host
        self.sessions_dir = sessions_dir
        self.sending = sending
        self.gateways = Gateways(programs, sizes, on_events=self._hear, on_started=self._reopen_all, on_lost=self._lost)
        self.sessions: dict[int, Session] = {}
        self._to_open: dict[int, None] = {}  # in order, each device once
        self._reports: list[Report] = []
        self._codes: list[tuple[int, str, float]] = []
        self._database = DatabaseThread("states")

    # ------------------------------------------------------------------ what the host asks

    async def run(self) -> None:
        await asyncio.gather(self.gateways.run(), self._open_on_ramp(), self._flush_for_ever())

    def keep(self, device: OwnedDevice) -> None:
        """Open the device, or move its session to a newer epoch; a repeat of what is known does nothing."""
        known = self.sessions.get(device.id)
        if known and known.device.epoch == device.epoch:
            self._weigh(known, device.weight)
            return
        if known:
            known.device, known.state = device, device.state
        else:
            slot = self.gateways.place_for(device.driver)
            slot.devices.add(device.id)
            known = self.sessions[device.id] = Session(device, slot, device.state)
        if known.stays_open:
            self._to_open[device.id] = None

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
        self._to_open[device.id] = None

    def drop(self, device_id: int) -> None:
        """Close a device that is no longer this host's."""
        session = self.sessions.pop(device_id, None)
        if session:
            session.gateway.devices.discard(device_id)
            session.gateway.post([contract.Close(device_id)])
            self.sending.on_offline([device_id])

    def serve(self, device: OwnedDevice) -> None:
        """Do what a person asked of the device; what its gateway can't be told yet is done at the next look."""
        self.keep(device)
        session = self.sessions[device.id]
        asked = (device.request, device.requested_at)
        if session.gateway.process is None or session.served == asked or device.id in self._to_open:
            return
        session.served = asked
        match device.request:
            case "pair":
                session.code = None
                session.gateway.post([contract.Pair(device.id, device.epoch, self._path(device))])
                self._report(session, "pairing", "Waiting for the phone")
            case "cancel":
                session.code = None
                session.gateway.post([contract.Close(device.id)])
                self._report(session, "new", "Pairing was cancelled", served=True)
            case "reconnect":
                session.gateway.post([contract.Close(device.id)])
                self._report(session, "connecting", served=True)
                self._to_open[device.id] = None
            case "unlink":
                session.gateway.post([contract.Unlink(device.id)])

    def show_again(self, device_id: int) -> None:
        """Publish the current pairing code once more, for a page that has just been opened."""
        session = self.sessions.get(device_id)
        if session and session.code and session.code[1] > time.time():
            self._codes.append((device_id, session.code[0], session.code[1] - time.time()))

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

    async def stop(self) -> None:
        await self.gateways.stop()
        self._database.close()

    # ------------------------------------------------------------------ gateways

    def _reopen_all(self, slot: GatewaySlot) -> None:
        self._to_open |= {device_id: None for device_id in slot.devices if self.sessions[device_id].stays_open}

    def _lost(self, slot: GatewaySlot) -> None:
        self.sending.on_lost(list(slot.devices), "gateway died")
        for device_id in slot.devices:
            session = self.sessions[device_id]
            session.served = ("", 0.0)  # what was asked of the gateway died with it
            if session.state == "pairing":
                self._report(session, "new", "Pairing was interrupted. Start again.", served=True)
            elif session.stays_open:
                self._report(session, "connecting", "The gateway is being restarted")

    def _path(self, device: OwnedDevice) -> str:
        return str(self.sessions_dir / f"{device.driver}-{device.id}.session")

    async def _open_on_ramp(self) -> None:
        """Opens sessions no faster than the driver's ramp, so that a restart is no storm of log-ins."""
        period = 0.05
        while True:
            budget = {driver: rate * period for driver, rate in RAMP.items()}
            for device_id in list(self._to_open):
                session = self.sessions.get(device_id)
                if session is None:
                    del self._to_open[device_id]
                    continue
                device = session.device
                if session.gateway.process is None or budget[device.driver] < 1:
                    continue
                del self._to_open[device_id]
                budget[device.driver] -= 1
                session.gateway.post([contract.Open(device.id, device.epoch, self._path(device), device.phone)])
            await asyncio.sleep(period)

    # ------------------------------------------------------------------ what gateways say

    def _hear(self, slot: GatewaySlot, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, contract.Wire | contract.StatsReport):
                continue  # every outcome carries the wire's instant; the figures are for whoever runs the gateways
            if isinstance(event, contract.Sent | contract.NotSent | contract.Refused | contract.Unknown):
                self.sending.on_outcome(event)
            elif isinstance(event, contract.Receipt):
                self.sending.on_receipt(event)
            elif isinstance(event, contract.Incoming):
                self.sending.on_incoming(event)
            elif isinstance(event, contract.Found):
                self.sending.on_found(event)
            else:
                self._hear_state(slot, event)

    def _hear_state(self, slot: GatewaySlot, event: Event) -> None:
        device_id = getattr(event, "device", None)
        session = self.sessions.get(device_id) if device_id is not None else None
        if session is None or session.gateway is not slot:  # the last words of a session that has moved on
            return
        match event:
            case contract.Qr(payload=payload, expires_s=expires_s):
                session.code = (payload, time.time() + expires_s)
                self._codes.append((session.device.id, payload, expires_s))
            case contract.Paired(phone=phone):
                session.code = None
                session.device = replace(session.device, phone=phone)
                if session.state != "pairing":  # cancelled while the phone scanned: linked it is, and to be opened
                    self._to_open[session.device.id] = None
                self._report(session, "connecting", phone=phone, served=True)
            case contract.PairFailed(why=why):
                session.code = None
                self._report(session, "new", why, served=True)
            case contract.Online():
                self._report(session, "online")
            case contract.Offline(why=why):
                self._report(session, "offline", why)
                if why == IN_USE:  # the gateway does not try again by itself
                    again = {session.device.id: None}
                    asyncio.get_running_loop().call_later(IN_USE_PAUSE_S, self._to_open.update, again)
            case contract.Unlinked(why=why):
                session.device = replace(session.device, phone="")
                if session.state != "unlinked":  # else we did it ourselves, and have said why
                    self._report(session, "unlinked", why, served=True)
            case contract.Replaced():
                self._report(session, "replaced", "Another session of this number took over")
            case contract.Banned(until=until, why=why):
                self._report(session, "banned", why, banned_until=until)
            case contract.Outdated():
                self._report(session, "outdated", "WhatsApp asks for a newer library")

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
            codes, self._codes = self._codes, []
            if codes:
                await self._show(codes)
            if reports:
                await self._flush(reports)

    async def _show(self, codes: list[tuple[int, str, float]]) -> None:
        try:
            await self._database.run(_push_codes, codes)
        except Exception:  # the page asks again
            logger.exception("Pairing codes could not be shown")

    async def _flush(self, reports: list[Report]) -> None:
        """Written until it works: a state nobody wrote down would hold a device's messages for ever."""
        taken: set[int] = set()
        while True:
            try:
                known, taken = await self._database.run(_write, self.host, reports)
                break
            except Exception:
                logger.exception("Device states could not be written; again in a second")
                await asyncio.sleep(1)
        for device_id in taken:
            self._unlink_taken(device_id)
        last = {report.device: report for report in reports}
        for device_id, report in last.items():
            session = self.sessions.get(device_id)
            if session is None or session.device.epoch != report.epoch or device_id in taken:
                continue  # dropped or assigned anew meanwhile: what is written speaks of the past
            if device_id not in known:
                self.drop(device_id)
            elif report.state == "online":
                device = session.device
                self.sending.on_online([(device_id, report.epoch, device.workspace, device.weight)])
            else:
                self.sending.on_offline([device_id])

    def _unlink_taken(self, device_id: int) -> None:
        session = self.sessions.get(device_id)
        if session:
            session.gateway.post([contract.Unlink(device_id)])
            self._report(session, "unlinked", TAKEN, served=True)


def _write(host: str, reports: list[Report]) -> tuple[set[int], set[int]]:
    """Record the reports and tell the pages; returns (devices still ours, devices whose number is linked elsewhere)."""
    taken: set[int] = set()
    try:
        known = record(host, reports)
    except (IntegrityError, DataError):
        known = set()
        for device_id in {report.device for report in reports}:
            try:
                known |= record(host, [report for report in reports if report.device == device_id])
            except IntegrityError:
                taken.add(device_id)
            except DataError:  # one gateway's strange words must not silence all others
                logger.exception("The state of device %d could not be written", device_id)
    push_devices(known)
    return known, taken


def _push_codes(codes: list[tuple[int, str, float]]) -> None:
    for device_id, payload, expires_s in codes:
        push_code(device_id, payload, expires_s)
