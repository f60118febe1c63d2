"""Sessions in front of a real gateway: every device ends in a true state, whatever dies or crosses on the way."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError
from django.db.models.functions import Now

from accounts.models import Workspace
from devices.gateway import contract
from devices.gateway.client import Gateway
from devices.hosting import gateways, leases
from devices.hosting import sessions as module
from devices.hosting.gateways import GatewaySlot
from devices.hosting.leases import Lease, LeaseTimes
from devices.hosting.sessions import Sessions
from devices.models import Device
from tests.devices.gateway.world import SimulatedWorld, new_phone
from tests.factories import make_device, make_workspace

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.faults,  # its gateways are real processes
    pytest.mark.usefixtures("look_from_the_loop"),
]
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
    def on_found(self, found: contract.Found) -> None: ...

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

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while not condition():
            assert asyncio.get_running_loop().time() < deadline, f"never came true: {what}"
            await asyncio.sleep(0.02)

    async def until_state(self, device: Device, state: str) -> None:
        await self.until(lambda: Device.objects.get(pk=device.pk).state == state, f"the device is {state}")

    async def code(self, device: Device) -> str:
        await self.until(lambda: self.sessions.sessions[device.pk].code is not None, "a code is shown")
        code = self.sessions.sessions[device.pk].code
        assert code is not None
        return code[0]


@asynccontextmanager
async def hosted(world: SimulatedWorld, lease: Lease) -> AsyncIterator[Hosted]:
    listener = Listener()
    program = ["-m", "devices.gateway.simulator", "--socket", str(world.folder / "network")]
    sessions = Sessions(lease.host, world.folder, {"simulator": program}, {"simulator": 100}, listener)
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


@pytest.fixture(scope="module")
def world() -> Iterator[SimulatedWorld]:
    world = SimulatedWorld(first_code_s=60)
    world.start_network()
    yield world
    world.close()


@pytest.fixture
def lease() -> Lease:
    return leases.begin("here", ["simulator"], LeaseTimes())


def owned(lease: Lease, *, linked: bool = True, **fields: Any) -> Device:
    values = {"state": "connecting", "phone": new_phone()} if linked else {"state": "new"}
    return make_device(make_workspace(), linked=linked, owner_id=lease.host, epoch=1, **values, **fields)


async def test_a_gateway_that_dies_is_replaced_and_its_devices_are_back(world: SimulatedWorld, lease: Lease) -> None:
    device = owned(lease)
    async with hosted(world, lease) as host:
        await host.until_state(device, "online")
        os.kill(host.gateway.pid, signal.SIGKILL)
        await host.until_state(device, "connecting")
        await host.until(lambda: device.pk not in host.online, "nothing is sent with it")
        await host.until_state(device, "online")
        await host.until(lambda: device.pk in host.online, "it is sent with again")


async def test_a_banned_device_stays_banned_when_its_gateway_dies_until_the_ban_is_over(
    world: SimulatedWorld, lease: Lease
) -> None:
    device, other = owned(lease), owned(lease)
    async with hosted(world, lease) as host:
        await host.until_state(device, "online")
        world.control.ban(device.phone or "", 60)
        await host.until_state(device, "banned")
        host.look()
        os.kill(host.gateway.pid, signal.SIGKILL)
        await host.until_state(other, "connecting")
        assert Device.objects.get(pk=device.pk).state == "banned"
        await host.until_state(other, "online")
        assert Device.objects.get(pk=device.pk).state == "banned"
        world.control.ban(device.phone or "", 0)
        Device.objects.filter(pk=device.pk).update(banned_until=Now())
        for freed in leases.ban_over(lease):
            host.sessions.reopen(freed)
        await host.until_state(device, "online")


async def test_what_was_asked_of_a_gateway_that_dies_is_asked_again(world: SimulatedWorld, lease: Lease) -> None:
    device = owned(lease)
    async with hosted(world, lease) as host:
        await host.until_state(device, "online")
        os.kill(host.gateway.pid, signal.SIGSTOP)
        host.ask(device, "unlink")
        os.kill(host.gateway.pid, signal.SIGKILL)
        await host.until(lambda: host.sessions.gateways.slots[0].process is None, "the death is noticed")
        await host.until(lambda: host.sessions.gateways.slots[0].process is not None, "another gateway runs")
        await host.until(lambda: not host.look()[device.pk], "it is unlinked")
    device.refresh_from_db()
    assert (device.request, device.phone) == ("", None)


async def test_a_code_that_cannot_be_shown_silences_no_other_news(
    world: SimulatedWorld, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*code: Any) -> None:
        raise OperationalError("the database system is shutting down")

    monkeypatch.setattr(module, "push_code", away)
    device = owned(lease, linked=False)
    async with hosted(world, lease) as host:
        host.ask(device, "pair")
        phone = world.control.scan(await host.code(device))["phone"]
        await host.until_state(device, "online")
    assert Device.objects.get(pk=device.pk).phone == phone


async def test_a_pairing_cancelled_while_the_phone_scans_ends_linked_and_open(
    world: SimulatedWorld, lease: Lease
) -> None:
    device = owned(lease, linked=False)
    async with hosted(world, lease) as host:
        host.ask(device, "pair")
        payload = await host.code(device)
        host.gateway.hold(True)  # the phone's news are on their way while the person cancels
        world.control.scan(payload)
        host.ask(device, "cancel")
        host.gateway.hold(False)
        await host.until_state(device, "online")
        await host.until(
            lambda: any(login["device"] == device.pk for login in world.control.state()["sessions"]), "it is logged in"
        )
        assert Device.objects.get(pk=device.pk).request == ""


async def test_a_number_linked_elsewhere_is_unlinked_with_the_reason(world: SimulatedWorld, lease: Lease) -> None:
    first, second = owned(lease), owned(lease, linked=False)
    async with hosted(world, lease) as host:
        await host.until_state(first, "online")
        host.ask(second, "pair")
        world.control.scan(await host.code(second), first.phone)
        await host.until_state(second, "unlinked")
        await host.until(lambda: not host.sessions.sessions[second.pk].device.phone, "the session is gone")
        await asyncio.sleep(2 * module.FLUSH_S)
    second.refresh_from_db()
    assert (second.phone, second.state_reason) == (None, module.TAKEN)


async def test_a_device_given_away_while_it_comes_online_is_not_sent_with(
    world: SimulatedWorld, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = owned(lease)
    loop = asyncio.get_running_loop()
    write = module._write
    async with hosted(world, lease) as host:

        def given_away_meanwhile(*told: Any) -> Any:
            answer = write(*told)
            loop.call_soon_threadsafe(host.sessions.drop, device.pk)
            return answer

        monkeypatch.setattr(module, "_write", given_away_meanwhile)
        await host.until(lambda: device.pk not in host.sessions.sessions, "it is given away")
        await asyncio.sleep(2 * module.FLUSH_S)
        assert host.online == set()


async def test_p5_a_gateway_that_stands_still_is_killed_and_its_devices_are_opened_again(
    world: SimulatedWorld, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateways, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(gateways, "SILENCE_S", 1.0)
    device = owned(lease)
    async with hosted(world, lease) as host:
        await host.until_state(device, "online")
        await host.until(lambda: host.sessions.meters()["gateway_rss_mb"] > 0, "the gateway answers heartbeats")
        await asyncio.sleep(2 * gateways.SILENCE_S)
        frozen = host.gateway.pid
        assert host.lost == []  # without work, but not silent
        os.kill(frozen, signal.SIGSTOP)
        await host.until(lambda: host.lost == [([device.pk], "gateway died")], "it is treated as lost")
        await host.until(lambda: device.pk not in host.online, "nothing is sent with it")
        await host.until(lambda: device.pk in host.online, "it is sent with again")
        assert host.gateway.pid != frozen
        assert not Path(f"/proc/{frozen}").exists()


async def test_an_engine_that_stood_still_itself_kills_no_gateway(
    world: SimulatedWorld, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateways, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(gateways, "SILENCE_S", 0.5)
    device = owned(lease)
    async with hosted(world, lease) as host:
        await host.until_state(device, "online")
        time.sleep(2)  # the event loop stands still
        await asyncio.sleep(1)
        assert host.lost == []


async def test_another_weight_of_the_workspace_reaches_the_sending_side(world: SimulatedWorld, lease: Lease) -> None:
    device = owned(lease)
    async with hosted(world, lease) as host:
        await host.until(lambda: device.pk in host.online, "it is sent with")
        Workspace.objects.filter(pk=device.workspace_id).update(weight=5)
        host.look()
        assert host.weights[device.pk] == 5


async def test_sessions_are_opened_no_faster_than_the_drivers_ramp(
    world: SimulatedWorld, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(module.RAMP, "simulator", 40)
    opened: list[float] = []
    post = GatewaySlot.post

    def noted(slot: GatewaySlot, commands: Sequence[contract.Command]) -> bool:
        opened.extend(time.monotonic() for command in commands if isinstance(command, contract.Open))
        return post(slot, commands)

    monkeypatch.setattr(GatewaySlot, "post", noted)
    devices = [owned(lease) for _ in range(20)]
    async with hosted(world, lease) as host:
        await host.until(lambda: {device.pk for device in devices} <= host.online, "all are online")
    assert len(opened) == 20
    assert opened[-1] - opened[0] >= 0.9 * (20 - 2) / 40
