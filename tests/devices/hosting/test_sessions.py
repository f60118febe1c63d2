"""Sessions in front of a real gateway: every device ends in a true state, whatever dies or crosses on the way."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from django.db.models.functions import Now

from accounts.models import Workspace
from devices.gateway import contract
from devices.hosting import gateways, leases, ramp, states
from devices.hosting import sessions as module
from devices.hosting.gateways import GatewaySlot
from devices.hosting.leases import Lease
from devices.models import Device
from tests.devices.gateway.world import SimulatedWorld
from tests.devices.hosting.hosted import hosted, owned

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.faults,  # its gateways are real processes
    pytest.mark.usefixtures("look_from_the_loop"),
]


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


async def test_a_device_given_away_while_it_comes_online_is_not_sent_with(
    world: SimulatedWorld, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = owned(lease)
    loop = asyncio.get_running_loop()
    write = states._write
    async with hosted(world, lease) as host:

        def given_away_meanwhile(*told: Any) -> Any:
            answer = write(*told)
            loop.call_soon_threadsafe(host.sessions.drop, device.pk)
            return answer

        monkeypatch.setattr(states, "_write", given_away_meanwhile)
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
    monkeypatch.setitem(ramp.RATES, "simulator", 40)
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
