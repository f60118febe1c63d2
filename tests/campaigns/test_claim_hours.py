"""When a person may be written to: quiet hours, the campaign's own hours, silence asked for, and how often at most."""

from __future__ import annotations

import threading
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import Workspace
from campaigns import outbox
from campaigns.models import Campaign, Contact, Content, GlobalSuppression, Message, Stream, Variant
from campaigns.outbox import Ask, Claimed, Held
from campaigns.outbox.claim import PLACES, SHIFT
from devices.hosting.leases import Lease
from devices.models import Device
from monitoring.invariants import audit, is_clean
from tests.campaigns.outbox_cases import (
    ask,
    assert_counters_are_true,
    claim_one,
    owned_device,
    running_campaign,
    sent,
)
from tests.campaigns.test_claim_rules import direct_message

pytestmark = pytest.mark.django_db(transaction=True)  # now() stands still inside a transaction

HOUR = timedelta(hours=1)
HERE, THERE = "Asia/Kuala_Lumpur", "America/New_York"


def clock(zone: str = HERE, ahead: timedelta = timedelta()) -> time:
    return (timezone.now().astimezone(ZoneInfo(zone)) + ahead).time()


def quiet_here(workspace: Workspace) -> datetime:
    """It is quiet by the workspace's clock, and not by New York's; returns when it ends."""
    ends = timezone.now() + HOUR
    Workspace.objects.filter(pk=workspace.pk).update(quiet_from=clock(ahead=-HOUR), quiet_to=clock(ahead=HOUR))
    return ends


def held(lease: Lease, device: Device) -> Held:
    """What a device hears that asks until it has something to send or nothing to do."""
    for _ in range(20):
        [answer] = outbox.claim(lease, ask(device))
        assert isinstance(answer, Held), answer
        if answer.reason != "again":
            return answer
    raise AssertionError("it asks for ever")


def near(at: datetime | None, expected: datetime) -> bool:
    return at is not None and abs(at - expected) < timedelta(seconds=5)


def people_of(campaign: Campaign, zone: str, count: int) -> None:
    pks = Message.objects.filter(campaign=campaign).order_by("pk").values_list("contact_id", flat=True)[:count]
    Contact.objects.filter(pk__in=list(pks)).update(timezone=zone)


# ---------------------------------------------------------------------------------------- the instant by the clock

CASES = [
    pytest.param("America/New_York", date(2026, 3, 8), id="New York, an hour is left out"),
    pytest.param("America/New_York", date(2026, 11, 1), id="New York, an hour comes twice"),
    pytest.param("Asia/Kuala_Lumpur", date(2026, 3, 8), id="Kuala Lumpur"),
    pytest.param("UTC", date(2026, 11, 1), id="UTC"),
]
WINDOWS = [
    (time(21), time(9), None, None),
    (time(1, 30), time(2, 30), None, None),
    (None, None, time(2, 30), time(5)),
    (None, None, time(22), time(1, 15)),
    (time(20), time(8), time(7), time(10)),
]


@pytest.mark.parametrize(("zone", "day"), CASES)
@pytest.mark.parametrize("window", WINDOWS)
def test_the_next_instant_is_allowed_by_the_clock_of_the_zone_and_the_first_such_one(
    zone: str, day: date, window: tuple[time | None, time | None, time | None, time | None]
) -> None:
    quiet_from, quiet_to, local_from, local_to = window
    begin = datetime.combine(day - timedelta(days=1), time(0), ZoneInfo("UTC"))
    step, steps = timedelta(minutes=15), 3 * 24 * 4

    def allowed(at: datetime) -> bool:
        now = at.astimezone(ZoneInfo(zone)).time()
        return not within(now, quiet_from, quiet_to) and (local_from is None or within(now, local_from, local_to))

    values: list[Any] = list(window)
    instants = [begin + step * number for number in range(steps)]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT campaigns_may_write_at(at, %s, %s, %s, %s, %s) FROM unnest(%s::timestamptz[]) at",
            [zone, *values, instants],
        )
        answers = [row[0] for row in cursor.fetchall()]
    for at, answer in zip(instants, answers, strict=True):
        assert (answer is None) == allowed(at), at
        if answer is None:
            continue
        assert answer > at
        assert allowed(answer), (at, answer)
        openings = [at + step * number for number in range(1, steps) if allowed(at + step * number)]
        # Where an hour comes twice an opening in its second turn may be passed over; where one is left out, the hours
        # that would begin in it begin up to an hour later.
        sure = next(opening for opening in openings if not opening.astimezone(ZoneInfo(zone)).fold)
        assert openings[0] <= answer <= sure + (HOUR if openings[0].date() == day else timedelta())


def within(at: time, begin: time | None, end: time | None) -> bool:
    if begin is None or end is None:
        return False
    return begin <= at < end if begin < end else at >= begin or at < end


def test_hours_that_never_meet_still_give_an_answer() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT campaigns_may_write_at(now(), 'UTC', '08:00', '07:00', '10:00', '11:00')")
        assert cursor.fetchone()[0] > timezone.now()


# ------------------------------------------------------------------------------------------------------ quiet hours


def test_p10_a_stream_waits_as_one_while_nobody_may_be_written_to(workspace: Workspace, lease: Lease) -> None:
    device = owned_device(workspace, lease)
    campaign = running_campaign(workspace, [device], 6)
    people_of(campaign, HERE, 3)
    due = set(Message.objects.values_list("due_at", flat=True))
    ends = quiet_here(workspace)
    answer = held(lease, device)
    assert answer.reason == "idle"
    assert answer.wait == pytest.approx(3600, abs=5)
    assert near(campaign.streams.get().held_until, ends)
    assert set(Message.objects.values_list("due_at", flat=True)) == due, "not one was touched"
    assert outbox.devices_with_due_work(lease) == []
    Message.objects.update(due_at=timezone.now() - HOUR)
    Stream.objects.update(next_due=timezone.now() - 2 * HOUR)
    Device.objects.update(state_at=timezone.now() - HOUR, next_send_at=timezone.now() - HOUR)
    assert is_clean(audit()), audit()


def test_it_leaves_once_the_hours_have_passed(workspace: Workspace, lease: Lease) -> None:
    device = owned_device(workspace, lease)
    campaign = running_campaign(workspace, [device], 1)
    quiet_here(workspace)
    held(lease, device)
    Workspace.objects.update(quiet_from=clock(ahead=-2 * HOUR), quiet_to=clock(ahead=-HOUR))
    Stream.objects.filter(campaign=campaign).update(held_until=timezone.now())
    claim_one(lease, device)


def test_p10_people_elsewhere_are_written_to_while_it_is_quiet_here(workspace: Workspace, lease: Lease) -> None:
    device = owned_device(workspace, lease)
    campaign = running_campaign(workspace, [device], 6)
    ends = quiet_here(workspace)
    here = list(Message.objects.filter(campaign=campaign).order_by("pk"))[:4]
    Contact.objects.exclude(pk__in=[message.contact_id for message in here]).update(timezone=THERE)
    Contact.objects.filter(pk=here[0].contact_id or 0).update(timezone="Nowhere/Land")  # as good as none
    for _ in range(2):
        claimed = claim_one(lease, device)
        assert claimed.message not in [message.pk for message in here]
        outbox.settle([sent(claimed, device)])
    answer = held(lease, device)
    assert answer.wait == pytest.approx(3600, abs=5)
    for message in Message.objects.filter(pk__in=[message.pk for message in here]):
        assert near(message.due_at, ends)
        assert (message.state, message.reason) == ("pending", "quiet_hours")
    assert_counters_are_true(campaign)
    now = timezone.now()
    Message.objects.filter(state="pending").update(due_at=now)
    Stream.objects.update(next_due=now, next_id=0, held_until=None)
    Workspace.objects.update(quiet_from=None, quiet_to=None)
    assert Message.objects.get(pk=claim_one(lease, device).message).reason == ""


def test_who_must_wait_is_moved_by_the_hundred_and_few_devices_at_once(workspace: Workspace, lease: Lease) -> None:
    devices = [owned_device(workspace, lease) for _ in range(PLACES + 2)]
    campaign = running_campaign(workspace, devices, len(devices))
    first = Message.objects.filter(campaign=campaign).order_by("pk")
    many = [
        Message(workspace=workspace, stream=one.stream, content=one.content, phone=f"+6019{number:07}",
                campaign=campaign, contact=contact, due_at=one.due_at)
        for one in first.select_related("stream")[:1]
        for number, contact in enumerate(
            Contact.objects.bulk_create(
                Contact(workspace=workspace, phone=f"+6019{number:07}") for number in range(SHIFT + 50)
            )
        )
    ]  # fmt: skip
    Message.objects.bulk_create(many)
    quiet_here(workspace)
    Contact.objects.bulk_create([Contact(workspace=workspace, phone="+12125550000", timezone=THERE)])
    answers = outbox.claim(lease, [Ask(device.pk, device.epoch, 0.5, bytes(32)) for device in devices])
    assert sorted(answer.wait or 0 for answer in answers if isinstance(answer, Held)) == [0] * PLACES + [0.25, 0.25]
    assert Message.objects.filter(reason="quiet_hours").count() == SHIFT + PLACES - 1
    for device in devices:
        assert held(lease, device).reason == "idle"
    assert not Message.objects.filter(reason="").exists()


def test_a_campaigns_own_hours_hold_by_each_persons_clock(workspace: Workspace, lease: Lease) -> None:
    device = owned_device(workspace, lease)
    campaign = running_campaign(workspace, [device], 2)
    Campaign.objects.update(local_from=clock(THERE, -HOUR), local_to=clock(THERE, HOUR))
    there = Message.objects.filter(campaign=campaign).order_by("-pk")[0]
    Contact.objects.filter(pk=there.contact_id or 0).update(timezone=THERE)
    assert claim_one(lease, device).message == there.pk
    assert Message.objects.get(campaign=campaign, state="pending").due_at > timezone.now()


def test_tests_and_answers_leave_at_any_hour(workspace: Workspace, lease: Lease) -> None:
    device = owned_device(workspace, lease)
    running_campaign(workspace, [device], 1)
    quiet_here(workspace)
    held(lease, device)
    message = direct_message(device)
    assert claim_one(lease, device).message == message.pk


def test_who_asked_for_silence_is_written_to_when_it_ends_and_not_in_the_night(
    workspace: Workspace, lease: Lease
) -> None:
    device = owned_device(workspace, lease)
    campaign = running_campaign(workspace, [device], 2)
    silent = Message.objects.filter(campaign=campaign).order_by("pk")[0]
    until = timezone.now() + 5 * HOUR
    Contact.objects.filter(pk=silent.contact_id or 0).update(paused_until=until)
    Workspace.objects.update(quiet_from=clock(ahead=4 * HOUR), quiet_to=clock(ahead=6 * HOUR))
    assert claim_one(lease, device).message != silent.pk
    silent.refresh_from_db()
    assert (silent.state, silent.reason) == ("pending", "silence")
    assert near(silent.due_at, timezone.now() + 6 * HOUR)
    assert_counters_are_true(campaign)


def test_a_number_barred_on_the_installation_is_skipped_on_every_lane(workspace: Workspace, lease: Lease) -> None:
    device = owned_device(workspace, lease)
    campaign = running_campaign(workspace, [device], 1)
    GlobalSuppression.objects.create(phone=Message.objects.get().phone, reason="court order")
    GlobalSuppression.objects.create(phone=direct_message(device).phone, reason="court order")
    held(lease, device)
    assert set(Message.objects.values_list("state", "reason")) == {("skipped", "barred")}
    assert_counters_are_true(campaign)


# --------------------------------------------------------------------------------------------------- frequency cap


def in_two_campaigns(workspace: Workspace, lease: Lease, people: int = 1) -> tuple[list[Device], list[Campaign]]:
    """The same people in two campaigns, each at a device of its own."""
    devices = [owned_device(workspace, lease) for _ in range(2)]
    return devices, [
        running_campaign(workspace, [devices[0]], people),
        running_campaign(workspace, [devices[1]], 0),
    ]


def capped(workspace: Workspace, cap: int = 1, days: int = 7) -> None:
    Workspace.objects.filter(pk=workspace.pk).update(frequency_cap=cap, frequency_days=days)


def test_p10_whoever_had_as_many_messages_as_allowed_is_skipped(workspace: Workspace, lease: Lease) -> None:
    capped(workspace)
    devices, campaigns = in_two_campaigns(workspace, lease)
    outbox.settle([sent(claim_one(lease, devices[0]), devices[0])])
    assert held(lease, devices[1]).reason == "idle"
    message = Message.objects.get(campaign=campaigns[1])
    assert (message.state, message.reason) == ("skipped", "frequency_cap")
    assert_counters_are_true(campaigns[1])


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"sent_at": timezone.now() - timedelta(days=8)}, id="long ago"),
        pytest.param({"state": "dead"}, id="it failed"),
        pytest.param({"campaign": None}, id="a test"),
    ],
)
def test_only_what_left_for_campaigns_within_the_days_counts(
    workspace: Workspace, lease: Lease, change: dict[str, Any]
) -> None:
    capped(workspace)
    devices, campaigns = in_two_campaigns(workspace, lease)
    outbox.settle([sent(claim_one(lease, devices[0]), devices[0])])
    Message.objects.filter(campaign=campaigns[0]).update(**change)
    claim_one(lease, devices[1])


def test_p10_a_message_still_in_flight_counts(workspace: Workspace, lease: Lease) -> None:
    capped(workspace, cap=2)
    devices, _ = in_two_campaigns(workspace, lease)
    third = owned_device(workspace, lease)
    running_campaign(workspace, [third], 0)
    claim_one(lease, devices[0])
    claim_one(lease, devices[1])
    assert held(lease, third).reason == "idle"
    assert Message.objects.filter(reason="frequency_cap").count() == 1


def test_p10_two_devices_that_ask_at_once_do_not_both_write_to_a_person(workspace: Workspace, lease: Lease) -> None:
    capped(workspace)
    devices, _ = in_two_campaigns(workspace, lease)
    answers = outbox.claim(lease, [*ask(devices[0]), *ask(devices[1])])
    assert sum(isinstance(answer, Claimed) for answer in answers) == 1


def test_p10_claims_at_the_same_time_keep_to_the_frequency_cap(workspace: Workspace, lease: Lease) -> None:
    capped(workspace)
    devices, _ = in_two_campaigns(workspace, lease, people=25)
    barrier = threading.Barrier(2)

    def work(device: Device) -> None:
        while True:
            barrier.wait()
            [answer] = outbox.claim(lease, ask(device))
            if isinstance(answer, Claimed):
                outbox.settle([sent(answer, device)])
            done[device.pk] = isinstance(answer, Held) and answer.reason == "idle"
            barrier.wait()
            if all(done.values()):
                break
        connection.close()

    done = {device.pk: False for device in devices}
    threads = [threading.Thread(target=work, args=(device,)) for device in devices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for contact in Contact.objects.all():
        assert Message.objects.filter(contact=contact, state="sent").count() == 1
    assert Message.objects.filter(reason="frequency_cap").count() == 25


def test_p10_a_claim_that_began_before_another_ended_learns_of_it(workspace: Workspace, lease: Lease) -> None:
    """Its snapshot knows nothing of the other's message; the person's row, locked afterwards, has another version."""
    capped(workspace)
    devices, _ = in_two_campaigns(workspace, lease)
    ready, go = threading.Event(), threading.Event()
    heard: list[Claimed | Held] = []

    def slow() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock_shared(7)")
        ready.set()
        go.wait()
        heard.extend(outbox.claim(lease, ask(devices[1])))
        connection.close()

    thread = threading.Thread(target=slow)
    thread.start()
    ready.wait()
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        outbox.claim(lease, ask(devices[0]))
        go.set()
        thread.join()
        cursor.execute("COMMIT")
    assert isinstance(heard[0], Held)
    assert heard[0].locked, "the person is locked by the other claim"
    assert held(lease, devices[1]).reason == "idle"
    assert Message.objects.get(state="skipped").reason == "frequency_cap"


def test_without_a_cap_nobodys_row_is_touched(workspace: Workspace, lease: Lease) -> None:
    device = owned_device(workspace, lease)
    running_campaign(workspace, [device], 1)
    claim_one(lease, device)
    assert Contact.objects.get().claimed_at is None


# -------------------------------------------------------------------------------------------------------- variants


def test_each_variant_sends_its_newest_text(workspace: Workspace, lease: Lease) -> None:
    device = owned_device(workspace, lease)
    campaign = running_campaign(workspace, [device], 1)
    content = Content.objects.create(workspace=workspace, text="B, edited")
    Variant.objects.create(workspace=workspace, campaign=campaign, number=2, share=100, content=content)
    Stream.objects.update(variant=2)
    assert claim_one(lease, device).text == "B, edited"
    assert Message.objects.get().content_id == content.pk
