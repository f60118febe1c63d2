"""The sender at work in front of a real gateway: one bad row, a lost answer or an outage costs nobody else anything."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.db import OperationalError
from django.db.models import Max, Min
from django.utils import timezone

from accounts.models import Workspace
from campaigns import notes, outbox, sender
from campaigns.actions.doubts import send_again
from campaigns.actions.planning import plan_whole
from campaigns.actions.replies import Noted
from campaigns.models import Attempt, Campaign, CampaignState, Contact, Message, Stream
from campaigns.querysets.unsettled import Selection
from devices.hosting import leases
from devices.hosting.leases import Lease
from monitoring.invariants import audit, is_clean
from tests.campaigns.engine_room import EngineRoom, engine_room, owned_device
from tests.devices.gateway.world import SimulatedWorld
from tests.factories import make_campaign, make_contact, make_workspace

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.faults,  # cuts the database off
    pytest.mark.usefixtures("look_from_the_loop"),
]


@pytest.fixture(scope="module")
def world() -> Iterator[SimulatedWorld]:
    world = SimulatedWorld()
    world.start_network()
    yield world
    world.close()


def running_campaign(lease: Lease, people: int = 3, **workspace_fields: Any) -> Campaign:
    workspace = make_workspace()
    device = owned_device(workspace, lease)
    for _ in range(people):
        make_contact(workspace)
    campaign = make_campaign(workspace, devices=(device,), state=CampaignState.RUNNING)
    Campaign.objects.filter(pk=campaign.pk).update(launched_at=timezone.now())
    plan_whole(campaign.pk)
    Workspace.objects.filter(pk=workspace.pk).update(**workspace_fields)
    return campaign


def states(campaign: Campaign) -> list[str]:
    return list(Message.objects.filter(campaign=campaign).order_by("pk").values_list("state", flat=True))


def all_left(campaign: Campaign) -> bool:
    return set(states(campaign)) <= {"sent", "delivered", "read"}


async def test_p3_a_claim_whose_answer_is_lost_is_given_back(
    world: SimulatedWorld, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = running_campaign(lease)
    claim, broken = outbox.claim, [True]

    def breaks_after_the_commit(*asked: Any) -> Any:
        answers = claim(*asked)
        if broken and any(isinstance(answer, outbox.Claimed) for answer in answers):
            broken.pop()
            raise OperationalError("server closed the connection unexpectedly")
        return answers

    monkeypatch.setattr(outbox, "claim", breaks_after_the_commit)
    async with engine_room(world, lease) as room:
        await room.until(lambda: all_left(campaign), "everything is sent")
    [lost] = Attempt.objects.filter(message__campaign=campaign)
    assert lost.outcome == "the claim's answer was lost"
    assert bytes(lost.tag).hex() not in world.ledger.read_text()
    assert is_clean(audit()), audit()


async def test_one_workspace_whose_claim_fails_holds_up_nobody_else(world: SimulatedWorld, lease: Lease) -> None:
    healthy = [running_campaign(lease) for _ in range(2)]
    spoiled = running_campaign(lease, timezone="Mars/Olympus_Mons")
    healthy.append(running_campaign(lease))
    async with engine_room(world, lease) as room:
        await room.until(lambda: all(map(all_left, healthy)), "the healthy campaigns are sent")
    assert set(states(spoiled)) == {"pending"}


async def test_one_result_that_cannot_be_stored_holds_up_nobody_else(world: SimulatedWorld, lease: Lease) -> None:
    spoiled, healthy = running_campaign(lease, people=1), running_campaign(lease)
    number = Message.objects.get(campaign=spoiled).phone
    world.control.rule({"to": number}, not_sent="odd \0 words", times=1)
    async with engine_room(world, lease) as room:
        await room.until(lambda: all_left(healthy), "the healthy campaign is sent")
        await room.until(lambda: states(spoiled) == ["waiting"], "the spoiled result is written")
    message = Message.objects.get(campaign=spoiled)
    assert (message.reason, message.tries) == ("what was said of it cannot be stored", 1)
    assert is_clean(audit()), audit()


async def test_nothing_leaves_when_the_host_stood_still_after_the_claim(
    world: SimulatedWorld, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = running_campaign(lease, people=1)
    claim = outbox.claim
    async with engine_room(world, lease) as room:

        def stands_still(*asked: Any) -> Any:
            answers = claim(*asked)
            if any(isinstance(answer, outbox.Claimed) for answer in answers):
                room.watchdog._renewed -= 60
            return answers

        monkeypatch.setattr(outbox, "claim", stands_still)
        await room.until(lambda: states(campaign) == ["waiting"], "the message waits")
    message = Message.objects.get(campaign=campaign)
    assert message.reason == "lease ran out"
    assert bytes(message.tag or b"").hex() not in world.ledger.read_text()


async def test_a_request_to_stop_survives_an_outage_of_the_database(
    world: SimulatedWorld, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = running_campaign(lease, people=1)
    person = Contact.objects.get(messages__campaign=campaign)
    note, broken = notes.note_incoming, [True, True]

    def broken_at_first(incoming: Sequence[Any]) -> Noted:
        if broken:
            broken.pop()
            raise OperationalError("the database system is shutting down")
        return note(incoming)

    monkeypatch.setattr(notes, "note_incoming", broken_at_first)
    async with engine_room(world, lease) as room:
        await room.until(lambda: all_left(campaign), "the message is sent")
        world.control.reply(campaign.device_links.get().device.phone or "", person.phone, "STOP")
        await room.until(lambda: Contact.objects.get(pk=person.pk).opted_out_at is not None, "the person is opted out")


async def test_p4_a_message_in_flight_at_three_gateway_deaths_is_dead(world: SimulatedWorld, lease: Lease) -> None:
    campaign = running_campaign(lease, people=1)
    message = Message.objects.get(campaign=campaign)
    world.control.rule({"to": message.phone}, dead=True)
    async with engine_room(world, lease) as room:
        for deaths in (1, 2, 3):
            await room.until(lambda: room.sender.in_flight == 1, "it is in flight")
            process = room.sessions.gateways.slots[0].process
            assert process is not None
            os.kill(process.pid, signal.SIGKILL)
            expected = "dead" if deaths == 3 else "uncertain"
            await room.until(lambda expected=expected: states(campaign) == [expected], expected)  # type: ignore[misc]
            assert send_again(Selection(campaign, timezone.now()), None) == (deaths < 3)
    world.control.clear_rules()
    message.refresh_from_db()
    assert (message.deaths, message.reason) == (3, "gateway died 3 times while sending it")
    assert message.dead_at is not None
    assert is_clean(audit()), audit()


async def test_dead_sessions_hold_no_slots_and_starve_nobody(
    world: SimulatedWorld, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "SLOW_S", 0.3)
    silent = [running_campaign(lease, people=2) for _ in range(4)]
    for campaign in silent:
        world.control.rule({"phone": campaign.device_links.get().device.phone or ""}, dead=True)
    async with engine_room(world, lease, limit=2) as room:
        await room.until(lambda: all("sending" in states(campaign) for campaign in silent), "the silent ones are asked")
        healthy = running_campaign(lease, people=5)
        for device in leases.assigned(lease):
            room.sessions.keep(device)
        await room.until(lambda: all_left(healthy), "the healthy campaign is sent")
        assert room.sender.in_flight == 0
        assert room.sender.meters()["slow"] == 4
        for campaign in silent:  # nothing more is asked of them until they answer
            assert sorted(states(campaign)) == ["pending", "sending"]
        world.kill_network()  # ends the wait for answers that never come
        await room.until(lambda: all("uncertain" in states(campaign) for campaign in silent), "they end uncertain")
    world.start_network()


async def test_a_busy_workspace_slows_no_other_one_and_the_log_says_that_the_limit_is_too_low(
    world: SimulatedWorld, lease: Lease, caplog: pytest.LogCaptureFixture
) -> None:
    """A has 150 devices without gaps and thousands of messages; B keeps nine tenths of the rate it has alone."""

    async def seconds_of_b(room: EngineRoom) -> tuple[float, float]:
        campaign = campaign_of(5, 40, 0.4)
        for device in leases.assigned(lease):
            room.sessions.keep(device)
        await room.until(lambda: online(campaign), "B's devices are online")
        began = time.time()
        Stream.objects.filter(campaign=campaign).update(running=True)
        room.sender.rouse(campaign.device_links.values_list("device_id", flat=True))
        await room.until(lambda: all_left(campaign), "B is sent")
        sent = Message.objects.filter(campaign=campaign).aggregate(first=Min("sent_at"), last=Max("sent_at"))
        return sent["first"].timestamp() - began, sent["last"].timestamp() - sent["first"].timestamp()

    def campaign_of(devices: int, people: int, delay: float) -> Campaign:
        workspace = make_workspace(device_limit=devices)
        owned = [owned_device(workspace, lease, min_delay=delay, max_delay=delay) for _ in range(devices)]
        Contact.objects.bulk_create(
            Contact(workspace=workspace, phone=f"+6019{workspace.pk:04}{number:05}") for number in range(people)
        )
        campaign = make_campaign(workspace, devices=tuple(owned), state=CampaignState.RUNNING)
        Campaign.objects.filter(pk=campaign.pk).update(launched_at=timezone.now())
        plan_whole(campaign.pk)
        Stream.objects.filter(campaign=campaign).update(running=False, spread=True)
        return campaign

    def online(campaign: Campaign) -> bool:
        return not campaign.device_links.exclude(device__state="online").exists()

    async with engine_room(world, lease, limit=10) as room:
        _, alone = await seconds_of_b(room)
        assert room.sender.meters()["held_back_s"] == 0
        busy = campaign_of(150, 8_000, 0)
        for device in leases.assigned(lease):
            room.sessions.keep(device)
        await room.until(lambda: online(busy), "A's devices are online")
        Stream.objects.filter(campaign=busy).update(running=True)
        room.sender.rouse(busy.device_links.values_list("device_id", flat=True))
        held_back = room.sender.meters()["held_back_s"]
        first, beside = await seconds_of_b(room)
        assert "pending" in states(busy), "A was done before B"
        assert room.sender.meters()["waiting"] > 50, "nobody had to wait for a turn"
        assert room.sender.meters()["held_back_s"] > held_back
        Stream.objects.filter(campaign=busy).update(running=False)
    assert "The limit of 10 concurrent sends holds sending back" in caplog.text
    assert first <= 10
    assert beside <= alone / 0.9, (alone, beside)


async def test_a_gateway_is_replaced_while_its_devices_send_and_nothing_is_lost_or_uncertain(
    world: SimulatedWorld, lease: Lease
) -> None:
    campaigns = [running_campaign(lease, people=40) for _ in range(4)]
    async with engine_room(world, lease) as room:
        await room.until(lambda: all("sent" in states(campaign) for campaign in campaigns), "all are sending")
        [worn] = room.sessions.gateways.slots
        process = worn.process
        assert process is not None
        room.sessions.gateways.retire(worn)
        await room.until(lambda: not process.alive, "the worn process has ended")
        assert any("pending" in states(campaign) for campaign in campaigns), "it was over before"
        await room.until(lambda: all(all_left(campaign) for campaign in campaigns), "everything is sent")
        assert len(room.sessions.gateways.slots) == 1
    assert not Attempt.objects.exists()  # nobody needed a second one
    assert is_clean(audit()), audit()
