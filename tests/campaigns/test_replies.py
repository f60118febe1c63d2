"""What people answer is noted once, tied to what caused it, and shown where one looks for it."""

from __future__ import annotations

import secrets
import time
from typing import Any

import pytest
from django.db import DataError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import Workspace
from campaigns.actions.replies import note_incoming
from campaigns.models import Campaign, Contact, Message, Reply, Suppression, WireId
from devices.gateway.contract import Incoming
from devices.hosting.leases import Lease
from devices.models import Device
from tests.campaigns.engine_room import engine_room
from tests.campaigns.engine_room import owned_device as device_of_the_room
from tests.campaigns.outbox_cases import owned_device
from tests.campaigns.waiting_for_locks import while_held
from tests.devices.gateway.world import SimulatedWorld
from tests.factories import make_campaign, make_contact, make_workspace

pytestmark = pytest.mark.django_db(transaction=True)

STRANGER = "+60123456789"


@pytest.fixture
def device(workspace: Workspace, lease: Lease) -> Device:
    return owned_device(workspace, lease)


@pytest.fixture
def person(workspace: Workspace) -> Contact:
    return make_contact(workspace, name="Siti")


def says(device: Device, sender: str, text: str = "Hi", **more: Any) -> Incoming:
    said = {"chat": f"{sender[1:]}@s.whatsapp.net", "id": secrets.token_hex(8), "at": time.time(), **more}
    return Incoming(device=device.pk, sender=sender, text=text, **said)


def was_sent(device: Device, person: Contact, name: str) -> Message:
    """A campaign's message that this person has had from the device; ids on the wire bear its name."""
    campaign = make_campaign(device.workspace, name=name)
    stream = campaign.streams.create(workspace=device.workspace, device=device, lane=1, sent=1)
    now = {"due_at": "2026-01-01T00:00Z", "sent_at": "2026-01-01T00:00Z", "attempted_at": "2026-01-01T00:00Z"}
    message = Message.objects.create(
        workspace=device.workspace, stream=stream, campaign=campaign, contact=person, content=campaign.content,
        phone=person.phone, state="sent", text=f"Dear Siti, {name}", wire_id=name, tag=b"t", attempts=1, **now,
    )  # fmt: skip
    WireId.objects.create(workspace=device.workspace, device_id=device.pk, wire_id=name, message_id=message.pk)
    return message


def replied(campaign: Campaign | None) -> int:
    assert campaign is not None
    return campaign.streams.get().replied


# ---- the ledger


def test_a_reply_is_kept_with_what_it_answers_and_a_repeat_changes_nothing(device: Device, person: Contact) -> None:
    was_sent(device, person, "first")
    last = was_sent(device, person, "last")
    Device.objects.update(warm_cap=20)
    reply = says(device, person.phone, "How much?", at=1_780_000_000.0)
    assert note_incoming([reply, reply]) == ({last.campaign_id}, {device.pk: 1})
    assert note_incoming([reply]) == (set(), {})
    kept = Reply.objects.get()
    assert (kept.contact, kept.phone, kept.message, kept.kind) == (person, person.phone, last, "text")
    assert (kept.text, kept.at.timestamp(), kept.wire_id) == ("How much?", 1_780_000_000.0, reply.id)
    device.refresh_from_db()
    assert device.warm_replies == 1
    assert replied(last.campaign) == 1


def test_what_is_quoted_is_what_is_answered(device: Device, person: Contact) -> None:
    first, last = was_sent(device, person, "first"), was_sent(device, person, "last")
    assert note_incoming([says(device, person.phone, quoted="first")]).campaigns == {first.campaign_id}
    assert Reply.objects.get().message == first
    assert (replied(first.campaign), replied(last.campaign)) == (1, 0)


def test_a_second_reply_answers_the_same_message_and_counts_nobody_twice(device: Device, person: Contact) -> None:
    before, last = was_sent(device, person, "before"), was_sent(device, person, "last")
    for _ in range(2):
        note_incoming([says(device, person.phone)])
    assert set(Reply.objects.values_list("message", flat=True)) == {last.pk}
    assert (replied(before.campaign), replied(last.campaign)) == (0, 1)


@pytest.mark.parametrize("state", ["sending", "uncertain", "assumed"])
def test_an_answer_may_come_before_the_acknowledgement_is_known(device: Device, person: Contact, state: str) -> None:
    before, last = was_sent(device, person, "before"), was_sent(device, person, "last")
    Message.objects.filter(pk=last.pk).update(state=state, sent_at=None, attempted_at="2026-01-01T00:01Z")
    note_incoming([says(device, person.phone)])
    assert Reply.objects.get().message == last
    assert (replied(before.campaign), replied(last.campaign)) == (0, 1)


def test_what_was_not_sent_is_answered_by_nobody(device: Device, person: Contact) -> None:
    before, last = was_sent(device, person, "before"), was_sent(device, person, "last")
    Message.objects.filter(pk=last.pk).update(state="dead", sent_at=None, attempted_at="2026-01-01T00:01Z")
    note_incoming([says(device, person.phone)])
    assert Reply.objects.get().message == before


def test_quoting_what_somebody_else_was_sent_answers_nothing_of_theirs(
    workspace: Workspace, device: Device, person: Contact
) -> None:
    theirs = was_sent(device, make_contact(workspace), "theirs")
    note_incoming([says(device, person.phone, quoted="theirs")])
    assert Reply.objects.get().message is None
    assert replied(theirs.campaign) == 0


def test_what_another_device_sent_is_not_what_they_answer_here(
    workspace: Workspace, lease: Lease, device: Device, person: Contact
) -> None:
    was_sent(owned_device(workspace, lease), person, "elsewhere")
    note_incoming([says(device, person.phone, quoted="elsewhere")])
    assert Reply.objects.get().message is None


def test_strangers_and_hidden_numbers_are_kept_too(device: Device) -> None:
    note_incoming([says(device, STRANGER), says(device, "999@lid", chat="999@lid")])
    assert list(Reply.objects.order_by("pk").values_list("phone", "contact", "message")) == [
        (STRANGER, None, None),
        ("", None, None),
    ]


def test_a_quoted_message_tells_the_number_that_whatsapp_hides(device: Device, person: Contact) -> None:
    message = was_sent(device, person, "first")
    note_incoming([says(device, "999@lid", "stop", chat="999@lid", quoted="first")])
    kept = Reply.objects.get()
    assert (kept.phone, kept.contact, kept.message) == (person.phone, person, message)
    assert Suppression.objects.get().phone == person.phone


def test_the_same_person_at_another_workspace_is_another_contact(device: Device, person: Contact) -> None:
    make_contact(make_workspace(), phone=person.phone)
    note_incoming([says(device, person.phone)])
    assert (Reply.objects.get().workspace, Reply.objects.get().contact) == (device.workspace, person)


@pytest.mark.parametrize(
    ("kind", "text", "stops"),
    [
        ("image", "STOP", True),
        ("video", "unsubscribe", True),
        ("document", "Please find attached", False),
        ("reaction", "🛑", False),
        ("reaction", "stop", False),
        ("location", "Stop", False),
        ("contact", "Stop", False),
    ],
)
def test_a_caption_may_ask_to_stop_a_reaction_or_a_place_never_does(
    device: Device, person: Contact, kind: str, text: str, stops: bool
) -> None:
    message = was_sent(device, person, "first")
    note_incoming([says(device, person.phone, text, kind=kind)])
    assert Suppression.objects.exists() == stops
    assert Reply.objects.get().kind == kind
    assert replied(message.campaign) == 1, "a reply it is in any case"


def test_a_kind_nobody_knows_a_time_that_is_none_and_a_book_are_kept_as_well_as_can_be(
    device: Device, person: Contact
) -> None:
    note_incoming(
        [says(device, person.phone, "x\0" * 5_000, kind="hologram", at=at) for at in (float("nan"), 1e300, -1.0)]
    )
    for kept in Reply.objects.all():
        assert (kept.kind, kept.text) == ("other", "x" * 4096)
        assert abs(kept.at.timestamp() - time.time()) < 60


def test_a_thousand_replies_cost_a_few_statements(workspace: Workspace, device: Device) -> None:
    people = [make_contact(workspace) for _ in range(50)]
    for person in people:
        was_sent(device, person, f"to {person.pk}")
    incoming = [says(device, people[n % 50].phone, f"Message {n}") for n in range(1_000)]
    with CaptureQueriesContext(connection) as asked:
        note_incoming(incoming)
    assert Reply.objects.count() == 1_000
    assert Message.objects.filter(replied_at__isnull=False).count() == 50
    assert len(asked) < 70  # of which 50 are counters of 50 campaigns' streams


# ---- heard by an engine


@pytest.mark.usefixtures("look_from_the_loop")
async def test_a_hostile_row_takes_no_other_with_it(
    lease: Lease,
) -> None:
    workspace = make_workspace()
    device = device_of_the_room(workspace, lease)
    world = SimulatedWorld()
    world.start_network()
    try:
        async with engine_room(world, lease) as room:
            await room.until(lambda: room.sessions.is_online(device.pk), "it is online")
            good = [says(device, f"+6012345{n:04d}") for n in range(40)]
            bad = says(device, STRANGER, id="\0 " * 40)
            for one in [*good[:20], bad, *good[20:]]:
                room.sender.on_incoming(one)
            await room.until(lambda: room.sender.notes.noted == 41, "all are noted or given up")
            world.control.reply(device.phone or "", STRANGER, "STOP", kind="image")
            await room.until(lambda: Suppression.objects.exists(), "a caption was heard through the gateway")
    finally:
        world.close()
    assert Reply.objects.filter(kind="text").count() == 40
    assert Reply.objects.get(kind="image").text == "STOP"


def test_what_postgresql_refuses_leaves_nothing_behind(device: Device, person: Contact) -> None:
    was_sent(device, person, "first")
    with pytest.raises(DataError):
        note_incoming([says(device, person.phone, "stop"), says(device, STRANGER, id="x" * 65)])
    assert not Reply.objects.exists()
    assert not Suppression.objects.exists()
    assert not Message.objects.filter(replied_at__isnull=False).exists()


# ---- the pages


def test_a_contacts_page_shows_replies_newest_first_with_what_they_answer(
    as_alice: Client, device: Device, person: Contact
) -> None:
    was_sent(device, person, "Spring sale")
    note_incoming([says(device, person.phone, "How much is it?")])
    note_incoming([says(device, person.phone, "<b>Hello?</b>", kind="image")])
    page = as_alice.get(reverse("campaigns:contact", args=[person.uuid])).content.decode()
    assert page.index("&lt;b&gt;Hello?&lt;/b&gt;") < page.index("How much is it?")
    assert "Picture" in page
    assert "Spring sale</a>: <span" in page
    assert "Dear Siti, Spring sale" in page


def test_the_people_who_replied_are_listed_with_their_words(as_alice: Client, device: Device, person: Contact) -> None:
    message = was_sent(device, person, "Spring sale")
    note_incoming([says(device, person.phone, "How much is it?")])
    assert message.campaign is not None
    people = reverse("campaigns:recipients", args=[message.campaign.uuid]) + "?figure=replied"
    assert "How much is it?" in as_alice.get(people).content.decode()


def test_a_device_that_is_removed_meanwhile_takes_no_other_word_with_it(
    workspace: Workspace, lease: Lease, device: Device, person: Contact
) -> None:
    leaving = owned_device(workspace, lease)
    words = [says(leaving, STRANGER), says(device, person.phone, "stop")]
    while_held(lambda: Device.objects.filter(pk=leaving.pk).delete(), lambda: note_incoming(words))
    assert Reply.objects.get().text == "stop"
    assert Suppression.objects.get().phone == person.phone
