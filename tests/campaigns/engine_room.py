"""A host's two halves in a test's event loop: real sessions, gateway and simulated network, a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

from campaigns.engine.concurrency import Limit
from campaigns.pulse import Pulse
from campaigns.sender import Sender
from devices.hosting import leases
from devices.hosting.leases import Lease, LeaseTimes
from devices.hosting.sessions import Sessions
from devices.hosting.watchdog import Watchdog, now
from devices.models import Device
from tests.devices.gateway.world import SimulatedWorld
from tests.factories import make_device

PATIENCE_S = 60.0


@dataclass
class EngineRoom:
    sender: Sender
    sessions: Sessions
    watchdog: Watchdog

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while not condition():
            assert asyncio.get_running_loop().time() < deadline, f"never came true: {what}"
            await asyncio.sleep(0.02)


async def renew_for_ever(watchdog: Watchdog) -> None:
    """The lease's renewals, as the host makes them: without them nothing is started any more."""
    while True:
        watchdog.renewed(now())
        await asyncio.sleep(1)


@asynccontextmanager
async def engine_room(world: SimulatedWorld, lease: Lease, limit: int = 50) -> AsyncIterator[EngineRoom]:
    """Serves every device that the lease's host owns."""
    pulse, watchdog = Pulse(), Watchdog(LeaseTimes())
    sender = Sender(lease, Limit(limit, limit), pulse, Random(1))
    program = ["-m", "devices.gateway.simulator", "--socket", str(world.folder / "network")]
    sessions = Sessions(lease.host, world.folder, {"simulator": program}, {"simulator": 1_000}, sender)
    sender.start(sessions, watchdog)
    tasks = [asyncio.ensure_future(duty) for duty in (sessions.run(), sender.run(), renew_for_ever(watchdog))]
    for device in leases.assigned(lease):
        sessions.keep(device)
    try:
        yield EngineRoom(sender, sessions, watchdog)
        await sender.drain(5)
    finally:
        for task in tasks:
            task.cancel()
        await sessions.stop()
        sender.close()
        pulse.close()


def owned_device(workspace: Any, lease: Lease, **fields: Any) -> Device:
    values = {"owner_id": lease.host, "epoch": 1, "state": "connecting", "min_delay": 0, "max_delay": 0, **fields}
    return make_device(workspace, **values)
