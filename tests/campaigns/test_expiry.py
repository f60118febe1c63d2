"""What could not be sent in time expires, and the figures stay true."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import Workspace
from campaigns.actions.campaigns import finish_campaigns, pause_campaign, resume_campaign
from campaigns.actions.direct import send_test
from campaigns.actions.expiry import expire_overdue
from campaigns.actions.reconcile import reconcile
from campaigns.models import Campaign, CampaignState, Message, Stream
from devices.models import Device
from monitoring.invariants import audit, is_clean
from tests.campaigns.campaign_cases import planned_campaign, varied_campaign
from tests.campaigns.waiting_for_locks import while_held
from tests.factories import make_device, make_workspace

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def workspace() -> Workspace:
    planned_campaign(make_workspace(), people=2)
    return make_workspace()


def let_time_pass(campaign: Campaign) -> None:
    Stream.objects.filter(campaign=campaign).update(expires_at=timezone.now() - timedelta(seconds=1))


def states(campaign: Campaign) -> dict[str, int]:
    totals = Stream.objects.filter(campaign=campaign).totals()
    return {name.removeprefix("n_"): count for name, count in totals.items() if name.startswith("n_") and count}


def test_nothing_expires_before_its_time(workspace: Workspace) -> None:
    campaign = planned_campaign(workspace, expire_after_h=1)
    assert expire_overdue() == 0
    assert states(campaign) == {"pending": 4}


def test_p2_what_is_overdue_expires_with_its_reason_and_the_campaign_completes(workspace: Workspace) -> None:
    campaign = planned_campaign(workspace, expire_after_h=1)
    waiting = Message.objects.filter(campaign=campaign).first()
    assert waiting is not None
    Message.objects.filter(pk=waiting.pk).update(state="waiting")
    Stream.objects.filter(pk=waiting.stream_id).update(pending=1, waiting=1)
    let_time_pass(campaign)
    assert expire_overdue() == 4
    assert expire_overdue() == 0
    assert set(Message.objects.filter(campaign=campaign).values_list("state", "reason")) == {("expired", "too_late")}
    assert states(campaign) == {"expired": 4}
    assert finish_campaigns() == 1
    assert is_clean(audit()), audit()


def test_what_has_begun_to_leave_never_expires(workspace: Workspace) -> None:
    campaign = varied_campaign(workspace)
    before = dict(Message.objects.filter(campaign=campaign).values_list("pk", "state"))
    let_time_pass(campaign)
    assert expire_overdue() == 2
    after = dict(Message.objects.filter(campaign=campaign).values_list("pk", "state"))
    changed = {before[pk]: state for pk, state in after.items() if state != before[pk]}
    assert changed == {"pending": "expired", "waiting": "expired"}
    assert states(campaign)["sending"] == 1


def test_a_campaign_that_was_paused_over_its_time_expires_and_completes_when_it_is_resumed(
    workspace: Workspace,
) -> None:
    campaign = planned_campaign(workspace)
    assert pause_campaign(campaign, None)
    let_time_pass(campaign)
    reconcile()
    assert states(campaign) == {"expired": 4}
    assert resume_campaign(campaign, None)
    reconcile()
    campaign.refresh_from_db()
    assert campaign.state == CampaignState.COMPLETED
    assert is_clean(audit()), audit()


def test_test_messages_and_other_campaigns_are_left_alone(workspace: Workspace) -> None:
    device = make_device(workspace)
    direct = send_test(device, "+60123456789", "Hello", None)
    other, overdue = planned_campaign(workspace, people=1), planned_campaign(workspace, people=1)
    let_time_pass(overdue)
    assert expire_overdue() == 2
    direct.refresh_from_db()
    assert direct.state == "pending"
    assert set(states(other)) == {"pending"}


def test_p3_the_audit_knows_why_a_message_waits_and_finds_the_one_that_does_not_expire(workspace: Workspace) -> None:
    long_ago = timezone.now() - timedelta(minutes=3)
    campaign = planned_campaign(workspace, devices=1)
    Message.objects.filter(campaign=campaign).update(due_at=long_ago)
    Stream.objects.filter(campaign=campaign).update(next_due=long_ago)
    device = Device.objects.filter(campaign_links__campaign=campaign)
    device.update(next_send_at=long_ago, state_at=long_ago)
    stuck, late = (
        "a message is due for 120 s although its device could send it",
        "a message should have expired 120 s ago",
    )

    def found() -> set[str]:
        return {violation["what"] for violation in audit()["violations"]}

    local = timezone.now().astimezone(workspace.zone)
    closed = {"sending_from": (local + timedelta(hours=1)).time(), "sending_to": (local + timedelta(hours=2)).time()}
    opened = {"sending_from": (local - timedelta(hours=2)).time(), "sending_to": (local + timedelta(hours=2)).time()}
    assert found() == {stuck}
    device.update(warm_cap=20, day_used=20)
    assert found() == set()
    device.update(day_used=19, **closed)
    assert found() == set()
    device.update(**opened)
    assert found() == {stuck}
    let_time_pass(campaign)
    assert found() == set()
    Stream.objects.filter(campaign=campaign).update(expires_at=long_ago)
    assert found() == {late}
    assert expire_overdue() == 4
    assert found() == set()


def test_p2_what_comes_back_from_a_device_at_that_moment_expires_too(workspace: Workspace) -> None:
    campaign = planned_campaign(workspace, people=2, devices=1)
    sending = Message.objects.filter(campaign=campaign).order_by("pk")[0]
    Message.objects.filter(pk=sending.pk).update(state="sending")
    Stream.objects.filter(campaign=campaign).update(pending=1, sending=1)
    let_time_pass(campaign)

    def settle() -> None:
        Stream.objects.filter(campaign=campaign).update(sending=0, waiting=1)
        Message.objects.filter(pk=sending.pk).update(state="waiting")

    while_held(settle, expire_overdue)
    assert states(campaign) == {"expired": 2}
    assert is_clean(audit()), audit()


def test_several_reconcilers_at_once_count_every_message_once(workspace: Workspace) -> None:
    campaign = planned_campaign(workspace, people=30, devices=3)
    let_time_pass(campaign)
    expired: list[int] = []
    barrier = threading.Barrier(4)

    def work() -> None:
        barrier.wait()
        expired.append(expire_overdue())
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(expired) == 30
    assert states(campaign) == {"expired": 30}
    assert is_clean(audit()), audit()
