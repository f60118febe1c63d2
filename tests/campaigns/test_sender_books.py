"""What the sender keeps in mind between a claim and its settlement: every word counts, once, and nothing piles up."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
from django.db import transaction

from campaigns import notes, outbox
from campaigns.engine.concurrency import Limit
from campaigns.models import Message, Stream, Uncertain
from campaigns.outbox import Claimed, Held, Settlement
from campaigns.pulse import Pulse
from campaigns.schedule import DeviceWorker, Flight
from campaigns.sender import Sender
from devices.gateway import contract
from devices.hosting import leases
from devices.hosting.leases import Lease, LeaseTimes
from devices.hosting.sessions import Sessions
from devices.hosting.watchdog import Watchdog
from devices.models import Device
from monitoring.invariants import audit, is_clean
from tests.campaigns.engine_room import engine_room
from tests.campaigns.engine_room import owned_device as room_device
from tests.campaigns.outbox_cases import claim_one, owned_device, running_campaign, sent
from tests.devices.gateway.world import SimulatedWorld
from tests.factories import make_workspace

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("look_from_the_loop")]


@pytest.fixture
def own_lease() -> Lease:
    return leases.begin("here", ["simulator"], LeaseTimes())


@pytest.fixture
def device(own_lease: Lease) -> Device:
    make_workspace()
    return owned_device(make_workspace(), own_lease)


@asynccontextmanager
async def sender_of(lease: Lease) -> AsyncIterator[Sender]:
    """A sender without gateways: the test says what they would."""
    sender = Sender(lease, Limit(50, 50), Pulse(), Random(1))
    sender.start(Sessions(lease.host, Path(), {}, {}, sender), Watchdog(LeaseTimes()))
    try:
        yield sender
    finally:
        await sender.sessions.stop()
        sender.close()
        sender.pulse.close()


@asynccontextmanager
async def writing(sender: Sender) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(duty) for duty in (sender.settling.run(), sender.notes._note_for_ever())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def in_flight(sender: Sender, device: Device, claimed: Claimed) -> DeviceWorker:
    worker = DeviceWorker(device.pk, device.epoch, device.workspace_id, 1)
    sender.workers[device.pk] = worker
    worker.flight = Flight(claimed, asyncio.get_running_loop().time(), False, text="Hello", posted=True)
    sender.in_flight += 1
    return worker


def acknowledged(claimed: Claimed) -> contract.Sent:
    now = time.time()
    return contract.Sent(claimed.device, claimed.message, claimed.tag, now, f"id-{claimed.message}", "chat@lid", now)


def state_of(claimed: Claimed) -> str:
    return Message.objects.get(pk=claimed.message).state


async def test_ringing_again_and_again_for_a_device_that_waits_for_tomorrow_piles_nothing_up(
    own_lease: Lease, device: Device
) -> None:
    async with sender_of(own_lease) as sender:
        worker = DeviceWorker(device.pk, 1, device.workspace_id, 1)
        sender.workers[device.pk] = worker
        for _ in range(5_000):
            sender.rouse([device.pk])
            sender.schedule.ripen()
            assert sender._take_turns() == [worker]
            sender._answered([worker], [Held(device.pk, "daily_cap", 40_000.0)])
        assert len(sender.schedule) < 200
        sender.rouse([device.pk])
        sender.schedule.ripen()
        assert sender._take_turns() == [worker]


async def test_an_acknowledgement_counts_although_it_was_given_up_for_lost_a_moment_before(
    own_lease: Lease, device: Device
) -> None:
    running_campaign(device.workspace, [device], 1)
    claimed = claim_one(own_lease, device)
    async with sender_of(own_lease) as sender:
        worker = in_flight(sender, device, claimed)
        sender.on_outcome(contract.Unknown(device.pk, claimed.message, claimed.tag, None, "timed out"))
        sender.on_outcome(acknowledged(claimed))
        assert sender.in_flight == 0
        async with writing(sender):
            await until(lambda: worker.flight is None)
    assert state_of(claimed) == "sent"
    assert is_clean(audit()), audit()["violations"]


async def test_a_receipt_waits_until_its_acknowledgement_is_written_and_settles_nobody_elses_message(
    own_lease: Lease, device: Device
) -> None:
    """Taken for a stranger's, the id would pass for that of the person's uncertain message, which would be lost."""
    campaigns = [running_campaign(device.workspace, [device], people) for people in (1, 0, 0)]
    arrived = claim_one(own_lease, device)
    outbox.settle([sent(arrived, device, chat="chat@lid")])
    doubted = claim_one(own_lease, device)
    doubt = Settlement(device.pk, device.epoch, doubted.message, doubted.tag, "uncertain", "timed out", "Hello", 0.0)
    outbox.settle([doubt])
    claimed = claim_one(own_lease, device)
    async with sender_of(own_lease) as sender:
        in_flight(sender, device, claimed)
        sender.on_outcome(acknowledged(claimed))
        sender.on_receipt(contract.Receipt(device.pk, [f"id-{claimed.message}"], "chat@lid", "delivered", time.time()))
        async with writing(sender):
            with transaction.atomic():
                list(Stream.objects.select_for_update().filter(campaign=campaigns[-1]))
                await asyncio.sleep(1)
            await until(lambda: "delivered" in (state_of(claimed), state_of(doubted)))
    assert (state_of(doubted), state_of(claimed)) == ("uncertain", "delivered")
    assert is_clean(audit()), audit()["violations"]


async def test_a_session_file_is_searched_when_it_is_open_again(
    own_lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked too early the file would be silent, and not be asked again for an hour."""
    monkeypatch.setattr(notes, "SEARCH_S", 0.3)
    make_workspace()
    workspace = make_workspace()
    device = room_device(workspace, own_lease)
    world = SimulatedWorld()
    world.start_network()
    try:
        campaign = running_campaign(workspace, [device], 1)
        message = Message.objects.get(campaign=campaign)
        world.control.rule({"to": message.phone}, lost_ack=True)
        async with engine_room(world, own_lease) as room:
            await room.until(lambda: world.ledger.read_text() != "", "it is on the wire")
            process = room.sessions.gateways.slots[0].process
            assert process is not None
            os.kill(process.pid, signal.SIGKILL)
            await room.until(lambda: Uncertain.objects.filter(message=message).exists(), "it is uncertain")
            found = Message.objects.filter(pk=message.pk, wire_id__isnull=False)
            await room.until(found.exists, "its id is found")
    finally:
        world.close()


@pytest.mark.parametrize("knows_chat", [True, False], ids=["chat known", "id from the session file"])
async def test_a_receipt_that_came_before_its_message_was_given_up_settles_it(
    own_lease: Lease, device: Device, knows_chat: bool
) -> None:
    """The acknowledgement was lost: the library waits for it long after the person has the message."""
    running_campaign(device.workspace, [device], 1)
    claimed = claim_one(own_lease, device)
    async with sender_of(own_lease) as sender:
        in_flight(sender, device, claimed)
        chat = f"{claimed.phone[1:]}@s.whatsapp.net" if knows_chat else "777@lid"
        sender.on_receipt(contract.Receipt(device.pk, ["3EB0LOST"], chat, "delivered", time.time()))
        async with writing(sender):
            await until(lambda: bool(sender.notes._strangers))
            assert state_of(claimed) == "sending"
            sender.on_outcome(contract.Unknown(device.pk, claimed.message, claimed.tag, None, "timed out"))
            if not knows_chat:
                await until(lambda: state_of(claimed) == "uncertain" and bool(sender.notes._strangers))
                sender.on_found(contract.Found(device.pk, 1, {claimed.tag.hex(): "3EB0LOST"}))
            await until(lambda: state_of(claimed) == "delivered")
    assert is_clean(audit()), audit()["violations"]


async def test_receipts_of_strangers_are_forgotten_once_nothing_is_in_doubt(own_lease: Lease, device: Device) -> None:
    running_campaign(device.workspace, [device], 1)
    claimed = claim_one(own_lease, device)
    async with sender_of(own_lease) as sender:
        in_flight(sender, device, claimed)
        for number in range(300):
            sender.on_receipt(contract.Receipt(device.pk, [f"stranger {number}"], "9@lid", "read", time.time()))
        async with writing(sender):
            await until(lambda: len(sender.notes._strangers.get(device.pk, [])) == notes.STRANGERS_KEPT)
            sender.on_outcome(acknowledged(claimed))
            await until(lambda: state_of(claimed) == "sent" and not sender._is_unsettled(device.pk))
            sender.on_receipt(contract.Receipt(device.pk, ["another stranger"], "9@lid", "read", time.time()))
            sender.notes._forget_strangers()
            assert not sender.notes._strangers
