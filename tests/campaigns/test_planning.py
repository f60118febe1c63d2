"""Planning by sticky devices and in turn, within a cap for each device, whoever plans at once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from accounts.models import Workspace
from campaigns.actions.campaigns import launch_campaign
from campaigns.actions.planning import plan_chunk
from campaigns.engine.assignment import is_held_out, variant_of
from campaigns.models import NOBODYS, Campaign, CampaignTag, Contact, Content, Message, Stream, Tag, Variant
from devices.models import Device
from monitoring.invariants import audit, is_clean
from tests.factories import make_campaign, make_contact, make_device, make_workspace

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def workspace() -> Workspace:
    other = make_workspace()
    make_contact(other, device=make_device(other))
    return make_workspace()


@pytest.fixture
def devices(workspace: Workspace) -> tuple[Device, ...]:
    return tuple(make_device(workspace) for _ in range(3))


def planned(workspace: Workspace, devices: tuple[Device, ...], size: int = 4, **fields: Any) -> Campaign:
    campaign = make_campaign(workspace, devices=devices, **fields)
    assert launch_campaign(campaign, None)
    while not plan_chunk(campaign.pk, size):
        pass
    campaign.refresh_from_db()
    assert is_clean(audit()), audit()
    return campaign


def at_once(count: int, work: Callable[[int], None]) -> None:
    barrier = threading.Barrier(count)

    def run(number: int) -> None:
        barrier.wait()
        work(number)
        connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def spread(campaign: Campaign) -> list[int]:
    """How many people each device has to write to."""
    pending = Message.objects.filter(campaign=campaign, state="pending")
    return sorted(Counter(pending.values_list("stream__device_id", flat=True)).values())


def test_in_turn_every_device_gets_its_share_whatever_people_know(
    workspace: Workspace, devices: tuple[Device, ...]
) -> None:
    for _ in range(9):
        make_contact(workspace, device=devices[0])
    assert spread(planned(workspace, devices, assignment="round_robin")) == [3, 3, 3]


def test_sticky_people_are_written_to_by_the_device_they_know(
    workspace: Workspace, devices: tuple[Device, ...]
) -> None:
    knowing = [make_contact(workspace, device=devices[number % 2]) for number in range(9)]
    stranger = make_device(workspace)
    unknown = make_contact(workspace, device=stranger)
    campaign = planned(workspace, devices)
    for contact in knowing:
        message = Message.objects.get(campaign=campaign, contact=contact)
        assert message.stream.device_id == contact.device_id
    unknown.refresh_from_db()
    assert unknown.device == stranger, "who knows a device that the campaign does not use goes on knowing it"


def test_sticky_people_who_know_no_device_know_their_first_one_from_then_on(
    workspace: Workspace, devices: tuple[Device, ...]
) -> None:
    for _ in range(10):
        make_contact(workspace)
    first = planned(workspace, devices)
    assert spread(first) == [3, 3, 4]
    assert not Contact.objects.for_workspace(workspace).filter(device=None).exists()
    second = planned(workspace, tuple(reversed(devices)))
    chosen = [
        dict(Message.objects.filter(campaign=campaign).values_list("contact_id", "stream__device_id"))
        for campaign in (first, second)
    ]
    assert chosen[0] == chosen[1] == dict(Contact.objects.for_workspace(workspace).values_list("pk", "device_id"))


def test_in_turn_nobody_comes_to_know_a_device(workspace: Workspace, devices: tuple[Device, ...]) -> None:
    make_contact(workspace)
    planned(workspace, devices, assignment="round_robin")
    assert Contact.objects.for_workspace(workspace).get().device is None


def test_p2_people_beyond_every_devices_cap_are_skipped_and_counted(
    workspace: Workspace, devices: tuple[Device, ...]
) -> None:
    for _ in range(11):
        make_contact(workspace)
    campaign = planned(workspace, devices, device_cap=3)
    assert spread(campaign) == [3, 3, 3]
    assert campaign.recipients == 11
    skipped = Message.objects.filter(campaign=campaign, state="skipped")
    assert list(skipped.values_list("reason", flat=True)) == ["no_room", "no_room"]
    assert Contact.objects.for_workspace(workspace).filter(device=None).count() == 2
    assert Stream.objects.filter(campaign=campaign).totals()["skipped"] == 2


def test_sticky_people_over_their_devices_cap_go_to_another(workspace: Workspace, devices: tuple[Device, ...]) -> None:
    for _ in range(7):
        make_contact(workspace, device=devices[0])
    campaign = planned(workspace, devices, size=3, device_cap=3)
    assert spread(campaign) == [2, 2, 3]
    assert Contact.objects.for_workspace(workspace).filter(device=devices[0]).count() == 7


def test_ten_planners_at_once_keep_each_devices_cap(workspace: Workspace, devices: tuple[Device, ...]) -> None:
    for number in range(40):
        make_contact(workspace, device=devices[0] if number % 3 else None)
    campaign = make_campaign(workspace, devices=devices, device_cap=11)
    launch_campaign(campaign, None)

    def plan(number: int) -> None:
        while not plan_chunk(campaign.pk, size=3):
            pass

    at_once(10, plan)
    campaign.refresh_from_db()
    assert (campaign.recipients, spread(campaign)) == (40, [11, 11, 11])
    assert is_clean(audit())


def test_two_campaigns_planned_at_once_write_to_a_person_from_one_device(workspace: Workspace) -> None:
    for _ in range(60):
        make_contact(workspace)
    numbers = tuple(make_device(workspace) for _ in range(5))
    campaigns = [make_campaign(workspace, devices=some) for some in (numbers, numbers[2:])]
    for campaign in campaigns:
        launch_campaign(campaign, None)

    def plan(number: int) -> None:
        while not plan_chunk(campaigns[number].pk, size=7 + number):
            pass

    at_once(2, plan)
    chosen = [
        dict(Message.objects.filter(campaign=campaign).values_list("contact_id", "stream__device_id"))
        for campaign in campaigns
    ]
    usable = {device.pk for device in numbers[2:]}
    assert all(chosen[0][person] == device for person, device in chosen[1].items() if chosen[0][person] in usable)


def test_the_time_after_which_nothing_leaves_counts_from_the_start(
    workspace: Workspace, devices: tuple[Device, ...]
) -> None:
    make_contact(workspace)
    campaign = planned(workspace, devices, expire_after_h=48)
    assert campaign.launched_at is not None
    ends = set(Stream.objects.filter(campaign=campaign).values_list("expires_at", flat=True))
    assert ends == {campaign.launched_at + timedelta(hours=48)}
    assert set(Stream.objects.filter(campaign=planned(workspace, devices)).values_list("expires_at")) == {(None,)}


def test_tags_choose_who_takes_part_chunk_by_chunk_and_each_person_once(
    workspace: Workspace, devices: tuple[Device, ...]
) -> None:
    chosen = [
        make_contact(workspace, tags=("vip", "new") if number % 3 == 0 else ("new",), device=devices[number % 2])
        for number in range(11)
    ]
    make_contact(workspace, tags=("cold",))
    chosen.append(make_contact(workspace, tags=("vip",), device=devices[2]))
    campaign = make_campaign(workspace, devices=devices, everyone=False)
    for tag in Tag.objects.filter(name__in=["vip", "new"]):
        CampaignTag.objects.create(workspace=workspace, campaign=campaign, tag=tag)
    launch_campaign(campaign, None)
    rounds = 1
    while not plan_chunk(campaign.pk, size=3):
        rounds += 1
    written = dict(Message.objects.filter(campaign=campaign).values_list("contact_id", "stream__device_id"))
    assert written == {contact.pk: contact.device_id for contact in chosen}
    assert rounds == 5
    campaign.refresh_from_db()
    assert campaign.recipients == 12


def variants(campaign: Campaign, *shares: int) -> list[Variant]:
    return [
        Variant.objects.create(
            workspace=campaign.workspace,
            campaign=campaign,
            number=number,
            share=share,
            content=Content.objects.create(workspace=campaign.workspace, text=f"Wording {number}"),
        )
        for number, share in enumerate(shares, 1)
    ]


def plan_all(campaign: Campaign, size: int = 4) -> Campaign:
    assert launch_campaign(campaign, None)
    while not plan_chunk(campaign.pk, size):
        pass
    campaign.refresh_from_db()
    assert is_clean(audit()), audit()
    return campaign


def test_each_device_has_a_stream_for_each_variant_and_people_are_drawn_by_share(
    workspace: Workspace, devices: tuple[Device, ...]
) -> None:
    for _ in range(60):
        make_contact(workspace)
    campaign = make_campaign(workspace, devices=devices)
    made = variants(campaign, 75, 25)
    plan_all(campaign, size=20)
    assert set(campaign.streams.values_list("device", "variant")) == {
        (device.pk, number) for device in devices for number in (1, 2)
    }
    got = Counter(Message.objects.filter(campaign=campaign).values_list("stream__variant", flat=True))
    assert got[1] + got[2] == 60
    assert 5 <= got[2] <= 26, "a quarter, as chance will have it"
    for message in Message.objects.filter(campaign=campaign).select_related("stream"):
        assert message.content_id == made[message.stream.variant - 1].content_id
        assert message.contact_id
        assert message.stream.variant == variant_of(campaign.pk, message.contact_id, [(1, 75), (2, 25)])


def test_the_variants_of_a_device_go_out_in_turns(workspace: Workspace, devices: tuple[Device, ...]) -> None:
    for _ in range(30):
        make_contact(workspace)
    campaign = make_campaign(workspace, devices=devices[:1])
    variants(campaign, 50, 50)
    plan_all(campaign, size=7)
    due = list(Message.objects.filter(campaign=campaign).order_by("contact_id").values_list("due_at", flat=True))
    assert due == sorted(set(due))
    for stream in campaign.streams.all():
        assert stream.next_due == stream.messages.order_by("due_at")[0].due_at


def test_p2_a_device_cap_counts_the_people_of_all_its_variants(
    workspace: Workspace, devices: tuple[Device, ...]
) -> None:
    for _ in range(20):
        make_contact(workspace)
    campaign = make_campaign(workspace, devices=devices, device_cap=4)
    variants(campaign, 50, 50)
    assert spread(plan_all(campaign)) == [4, 4, 4]
    assert Message.objects.filter(campaign=campaign, reason="no_room").count() == 8


def test_the_people_held_out_have_a_row_that_says_so(workspace: Workspace, devices: tuple[Device, ...]) -> None:
    for _ in range(60):
        make_contact(workspace)
    campaign = plan_all(make_campaign(workspace, devices=devices, hold_out=30), size=25)
    held_out = Message.objects.filter(campaign=campaign, state="skipped", reason="hold_out")
    assert 5 <= held_out.count() <= 32
    assert campaign.recipients == 60
    assert not Contact.objects.filter(pk__in=held_out.values("contact"), device__isnull=False).exists()
    for message in Message.objects.filter(campaign=campaign):
        assert (message.reason == "hold_out") == is_held_out(campaign.pk, message.contact_id or 0, 30)


@pytest.mark.parametrize("shares", [(50, 50), ()])
def test_whoever_gets_nothing_counts_under_no_variant_and_no_device(
    workspace: Workspace, devices: tuple[Device, ...], shares: tuple[int, ...]
) -> None:
    for _ in range(40):
        make_contact(workspace)
    campaign = make_campaign(workspace, devices=devices, hold_out=40, device_cap=2)
    if shares:
        variants(campaign, *shares)
    plan_all(campaign, size=15)
    rows = Message.objects.filter(campaign=campaign).values_list("stream__variant", "state", "reason")
    assert {row[1:] for row in rows if row[0] == NOBODYS} == {("skipped", "hold_out"), ("skipped", "no_room")}
    assert {row[1:] for row in rows if row[0] != NOBODYS} == {("pending", "")}
    nobodys = campaign.streams.get(variant=NOBODYS)
    assert (nobodys.skipped, nobodys.next_due) == (40 - 2 * len(devices), None)


def test_each_device_begins_a_stagger_later_than_the_one_before(
    workspace: Workspace, devices: tuple[Device, ...]
) -> None:
    for _ in range(6):
        make_contact(workspace)
    campaign = planned(workspace, devices, stagger_s=90)
    assert campaign.launched_at
    for turn, stream in enumerate(campaign.streams.order_by("device_id")):
        assert stream.next_due == campaign.launched_at + timedelta(seconds=90 * turn)
        assert set(stream.messages.values_list("due_at", flat=True)) == {stream.next_due}
