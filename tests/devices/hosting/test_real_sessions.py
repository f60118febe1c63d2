"""The desk and the vault with the real library: linked in one process, opened in another, and moved to other disks."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from devices.gateway import contract
from devices.hosting import leases, shares
from devices.hosting.leases import Lease, LeaseTimes
from devices.hosting.sealing import Seal
from devices.models import Device, SessionVault
from tests.devices.gateway.whatsapp_world import GATEWAY, WhatsAppWorld
from tests.devices.gateway.world import new_phone
from tests.devices.hosting.hosted import Hosted, hosted
from tests.factories import make_device, make_workspace

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.neonize,
    pytest.mark.usefixtures("look_from_the_loop"),
]
SEAL = Seal([Fernet.generate_key().decode()])
OPTIONS: dict[str, Any] = {"driver": "whatsapp", "program": GATEWAY[1:], "seal": SEAL}


@pytest.fixture(scope="module")
def servers() -> Iterator[WhatsAppWorld]:
    """What stands in for WhatsApp's servers; whatever this process starts meanwhile finds them."""
    world = WhatsAppWorld()
    world.start_network()
    before = dict(os.environ)
    os.environ.update(world.gateway_environment())
    yield world
    os.environ.clear()
    os.environ.update(before)
    world.close()


def lease_of(host: str) -> Lease:
    return leases.begin(host, ["whatsapp"], LeaseTimes())


def unlinked(lease: Lease, **fields: object) -> Device:
    values = {"driver": "whatsapp", "state": "new", "owner_id": lease.host, "epoch": 1, **fields}
    return make_device(make_workspace(), linked=False, **values)


def give_to(lease: Lease, device: Device) -> None:
    epoch = Device.objects.get(pk=device.pk).epoch + 1
    Device.objects.filter(pk=device.pk).update(owner=lease.host, epoch=epoch, state="connecting")


async def sends(host: Hosted, device: Device, to: str) -> None:
    device.refresh_from_db()
    number = secrets.randbelow(2**40)
    text = contract.Send(device.pk, device.epoch, number, secrets.token_bytes(32), to, "Hello")
    assert host.sessions.post(device.pk, text)
    await host.until(lambda: any(outcome.message == number for outcome in host.outcomes), "it is answered")
    [outcome] = [outcome for outcome in host.outcomes if outcome.message == number]
    assert isinstance(outcome, contract.Sent), outcome


async def test_a_real_session_is_linked_moved_and_saved_without_another_scan(
    servers: WhatsAppWorld, tmp_path: Path
) -> None:
    here, there = lease_of("here"), lease_of("there")
    disks = {lease.host: tmp_path / lease.host for lease in (here, there)}
    for disk in disks.values():
        disk.mkdir()
    phone, person = new_phone(), new_phone()
    device = unlinked(here, pair_phone=phone)

    async with hosted(servers, here, disks["here"], **OPTIONS) as host:
        host.ask(device, "pair")
        servers.control.scan(qr=await host.code(device), phone=phone.removeprefix("+"))
        await host.until_state(device, "online")
        assert Device.objects.get(pk=device.pk).phone == phone
        await host.until(lambda: SessionVault.objects.filter(sealed__isnull=False).exists(), "there is a copy")
        await sends(host, device, person)
        [share] = shares.fair_shares(here)
        resting = shares.rest(here, share, 1)
        assert shares.release(here, await host.sessions.hand_over(resting)) == [device.pk]
        host.sessions.drop(device.pk)
        assert SessionVault.objects.get(device=device).is_clean

    give_to(there, device)
    async with hosted(servers, there, disks["there"], **OPTIONS) as host:
        await host.until_state(device, "online")
        await sends(host, device, person)  # by the keys that were handed over
    shutil.rmtree(disks["there"])

    give_to(here, device)
    async with hosted(servers, here, disks["here"], **OPTIONS) as host:
        await host.until_state(device, "online")
        await sends(host, device, person)  # by fresh ones
        host.ask(device, "unlink")
        await host.until(lambda: not Device.objects.get(pk=device.pk).request, "it is unlinked")
    device.refresh_from_db()
    assert (device.state, device.phone) == ("unlinked", None)
    assert not SessionVault.objects.exists()
    assert not list(disks["here"].glob("whatsapp-*"))


async def test_a_number_that_was_not_expected_is_logged_out_on_the_phone_again(
    servers: WhatsAppWorld, tmp_path: Path
) -> None:
    here = lease_of("here")
    device, stranger = unlinked(here, pair_phone=new_phone()), new_phone()
    async with hosted(servers, here, tmp_path, **OPTIONS) as host:
        host.ask(device, "pair")
        payload = await host.code(device)
        process = host.process(device)
        servers.control.scan(qr=payload, phone=stranger.removeprefix("+"))
        await host.until(lambda: not Device.objects.get(pk=device.pk).request, "it has ended", 30)
        assert not process.alive
    device.refresh_from_db()
    assert (device.state, device.state_reason, device.phone) == ("new", "another number", None)
    assert stranger not in servers.logged_in()


async def test_a_code_to_type_links_and_a_cancelled_pairing_leaves_no_process(
    servers: WhatsAppWorld, tmp_path: Path
) -> None:
    here = lease_of("here")
    phone = new_phone()
    device = unlinked(here, pair_phone=phone, pair_by_code=True)
    async with hosted(servers, here, tmp_path, **OPTIONS) as host:
        host.ask(device, "pair")
        await host.until(lambda: bool((pairing := host.pairing(device)) and pairing.typed_code), "a code is shown")
        process = host.process(device)
        host.ask(device, "cancel")
        await host.until(lambda: not Device.objects.get(pk=device.pk).request, "it has ended")
        assert not Path(f"/proc/{process.pid}").exists()
        assert Device.objects.get(pk=device.pk).state_reason == "cancelled"
        host.ask(device, "pair")
        await host.until(lambda: bool((pairing := host.pairing(device)) and pairing.typed_code), "a code is shown")
        pairing = host.pairing(device)
        assert pairing is not None
        servers.type_code(pairing.typed_code, phone)
        await host.until_state(device, "online")
