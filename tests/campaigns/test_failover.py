"""What becomes of messages at a device that cannot send: they wait, move, or somebody is asked."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import AuditEntry, Workspace
from campaigns.actions import reconcile as reconciler
from campaigns.actions.campaigns import pause_campaign
from campaigns.actions.failover import fail_over, failover_questions
from campaigns.actions.moving import move_pending
from campaigns.actions.reconcile import reconcile
from campaigns.models import Campaign, Message
from devices.models import Device, DeviceEvent, Host
from monitoring.invariants import audit, is_clean
from tests.campaigns.campaign_cases import planned_campaign
from tests.factories import make_host, make_workspace

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def host() -> Host:
    return make_host(started_at=timezone.now() - timedelta(days=1))


@pytest.fixture
def workspace() -> Workspace:
    planned_campaign(make_workspace(), people=2)
    return make_workspace()


def ago(**time: float) -> Any:
    return timezone.now() - timedelta(**time)


def running(workspace: Workspace, host: Host, **fields: Any) -> tuple[Campaign, list[Device]]:
    """Three devices online, two people each."""
    campaign = planned_campaign(workspace, **{"people": 6, "devices": 3, "failover": "other", **fields})
    devices = Device.objects.filter(campaign_links__campaign=campaign).order_by("pk")
    devices.update(owner=host, state="online", state_at=ago(hours=9))
    return campaign, list(devices)


def set_state(device: Device, state: str, at: Any, **fields: Any) -> None:
    Device.objects.filter(pk=device.pk).update(state=state, state_at=at, **fields)
    DeviceEvent.objects.create(workspace=device.workspace, device=device, kind=state, at=at)


def pending(devices: list[Device]) -> list[int]:
    return [Message.objects.filter(stream__device=device, state="pending").count() for device in devices]


@pytest.mark.parametrize("state", ["unlinked", "banned", "replaced", "outdated", "new"])
def test_what_a_lost_device_has_not_sent_goes_to_the_others_at_once(
    workspace: Workspace, host: Host, state: str
) -> None:
    campaign, devices = running(workspace, host)
    set_state(devices[0], state, timezone.now())
    assert fail_over() == 2
    assert fail_over() == 0
    assert pending(devices) == [0, 3, 3]
    entry = AuditEntry.objects.get(action="campaign.messages_moved")
    assert (entry.target, entry.actor) == (campaign.target, None)
    assert entry.detail["why"]
    assert DeviceEvent.objects.filter(device=devices[0], kind="messages moved").count() == 1
    assert is_clean(audit()), audit()


def test_an_offline_devices_messages_wait_for_five_minutes(workspace: Workspace, host: Host) -> None:
    _, devices = running(workspace, host)
    set_state(devices[0], "offline", ago(seconds=280))
    assert fail_over() == 0
    Device.objects.filter(pk=devices[0].pk).update(state_at=ago(seconds=320))
    assert fail_over() == 2


def test_the_time_it_may_be_away_is_a_setting(workspace: Workspace, host: Host, settings: Any) -> None:
    settings.FAILOVER_AFTER_S = 10
    _, devices = running(workspace, host)
    set_state(devices[0], "offline", ago(seconds=15))
    assert fail_over() == 2


def test_trying_to_connect_again_and_again_is_being_away_all_the_time(workspace: Workspace, host: Host) -> None:
    _, devices = running(workspace, host)
    set_state(devices[0], "online", ago(minutes=30))
    for minutes in range(6, 0, -1):
        set_state(devices[0], "offline", ago(minutes=minutes))
        set_state(devices[0], "connecting", ago(minutes=minutes - 0.5))
    assert fail_over() == 2


def test_a_device_that_was_online_a_moment_ago_is_not_away(workspace: Workspace, host: Host) -> None:
    _, devices = running(workspace, host)
    set_state(devices[0], "offline", ago(minutes=30))
    set_state(devices[0], "online", ago(minutes=2))
    set_state(devices[0], "offline", ago(minutes=1))
    assert fail_over() == 0


def test_after_a_start_every_device_has_its_time_to_connect(workspace: Workspace, host: Host) -> None:
    _, devices = running(workspace, host)
    set_state(devices[0], "offline", ago(days=3))
    Host.objects.update(started_at=ago(minutes=2))
    assert fail_over() == 0


def test_a_device_of_a_host_that_died_long_ago_is_away(workspace: Workspace, host: Host) -> None:
    _, devices = running(workspace, host)
    dead = make_host(lease_until=ago(minutes=10))
    Device.objects.filter(pk=devices[0].pk).update(owner=dead)
    assert fail_over() == 2


def test_without_another_device_online_nothing_moves(workspace: Workspace, host: Host) -> None:
    _, devices = running(workspace, host)
    set_state(devices[0], "unlinked", timezone.now())
    for device in devices[1:]:
        set_state(device, "offline", ago(minutes=1))
    assert fail_over() == 0
    assert pending(devices) == [2, 2, 2]
    assert not AuditEntry.objects.filter(action__endswith="messages_moved").exists()


def test_p10_failover_keeps_every_devices_cap(workspace: Workspace, host: Host) -> None:
    _, devices = running(workspace, host, people=8, device_cap=3)
    set_state(devices[0], "banned", timezone.now())
    before = pending(devices)
    assert fail_over() == 9 - 8
    after = pending(devices)
    assert sum(after) == 8
    assert sorted(after[1:]) == [3, 3]
    assert after[0] == before[0] - 1
    assert is_clean(audit()), audit()


def test_with_the_policy_wait_the_messages_wait(workspace: Workspace, host: Host) -> None:
    campaign, devices = running(workspace, host, failover="wait")
    set_state(devices[0], "unlinked", ago(days=1))
    assert fail_over() == 0
    assert failover_questions(campaign) == []
    assert pending(devices) == [2, 2, 2]


def test_with_the_policy_ask_somebody_is_asked_until_there_is_an_answer(workspace: Workspace, host: Host) -> None:
    campaign, devices = running(workspace, host, failover="ask")
    assert failover_questions(campaign) == []
    since = ago(minutes=20)
    set_state(devices[0], "offline", since)
    assert fail_over() == 0
    [question] = failover_questions(campaign)
    assert (question.device, question.messages, question.since) == (devices[0], 2, since)
    assert question.reason == "Its engine keeps trying to connect."
    assert move_pending(question.device, devices[1:], campaign, workspace.owner) == 2
    assert failover_questions(campaign) == []
    assert is_clean(audit()), audit()


def test_a_paused_campaign_neither_moves_nor_asks(workspace: Workspace, host: Host) -> None:
    for policy in ("other", "ask"):
        campaign, devices = running(workspace, host, failover=policy)
        set_state(devices[0], "unlinked", ago(days=1))
        pause_campaign(campaign, None)
        assert fail_over() == 0
        assert failover_questions(campaign) == []


def test_the_reconciler_fails_over(workspace: Workspace, host: Host) -> None:
    _, devices = running(workspace, host)
    set_state(devices[0], "unlinked", timezone.now())
    reconcile()
    assert pending(devices) == [0, 3, 3]


def test_a_step_of_the_reconciler_that_fails_holds_up_no_other(
    workspace: Workspace, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, devices = running(workspace, host)
    set_state(devices[0], "unlinked", timezone.now())

    def fail() -> None:
        raise ValueError("a spoilt row")

    monkeypatch.setattr(reconciler, "STEPS", (fail, *reconciler.STEPS))
    with pytest.raises(ExceptionGroup, match="could not do everything") as caught:
        reconcile()
    assert [str(error) for error in caught.value.exceptions] == ["a spoilt row"]
    assert pending(devices) == [0, 3, 3]
