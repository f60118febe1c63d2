"""The sender at work in front of a real gateway: one bad row, a lost answer or an outage costs nobody else anything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from accounts.models import Workspace
from campaigns import notes, outbox
from campaigns.actions.planning import plan_whole
from campaigns.models import Attempt, Campaign, CampaignState, Contact, Message
from devices.hosting import leases
from devices.hosting.leases import Lease, LeaseTimes
from monitoring.invariants import audit, is_clean
from tests.campaigns.engine_room import engine_room, owned_device
from tests.devices.gateway.world import SimulatedWorld
from tests.factories import make_campaign, make_contact, make_workspace

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]  # cuts the database off


@pytest.fixture(autouse=True)
async def look_from_the_loop(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    connection.ensure_connection()  # of this asynchronous context, which the test inherits
    yield
    connection.close()


@pytest.fixture(scope="module")
def world() -> Iterator[SimulatedWorld]:
    world = SimulatedWorld()
    world.start_network()
    yield world
    world.close()


@pytest.fixture
def lease() -> Lease:
    return leases.begin("here", ["simulator"], LeaseTimes())


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

    def broken_at_first(incoming: Sequence[Any]) -> set[int]:
        if broken:
            broken.pop()
            raise OperationalError("the database system is shutting down")
        return note(incoming)

    monkeypatch.setattr(notes, "note_incoming", broken_at_first)
    async with engine_room(world, lease) as room:
        await room.until(lambda: all_left(campaign), "the message is sent")
        world.control.reply(campaign.device_links.get().device.phone or "", person.phone, "STOP")
        await room.until(lambda: Contact.objects.get(pk=person.pk).opted_out_at is not None, "the person is opted out")
