"""Gateway processes that wear out, die again and again, or meet a session that ends each of them."""

from __future__ import annotations

import os
import signal

import pytest

from devices.hosting import gateways, shares
from devices.hosting.gateways import GatewaySlot, Limits
from devices.hosting.leases import Lease
from devices.hosting.shares import Share
from devices.hosting.states import FATAL
from devices.models import Device
from tests.devices.gateway.world import SimulatedWorld
from tests.devices.hosting.hosted import Hosted, hosted, owned

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.faults,  # its gateways are real processes
    pytest.mark.usefixtures("look_from_the_loop"),
]


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateways, "RESTART_PAUSE_S", 0.1)
    monkeypatch.setattr(gateways, "STEADY_S", 0.0)
    monkeypatch.setattr(gateways, "HEARTBEAT_S", 0.2)
    monkeypatch.setattr(gateways, "SILENCE_S", 15.0)


def slots(host: Hosted) -> list[GatewaySlot]:
    return host.sessions.gateways.slots


async def test_no_gateway_holds_more_devices_than_it_should(world: SimulatedWorld, lease: Lease) -> None:
    devices = [owned(lease) for _ in range(7)]
    async with hosted(world, lease, size=3) as host:
        await host.until(lambda: len(host.online) == len(devices), "all are online")
        assert sorted(len(slot.devices) for slot in slots(host)) == [1, 3, 3]
        host.sessions.gateways.ask()
        told = lambda: host.sessions.meters()["processes"]  # noqa: E731 - read again and again
        await host.until(lambda: sum(one.get("online", 0) for one in told()) == len(devices), "each says how it is")
        for slot, process in zip(slots(host), told(), strict=True):
            assert slot.process is not None
            assert (process["pid"], process["devices"]) == (slot.process.pid, len(slot.devices))
            assert min(process["rss_mb"], process["fds"]) > 0


async def test_one_session_that_ends_its_gateway_holds_no_other_one_down(world: SimulatedWorld, lease: Lease) -> None:
    devices = [owned(lease) for _ in range(12)]
    bad, good = devices[4], [device for device in devices if device is not devices[4]]
    world.control.poison(bad.phone or "")
    async with hosted(world, lease) as host:
        await host.until(lambda: Device.objects.get(pk=bad.pk).state_reason == FATAL, "it is found out", 60)
        await host.until(lambda: host.online == {device.pk for device in good}, "the others are online", 30)
        lost = len(host.lost)
        host.look()
        await host.until(lambda: all(slot.up for slot in slots(host)), "every gateway runs")
        assert len(host.lost) == lost
        assert Device.objects.get(pk=bad.pk).state == "offline"
        # Nobody is to have it by the way either.
        assert bad.pk not in shares.rest(lease, Share("simulator", 12, 0), 12)
        # A person tries it again, and this time it is well.
        world.control.poison(bad.phone or "", False)
        host.ask(bad, "reconnect")
        await host.until_state(bad, "online")
        assert len(host.lost) == lost


async def test_who_tries_such_a_session_again_hurts_no_other_one(world: SimulatedWorld, lease: Lease) -> None:
    bad, good = owned(lease), owned(lease)
    world.control.poison(bad.phone or "")
    async with hosted(world, lease) as host:
        await host.until(lambda: Device.objects.get(pk=bad.pk).state_reason == FATAL, "it is found out", 60)
        await host.until(lambda: host.online == {good.pk}, "the other is online")
        host.lost.clear()
        host.ask(bad, "reconnect")
        await host.until(lambda: len(host.lost) == gateways.DEATHS_TO_HOLD, "its gateway died again", 30)
        await host.until(lambda: Device.objects.get(pk=bad.pk).state_reason == FATAL, "it is found out again")
        assert all(devices == [bad.pk] for devices, _ in host.lost)
        assert host.online == {good.pk}


async def test_what_was_tried_apart_comes_together_again(
    world: SimulatedWorld, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateways, "EARLY_S", 4.0)
    bad = owned(lease)
    good = [owned(lease) for _ in range(5)]
    world.control.poison(bad.phone or "")
    async with hosted(world, lease) as host:
        await host.until(lambda: Device.objects.get(pk=bad.pk).state_reason == FATAL, "it is found out", 60)
        assert len(slots(host)) > 1
        lost = len(host.lost)
        await host.until(lambda: len(slots(host)) == 1, "one gateway has them all", 60)
        await host.until(lambda: host.online == {device.pk for device in good}, "all are online")
        assert len(host.lost) == lost
        assert Device.objects.get(pk=bad.pk).state_reason == FATAL


async def test_gateways_that_are_killed_accuse_no_session(world: SimulatedWorld, lease: Lease) -> None:
    device = owned(lease)
    async with hosted(world, lease) as host:
        for _ in range(gateways.DEATHS_TO_HOLD + 1):
            await host.until(lambda: device.pk in host.online, "it is online")
            os.kill(host.gateway.pid, signal.SIGKILL)
            await host.until(lambda: device.pk not in host.online, "its gateway is gone")
        await host.until_state(device, "online")
        assert len(slots(host)) == 1


async def test_a_program_that_cannot_start_is_tried_ever_more_rarely_and_accuses_no_session(
    world: SimulatedWorld, lease: Lease
) -> None:
    device = owned(lease)
    async with hosted(world, lease, program=["-c", "raise SystemExit(1)"]) as host:
        [slot] = slots(host)
        await host.until(lambda: slot.pause >= 0.8, "it waits longer each time")
        assert (slot.deaths, slot.on_trial) == (0, False)
        assert Device.objects.get(pk=device.pk).state == "connecting"
        assert slots(host) == [slot]


async def test_a_worn_gateway_is_replaced_without_a_device_being_lost(
    world: SimulatedWorld, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateways, "REPLACED_AFTER_S", 1.0)
    devices = [owned(lease) for _ in range(4)]
    async with hosted(world, lease, limits={"simulator": Limits(cycles=1)}) as host:
        await host.until(lambda: len(host.online) == 4, "all are online")
        worn = host.gateway
        for device in devices[:2]:
            host.ask(device, "reconnect")  # each is a client stopped and another begun
        await host.until(lambda: not worn.alive, "the worn process has ended", 30)
        await host.until(lambda: host.online == {device.pk for device in devices}, "all are online")
        assert host.lost == []
        assert host.gateway.pid != worn.pid
