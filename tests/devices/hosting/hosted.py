"""A host's sessions in a test's event loop: real gateways and a simulated network, and a sending half that listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from django.db.models.functions import Now

from devices.gateway import contract
from devices.gateway.client import Gateway
from devices.hosting import leases
from devices.hosting.leases import Lease
from devices.hosting.pairings import Pairing
from devices.hosting.sessions import Sessions
from devices.models import Device
from tests.devices.gateway.world import SimulatedWorld, new_phone
from tests.factories import make_device, make_workspace

PATIENCE_S = 15.0


class Listener:
    """A sending half that only notes which devices it may send with."""

    def __init__(self) -> None:
        self.online: set[int] = set()
        self.weights: dict[int, int] = {}
        self.lost: list[tuple[list[int], str]] = []

    def on_outcome(self, outcome: contract.Outcome) -> None: ...
    def on_receipt(self, receipt: contract.Receipt) -> None: ...
    def on_incoming(self, incoming: contract.Incoming) -> None: ...
    def is_idle(self, device: int) -> bool:
        return True

    def on_found(self, found: contract.Found) -> None: ...
    def on_numbers(self, numbers: contract.Numbers) -> None: ...

    def on_lost(self, devices: Iterable[int], why: str) -> None:
        self.lost.append((list(devices), why))

    def on_online(self, devices: Iterable[tuple[int, int, int, int]]) -> None:
        for device, _, _, weight in devices:
            self.online.add(device)
            self.weights[device] = weight

    def on_offline(self, devices: Iterable[int]) -> None:
        self.online -= set(devices)


class Hosted:
    def __init__(self, lease: Lease, sessions: Sessions, listener: Listener) -> None:
        self.lease = lease
        self.sessions = sessions
        self.online = listener.online
        self.weights = listener.weights
        self.lost = listener.lost

    @property
    def gateway(self) -> Gateway:
        process = self.sessions.gateways.slots[0].process
        assert process is not None
        return process

    def look(self) -> dict[int, str]:
        """As the host does every few seconds; returns the owned devices' phones."""
        owned = leases.assigned(self.lease)
        for device in owned:
            self.sessions.keep(device)
        for device in leases.requested(self.lease):
            self.sessions.serve(device)
        return {device.id: device.phone for device in owned}

    def ask(self, device: Device, request: str) -> None:
        Device.objects.filter(pk=device.pk).update(request=request, requested_at=Now())
        self.look()

    async def until(self, condition: Callable[[], bool], what: str, patience: float = PATIENCE_S) -> None:
        deadline = asyncio.get_running_loop().time() + patience
        while not condition():
            assert asyncio.get_running_loop().time() < deadline, f"never came true: {what}"
            await asyncio.sleep(0.02)

    async def until_state(self, device: Device, state: str) -> None:
        await self.until(lambda: Device.objects.get(pk=device.pk).state == state, f"the device is {state}")

    def pairing(self, device: Device) -> Pairing | None:
        return self.sessions.desk.pairings.get(device.pk)

    async def code(self, device: Device) -> str:
        """The one on the device's page now, to scan or to type."""

        def shown() -> str:
            pairing = self.pairing(device)
            return (pairing.typed_code or (pairing.code or ("",))[0]) if pairing else ""

        await self.until(lambda: bool(shown()), "a code is shown")
        return shown()


@asynccontextmanager
async def hosted(
    world: SimulatedWorld,
    lease: Lease,
    disk: Path | None = None,
    size: int = 100,
    program: Sequence[str] = (),
    **options: Any,
) -> AsyncIterator[Hosted]:
    """``disk``: the host's own, where several share the world; ``program`` in place of the simulated gateway."""
    listener = Listener()
    program = program or ["-m", "devices.gateway.simulator", "--socket", str(world.folder / "network")]
    sessions = Sessions(
        lease.host, disk or world.folder, {"simulator": program}, {"simulator": size}, listener, **options
    )
    running = asyncio.ensure_future(sessions.run())
    host = Hosted(lease, sessions, listener)
    try:
        host.look()
        await host.until(lambda: sessions.gateways.slots[0].process is not None, "the gateway runs")
        yield host
        assert not running.done(), running
    finally:
        running.cancel()
        await sessions.stop()


def owned(lease: Lease, *, linked: bool = True, **fields: Any) -> Device:
    values = {"state": "connecting", "phone": new_phone()} if linked else {"state": "new"}
    return make_device(make_workspace(), linked=linked, owner_id=lease.host, epoch=1, **values, **fields)
