"""Moving what a device has not begun to send: everything moves once, the figures stay true, and caps hold."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import AuditEntry, Workspace
from accounts.tenancy import tenant_scope
from campaigns.actions.campaigns import cancel_campaign, launch_campaign, pause_campaign
from campaigns.actions.contact_moves import move_contacts
from campaigns.actions.direct import send_test
from campaigns.actions.moving import move_pending
from campaigns.actions.planning import plan_chunk
from campaigns.models import NOBODYS, Attempt, Campaign, Contact, Message, Stream, Variant
from devices.models import Device, DeviceEvent
from monitoring.invariants import audit, is_clean
from tests.campaigns.campaign_cases import planned_campaign, varied_campaign
from tests.campaigns.waiting_for_locks import while_held
from tests.factories import make_campaign, make_contact, make_device, make_workspace

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def workspace() -> Workspace:
    planned_campaign(make_workspace(), people=2)
    return make_workspace()


def devices_of(campaign: Campaign) -> list[Device]:
    return [link.device for link in campaign.device_links.order_by("device_id")]


def at(device: Device, *states: str) -> int:
    messages = Message.objects.filter(stream__device=device, campaign__isnull=False)
    return messages.filter(state__in=states or ("pending",)).count()


def at_once(*works: Callable[[], object]) -> None:
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> None:
        barrier.wait()
        work()
        connection.close()

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_what_a_device_has_not_sent_is_dealt_out_evenly(workspace: Workspace) -> None:
    campaign = planned_campaign(workspace, people=12, devices=3)
    source, *others = devices_of(campaign)
    assert move_pending(source, others, campaign, workspace.owner) == 4
    assert [at(device) for device in (source, *others)] == [0, 6, 6]
    assert move_pending(source, others, campaign, workspace.owner) == 0
    assert is_clean(audit()), audit()
    entry = AuditEntry.objects.get(action="campaign.messages_moved")
    assert (entry.target, entry.actor, entry.detail["people"]) == (campaign.target, workspace.owner, 4)
    assert AuditEntry.objects.filter(action="device.messages_moved").count() == 1
    assert DeviceEvent.objects.get(device=source, kind="messages moved").detail.startswith("4 to ")


def test_a_device_that_is_new_to_the_campaign_gets_a_stream_like_the_others(workspace: Workspace) -> None:
    campaign = planned_campaign(workspace, devices=1, min_delay=7, expire_after_h=5)
    [source] = devices_of(campaign)
    helper = make_device(workspace)
    assert move_pending(source, [helper], campaign, None) == 4
    former, new = Stream.objects.filter(campaign=campaign).order_by("pk")
    for field in ("lane", "running", "min_delay", "expires_at"):
        assert getattr(new, field) == getattr(former, field), field
    assert (new.pending, former.pending, former.next_due) == (4, 0, None)
    assert campaign.device_links.filter(device=helper).exists()
    assert is_clean(audit()), audit()


def test_a_paused_campaign_moves_and_stays_paused(workspace: Workspace) -> None:
    campaign = planned_campaign(workspace, devices=1)
    pause_campaign(campaign, None)
    helper = make_device(workspace)
    assert move_pending(devices_of(campaign)[0], [helper], campaign, None) == 4
    assert not Stream.objects.filter(campaign=campaign, running=True).exists()
    assert is_clean(audit()), audit()


def test_only_what_has_not_begun_to_leave_moves(workspace: Workspace) -> None:
    campaign = varied_campaign(workspace, rounds=2)
    source, other = devices_of(campaign)
    before = dict(Message.objects.filter(stream__device=source).values_list("pk", "state"))
    claimable = [pk for pk, state in before.items() if state in ("pending", "waiting")]
    assert move_pending(source, [other], campaign, None) == len(claimable) > 0
    left = dict(Message.objects.filter(stream__device=source).values_list("pk", "state"))
    assert left == {pk: state for pk, state in before.items() if pk not in claimable}
    for stream in Stream.objects.filter(campaign=campaign):
        rows = Message.objects.filter(stream=stream)
        for state in ("pending", "waiting", "sending", "uncertain", "sent"):
            assert getattr(stream, state) == rows.filter(state=state).count(), state


def test_an_attempt_stays_with_the_device_that_made_it(workspace: Workspace) -> None:
    campaign = planned_campaign(workspace, people=1, devices=2)
    message = Message.objects.get(campaign=campaign)
    source = message.stream.device
    [other] = [device for device in devices_of(campaign) if device != source]
    Device.objects.filter(pk=source.pk).update(epoch=9)
    Device.objects.filter(pk=other.pk).update(epoch=2)
    tag, began, later = secrets.token_bytes(32), timezone.now(), timezone.now() + timedelta(hours=1)
    tried = {"attempts": 1, "tries": 1, "tag": tag, "epoch": 9, "attempted_at": began, "due_at": later}
    Message.objects.filter(pk=message.pk).update(state="waiting", reason="not connected", **tried)
    Stream.objects.filter(pk=message.stream_id).update(pending=0, waiting=1)
    assert move_pending(source, [other], campaign, None) == 1
    message.refresh_from_db()
    assert (message.stream.device, message.state, message.due_at) == (other, "waiting", later)
    assert (message.attempts, message.tries) == (1, 1)
    assert (message.tag, message.epoch, message.attempted_at) == (None, None, None)
    attempt = Attempt.objects.get(message=message)
    assert (attempt.device_id, attempt.number, attempt.epoch) == (source.pk, 1, 9)
    assert (bytes(attempt.tag), attempt.started_at, attempt.outcome) == (tag, began, "not connected")
    # the other device's next attempt has a lower epoch, which is its own
    next_try = {"attempts": 2, "tag": secrets.token_bytes(32), "epoch": 2, "attempted_at": began}
    Message.objects.filter(pk=message.pk).update(**next_try)
    assert is_clean(audit()), audit()


def test_all_of_a_devices_campaigns_move_but_not_its_test_messages(workspace: Workspace) -> None:
    source, other = make_device(workspace), make_device(workspace)
    for _ in range(3):
        make_contact(workspace)
    campaigns = [make_campaign(workspace, devices=(source,)) for _ in range(3)]
    for campaign in campaigns:
        launch_campaign(campaign, None)
        plan_chunk(campaign.pk)
    cancel_campaign(campaigns[2], None)
    direct = send_test(source, "+60123456789", "Hello", None)
    assert move_pending(source, [other], None, None) == 6
    direct.refresh_from_db()
    assert direct.stream.device == source
    assert at(source) == 0
    assert at(source, "cancelled") == 3
    assert is_clean(audit()), audit()


def test_p10_no_device_gets_more_people_than_its_cap(workspace: Workspace) -> None:
    campaign = planned_campaign(workspace, people=9, devices=3, device_cap=4)
    source, *others = devices_of(campaign)
    assert move_pending(source, others, campaign, None) == 2
    assert [at(device) for device in (source, *others)] == [1, 4, 4]
    assert is_clean(audit()), audit()


def test_people_stay_with_their_device_when_only_messages_move(workspace: Workspace) -> None:
    campaign = planned_campaign(workspace, people=4, devices=2)
    source, other = devices_of(campaign)
    move_pending(source, [other], campaign, None)
    assert Contact.objects.for_workspace(workspace).filter(device=source).count() == 2


def test_to_nobody_or_to_itself_nothing_moves(workspace: Workspace) -> None:
    campaign = planned_campaign(workspace, devices=1)
    [source] = devices_of(campaign)
    assert move_pending(source, [], campaign, None) == 0
    assert move_pending(source, [source], campaign, None) == 0
    assert at(source) == 4


def test_p18_a_page_moves_within_its_own_workspace_only(workspace: Workspace) -> None:
    campaign = planned_campaign(workspace, devices=2)
    source, other = devices_of(campaign)
    with tenant_scope(make_workspace()):
        assert move_pending(source, [other], None, None) == 0
    with tenant_scope(workspace):
        assert move_pending(source, [other], None, workspace.owner) == 2
    assert is_clean(audit()), audit()


def test_p9_a_campaign_paused_at_that_moment_stays_paused_at_the_other_device(workspace: Workspace) -> None:
    campaign = planned_campaign(workspace, devices=1)
    [source] = devices_of(campaign)
    helper = make_device(workspace)
    while_held(lambda: pause_campaign(campaign, None), lambda: move_pending(source, [helper], campaign, None))
    assert at(helper) == 4
    assert not Stream.objects.filter(campaign=campaign, running=True).exists()
    assert is_clean(audit()), audit()


def test_p2_what_a_device_has_just_begun_to_send_stays_with_it(workspace: Workspace) -> None:
    campaign = planned_campaign(workspace, people=2, devices=1)
    [source] = devices_of(campaign)
    helper = make_device(workspace)
    first = Message.objects.filter(campaign=campaign).order_by("pk")[0]
    tag, now = secrets.token_bytes(32), timezone.now()

    def claim() -> None:
        Device.objects.filter(pk=source.pk).update(epoch=1, open_message=first.pk, open_tag=tag, open_at=now)
        Stream.objects.filter(campaign=campaign).update(pending=1, sending=1)
        tried = {"attempts": 1, "tag": tag, "epoch": 1, "attempted_at": now}
        Message.objects.filter(pk=first.pk).update(state="sending", **tried)

    while_held(claim, lambda: move_pending(source, [helper], campaign, None))
    assert (at(source, "sending"), at(helper)) == (1, 1)
    assert is_clean(audit()), audit()


def test_p2_moving_from_both_sides_while_planning_and_pausing_loses_nothing(workspace: Workspace) -> None:
    for _ in range(60):
        make_contact(workspace)
    one, two, three = (make_device(workspace) for _ in range(3))
    campaign = make_campaign(workspace, devices=(one, two, three))
    launch_campaign(campaign, None)

    def plan() -> None:
        while not plan_chunk(campaign.pk, size=5):
            pass

    def shift(source: Device, targets: list[Device]) -> Callable[[], None]:
        def move() -> None:
            for number in range(6):
                move_pending(source, targets, campaign, None)
                if number % 2:
                    move_contacts(source, targets[0], None)

        return move

    at_once(plan, shift(one, [two]), shift(two, [one, three]), shift(three, [one]))
    campaign.refresh_from_db()
    assert campaign.recipients == Message.objects.filter(campaign=campaign, state="pending").count() == 60
    assert is_clean(audit()), audit()


def test_everybody_keeps_their_variant_and_the_cap_counts_all_of_a_device(workspace: Workspace) -> None:
    for _ in range(20):
        make_contact(workspace)
    source, helper = make_device(workspace), make_device(workspace)
    campaign = make_campaign(workspace, devices=(source,), device_cap=18)
    for number, share in ((1, 60), (2, 40)):
        Variant.objects.create(
            workspace=workspace, campaign=campaign, number=number, share=share, content=campaign.content
        )
    assert launch_campaign(campaign, None)
    while not plan_chunk(campaign.pk):
        pass
    variants_of = dict(Message.objects.filter(campaign=campaign).values_list("pk", "stream__variant"))
    Campaign.objects.filter(pk=campaign.pk).update(device_cap=15)
    assert set(variants_of.values()) == {1, 2, NOBODYS}
    assert move_pending(source, [helper], campaign, None) == 15
    assert (at(source), at(helper)) == (3, 15)
    assert dict(Message.objects.filter(campaign=campaign).values_list("pk", "stream__variant")) == variants_of
    for stream in campaign.streams.all():
        assert stream.pending == stream.messages.filter(state="pending").count()
    assert audit()["drift"] == 0
