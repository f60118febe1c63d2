"""The pairing desk in front of real gateways: each device its own number, its own process and one stored end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import OperationalError
from redis import Redis

from accounts.live import group_name
from accounts.models import Workspace
from devices.gateway.control import ControlRefused
from devices.hosting import pairings as module
from devices.hosting.leases import Lease
from devices.live import pairing_topic
from devices.models import Device, SessionVault
from tests.devices.gateway.world import SimulatedWorld, new_phone
from tests.devices.hosting.hosted import Hosted, hosted, owned
from tests.factories import make_device, make_workspace

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.faults,  # each pairing is a real process
    pytest.mark.usefixtures("look_from_the_loop"),
]


def unlinked(lease: Lease, workspace: Workspace | None = None, **fields: Any) -> Device:
    values = {"state": "new", "owner_id": lease.host, "epoch": 1, **fields}
    return make_device(workspace or make_workspace(), linked=False, **values)


def is_logged_in(world: SimulatedWorld, phone: str | None) -> bool:
    return any(login["phone"] == phone for login in world.control.state()["sessions"])


async def until_ended(host: Hosted, device: Device, why: str) -> None:
    await host.until(lambda: not Device.objects.get(pk=device.pk).request, "the request is served")
    device.refresh_from_db()
    assert (device.state, device.state_reason, device.phone) == ("new", why, None)
    assert host.pairing(device) is None


@contextmanager
def ear(*devices: Device) -> Iterator[Any]:
    """`heard(device)` are the pages pushed to those who pair it, so far."""
    layers: Any = settings.CHANNEL_LAYERS
    prefix = layers["default"]["CONFIG"]["prefix"]
    names = {
        f"{prefix}__group__{group_name(device.workspace_id, pairing_topic(device))}": device.pk for device in devices
    }
    pages: dict[int, list[str]] = {device.pk: [] for device in devices}
    with Redis.from_url(settings.REDIS_URL) as redis, redis.pubsub() as pubsub:
        pubsub.subscribe(*names)
        for _ in names:
            assert pubsub.get_message(timeout=2)["type"] == "subscribe"

        def heard(device: Device) -> list[str]:
            while (message := pubsub.get_message(timeout=0.05)) is not None:
                html = get_channel_layer().deserialize(message["data"])["html"]
                pages[names[message["channel"].decode()]].append(html)
            return pages[device.pk]

        yield heard


# ---- one pairing


async def test_a_linked_device_is_opened_in_a_regular_gateway_when_its_own_process_is_gone(
    world: SimulatedWorld, lease: Lease
) -> None:
    device = unlinked(lease)
    async with hosted(world, lease) as host:
        host.ask(device, "pair")
        payload = await host.code(device)
        pairing = host.pairing(device)
        assert pairing is not None
        assert pairing.gateway is not None
        assert pairing.gateway.pid != host.gateway.pid
        phone = world.control.scan(payload)["phone"]
        await host.until_state(device, "online")
        assert not pairing.gateway.alive
        await host.until(lambda: host.online == {device.pk}, "it is sent with")
        device.refresh_from_db()
        assert (device.phone, device.request) == (phone, "")
        vault = SessionVault.objects.get(device=device)
        assert (vault.host, vault.is_clean) == (lease.host, False)
        session = Path(world.folder / f"simulator-{device.pk}.session")
        assert session.stat().st_mode & 0o777 == 0o600


async def test_a_code_to_type_is_asked_for_the_expected_number_alone(world: SimulatedWorld, lease: Lease) -> None:
    phone = new_phone()
    device = unlinked(lease, pair_phone=phone, pair_by_code=True)
    async with hosted(world, lease) as host:
        with ear(device) as heard:
            host.ask(device, "pair")
            code = await host.code(device)
            assert (len(code), code[4]) == (9, "-")
            host.sessions.show_again(device.pk)
            world.control.scan(code, phone)
            await host.until_state(device, "online")
            assert heard(device)
            assert not any('class="qr"' in page for page in heard(device))
    assert Device.objects.get(pk=device.pk).phone == phone


async def test_a_code_that_cannot_be_shown_stops_no_pairing(
    world: SimulatedWorld, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*code: Any) -> None:
        raise OperationalError("the database system is shutting down")

    monkeypatch.setattr(module, "push_code", away)
    device = unlinked(lease)
    async with hosted(world, lease) as host:
        host.ask(device, "pair")
        phone = world.control.scan(await host.code(device))["phone"]
        await host.until_state(device, "online")
    assert Device.objects.get(pk=device.pk).phone == phone


# ---- how it ends


async def test_cancelling_ends_the_process_and_its_code(world: SimulatedWorld, lease: Lease) -> None:
    device = unlinked(lease)
    async with hosted(world, lease) as host:
        host.ask(device, "pair")
        payload = await host.code(device)
        pairing = host.pairing(device)
        host.ask(device, "cancel")
        await until_ended(host, device, "cancelled")
        assert pairing is not None
        assert pairing.gateway is not None
        assert not Path(f"/proc/{pairing.gateway.pid}").exists()
        with pytest.raises(ControlRefused):
            world.control.scan(payload)
        host.ask(device, "pair")
        world.control.scan(await host.code(device))
        await host.until_state(device, "online")


async def test_a_pairing_cancelled_while_the_phone_scans_ends_linked_and_open(
    world: SimulatedWorld, lease: Lease
) -> None:
    device = unlinked(lease)
    async with hosted(world, lease) as host:
        host.ask(device, "pair")
        payload = await host.code(device)
        pairing = host.pairing(device)
        assert pairing is not None
        assert pairing.gateway is not None
        pairing.gateway.hold(True)  # the phone's news are on their way while the person cancels
        phone = world.control.scan(payload)["phone"]
        await host.until(lambda: is_logged_in(world, phone), "the phone has scanned")
        host.ask(device, "cancel")
        await host.until_state(device, "online")
        await host.until(lambda: is_logged_in(world, phone), "it is logged in")
        device.refresh_from_db()
        assert (device.request, device.phone) == ("", phone)


async def test_codes_that_nobody_scans_expire(lease: Lease) -> None:
    brief = SimulatedWorld(first_code_s=0.2, next_code_s=0.1)
    brief.start_network()
    try:
        device = unlinked(lease)
        async with hosted(brief, lease) as host:
            host.ask(device, "pair")
            await until_ended(host, device, "expired")
    finally:
        brief.close()


async def test_a_pairing_that_falls_silent_is_ended(
    world: SimulatedWorld, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SILENCE_S", 1.0)
    monkeypatch.setattr(module, "STOP_S", 0.5)
    device = unlinked(lease)
    async with hosted(world, lease) as host:
        host.ask(device, "pair")
        pairing = host.pairing(device)
        assert pairing is not None
        await host.until(lambda: pairing.gateway is not None, "its process runs")
        assert pairing.gateway is not None
        os.kill(pairing.gateway.pid, signal.SIGSTOP)
        await until_ended(host, device, "no answer")
        assert not Path(f"/proc/{pairing.gateway.pid}").exists()


async def test_a_pairing_whose_process_dies_is_interrupted(world: SimulatedWorld, lease: Lease) -> None:
    device = unlinked(lease)
    async with hosted(world, lease) as host:
        host.ask(device, "pair")
        await host.code(device)
        pairing = host.pairing(device)
        assert pairing is not None
        assert pairing.gateway is not None
        os.kill(pairing.gateway.pid, signal.SIGKILL)
        await until_ended(host, device, "interrupted")


async def test_another_gateways_death_interrupts_no_pairing(world: SimulatedWorld, lease: Lease) -> None:
    device, other = unlinked(lease), owned(lease)
    async with hosted(world, lease) as host:
        await host.until_state(other, "online")
        host.ask(device, "pair")
        payload = await host.code(device)
        os.kill(host.gateway.pid, signal.SIGKILL)
        await host.until_state(other, "connecting")
        world.control.scan(payload)
        await host.until_state(device, "online")


async def test_a_phone_with_another_number_is_unlinked_again(world: SimulatedWorld, lease: Lease) -> None:
    device = unlinked(lease, pair_phone=new_phone())
    stranger = new_phone()
    async with hosted(world, lease) as host:
        host.ask(device, "pair")
        world.control.scan(await host.code(device), stranger)
        await until_ended(host, device, "another number")
        assert not is_logged_in(world, stranger)
    assert not Path(world.folder / f"simulator-{device.pk}.session").exists()
    assert not SessionVault.objects.filter(device=device).exists()


async def test_a_number_linked_elsewhere_is_refused_and_unlinked_again(world: SimulatedWorld, lease: Lease) -> None:
    first, second = owned(lease), unlinked(lease)
    async with hosted(world, lease) as host:
        await host.until_state(first, "online")
        host.ask(second, "pair")
        world.control.scan(await host.code(second), first.phone)
        await until_ended(host, second, "taken")
        assert not is_logged_in(world, first.phone)
    assert Device.objects.get(pk=first.pk).phone == first.phone


async def test_a_host_that_stops_ends_its_pairings_with_a_reason(world: SimulatedWorld, lease: Lease) -> None:
    device, queued = unlinked(lease), unlinked(lease)
    async with hosted(world, lease, pairings_at_once=1) as host:
        host.ask(device, "pair")
        await host.code(device)
        host.ask(queued, "pair")
    for one in (device, queued):
        one.refresh_from_db()
        assert (one.state, one.state_reason, one.request) == ("new", "interrupted", "")


async def test_a_device_that_is_another_hosts_now_is_linked_by_nobody_here(world: SimulatedWorld, lease: Lease) -> None:
    device = unlinked(lease)
    async with hosted(world, lease) as host:
        host.ask(device, "pair")
        payload = await host.code(device)
        Device.objects.filter(pk=device.pk).update(owner="elsewhere", epoch=2)
        phone = world.control.scan(payload)["phone"]
        await host.until(lambda: host.pairing(device) is None, "the pairing ends")
        device.refresh_from_db()
        assert (device.request, device.phone) == ("pair", None)
        assert not is_logged_in(world, phone)


# ---- many at once


async def test_who_waits_is_shown_its_place_and_comes_in_its_turn(world: SimulatedWorld, lease: Lease) -> None:
    first, second, third = (unlinked(lease) for _ in range(3))
    async with hosted(world, lease, pairings_at_once=1) as host:
        host.ask(first, "pair")
        await host.code(first)
        host.ask(second, "pair")
        host.ask(third, "pair")
        places = {device.pk: pairing.place for device in (first, second, third) if (pairing := host.pairing(device))}
        assert places == {first.pk: 0, second.pk: 1, third.pk: 2}
        await host.until(lambda: Device.objects.get(pk=third.pk).state_reason == "queued", "it says so")
        host.ask(second, "cancel")
        await until_ended(host, second, "cancelled")
        waiting = host.pairing(third)
        assert waiting is not None
        assert waiting.place == 1
        world.control.scan(await host.code(first))
        await host.code(third)
        assert waiting.place == 0
        await host.until_state(first, "online")


async def test_twenty_devices_of_five_workspaces_pair_at_once_each_with_its_own_number(
    world: SimulatedWorld, lease: Lease
) -> None:
    workspaces = [make_workspace() for _ in range(5)]
    devices = [unlinked(lease, workspaces[number % 5], pair_phone=new_phone()) for number in range(20)]
    async with hosted(world, lease, pairings_at_once=10) as host:
        with ear(*devices) as heard:
            for device in devices:
                host.ask(device, "pair")
            assert len(host.sessions.desk.pairings) == 20
            payloads: dict[int, str] = {}
            for device in devices:  # whoever is linked makes room for the next
                payloads[device.pk] = await host.code(device)
                assert sum(bool(pairing.gateway) for pairing in host.sessions.desk.pairings.values()) <= 10
                world.control.scan(payloads[device.pk], device.pair_phone)
            for device in devices:
                await host.until_state(device, "online")
            for device in devices:
                shown = [pk for pk, payload in payloads.items() if any(payload in page for page in heard(device))]
                assert shown == [device.pk]
    found = {device.pk: device.phone for device in Device.objects.all()}
    assert found == {device.pk: device.pair_phone for device in devices}
