"""Starting, pausing, resuming, cancelling and finishing: guarded moves, and figures that stay true."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import AuditEntry, Workspace
from campaigns.actions import campaigns as actions
from campaigns.actions.direct import send_test
from campaigns.actions.planning import plan_chunk, plan_whole
from campaigns.actions.reconcile import reconcile, unplanned
from campaigns.models import Campaign, CampaignState, CampaignTag, Lane, Message, Stream, Tag
from devices.models import Host
from monitoring.invariants import audit, is_clean
from tests.factories import make_campaign, make_contact, make_device, make_host, make_workspace

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def workspace() -> Workspace:
    other = make_workspace()
    make_contact(other, tags=("vip",))
    return make_workspace()


def ready(workspace: Workspace, people: int = 6, devices: int = 2, **fields: Any) -> Campaign:
    for number in range(people):
        make_contact(workspace, tags=("vip",) if number % 2 else ())
    return make_campaign(workspace, devices=tuple(make_device(workspace) for _ in range(devices)), **fields)


def launched(workspace: Workspace, **fields: Any) -> Campaign:
    campaign = ready(workspace, **fields)
    assert actions.launch_campaign(campaign, None)
    plan_whole(campaign.pk)
    campaign.refresh_from_db()
    return campaign


def assert_accounted(campaign: Campaign) -> None:
    result = audit()
    assert is_clean(result), result
    [found] = [entry for entry in result["campaigns"] if entry["campaign"] == str(campaign.uuid)]
    assert found["recipients"] == campaign.recipients == Message.objects.filter(campaign=campaign).count()


def test_a_launch_is_audited_and_planned_to_everybody_once(workspace: Workspace) -> None:
    campaign = launched(workspace)
    assert (campaign.state, campaign.recipients) == (CampaignState.RUNNING, 6)
    assert AuditEntry.objects.filter(action="campaign.started", target=campaign.target).count() == 1
    assert set(Message.objects.values_list("workspace_id", flat=True)) == {workspace.pk}
    assert_accounted(campaign)


def test_the_audience_is_who_has_any_of_the_tags(workspace: Workspace) -> None:
    campaign = ready(workspace, everyone=False)
    for name in ("vip", "vi"):  # tags match exactly
        tag, _ = Tag.objects.get_or_create(workspace=workspace, name=name)
        CampaignTag.objects.create(workspace=workspace, campaign=campaign, tag=tag)
    make_contact(workspace, tags=("vip", "vi"))
    make_contact(workspace, tags=("vip2",))
    actions.launch_campaign(campaign, None)
    plan_whole(campaign.pk)
    assert Message.objects.filter(campaign=campaign).count() == 4


def test_an_audience_of_nobody_completes(workspace: Workspace) -> None:
    campaign = launched(workspace, people=0)
    assert (campaign.state, campaign.recipients) == (CampaignState.COMPLETED, 0)


def test_p14_launching_twice_starts_once(workspace: Workspace) -> None:
    campaign = ready(workspace)
    stale = Campaign.objects.get(pk=campaign.pk)
    assert actions.launch_campaign(campaign, None)
    assert not actions.launch_campaign(stale, None)
    assert AuditEntry.objects.filter(action="campaign.started").count() == 1


def test_p14_many_clocks_start_a_due_campaign_once(workspace: Workspace) -> None:
    campaign = ready(workspace, start_at=timezone.now() + timedelta(hours=1))
    assert actions.launch_campaign(campaign, None)
    assert campaign.state == CampaignState.SCHEDULED
    assert actions.start_due_campaigns() == 0
    Campaign.objects.update(start_at=timezone.now() - timedelta(seconds=1))
    started: list[int] = []
    barrier = threading.Barrier(4)

    def clock() -> None:
        barrier.wait()
        started.append(actions.start_due_campaigns())
        connection.close()

    threads = [threading.Thread(target=clock) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(started) == 1


def test_ten_planners_at_once_make_one_message_a_person(workspace: Workspace) -> None:
    campaign = ready(workspace, people=40)
    actions.launch_campaign(campaign, None)

    def planner() -> None:
        while not plan_chunk(campaign.pk, size=3):
            pass
        connection.close()

    threads = [threading.Thread(target=planner) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    campaign.refresh_from_db()
    assert campaign.recipients == 40
    assert_accounted(campaign)


def test_a_plan_that_was_broken_off_goes_on_where_it_was(workspace: Workspace) -> None:
    campaign = ready(workspace, people=10)
    actions.launch_campaign(campaign, None)
    assert not plan_chunk(campaign.pk, size=4)
    assert unplanned() == [campaign.pk]
    make_contact(workspace)  # too late for this campaign
    plan_whole(campaign.pk)
    campaign.refresh_from_db()
    assert campaign.recipients == 10
    assert unplanned() == []


def test_pause_and_resume_flip_the_streams_and_nothing_else(workspace: Workspace) -> None:
    campaign = launched(workspace)
    assert actions.pause_campaign(campaign, None)
    assert not Stream.objects.filter(campaign=campaign, running=True).exists()
    assert not actions.pause_campaign(campaign, None)
    assert_accounted(campaign)
    assert actions.resume_campaign(campaign, None)
    assert Stream.objects.filter(campaign=campaign, running=True).count() == 2
    assert not actions.resume_campaign(campaign, None)
    assert_accounted(campaign)


def test_resuming_does_not_start_what_was_only_scheduled(workspace: Workspace) -> None:
    campaign = ready(workspace, start_at=timezone.now() + timedelta(hours=1))
    actions.launch_campaign(campaign, None)
    assert not actions.resume_campaign(campaign, None)
    campaign.refresh_from_db()
    assert campaign.state == CampaignState.SCHEDULED


def test_cancelling_shows_what_remained_as_cancelled(workspace: Workspace) -> None:
    campaign = launched(workspace)
    assert actions.cancel_campaign(campaign, None)
    assert set(Message.objects.values_list("state", "reason")) == {("cancelled", "campaign_cancelled")}
    assert Stream.objects.filter(campaign=campaign).totals()["skipped"] == 6
    assert not actions.resume_campaign(campaign, None)
    assert_accounted(campaign)


def test_cancelling_while_planning_ends_the_plan(workspace: Workspace) -> None:
    campaign = ready(workspace, people=10)
    actions.launch_campaign(campaign, None)
    plan_chunk(campaign.pk, size=4)
    actions.cancel_campaign(campaign, None)
    plan_whole(campaign.pk)
    campaign.refresh_from_db()
    assert campaign.recipients == 4
    assert_accounted(campaign)


def test_a_paused_campaign_is_planned_but_does_not_run(workspace: Workspace) -> None:
    campaign = ready(workspace)
    actions.launch_campaign(campaign, None)
    actions.pause_campaign(campaign, None)
    plan_whole(campaign.pk)
    assert not Stream.objects.filter(campaign=campaign, running=True).exists()
    assert actions.finish_campaigns() == 0


def test_a_campaign_completes_when_nothing_remains(workspace: Workspace) -> None:
    campaign = launched(workspace)
    assert actions.finish_campaigns() == 0
    Message.objects.update(state="dead", reason="refused 463")
    for stream in Stream.objects.all():
        stream.dead, stream.pending = stream.pending, 0
        stream.save()
    assert actions.finish_campaigns([campaign.pk]) == 1
    campaign.refresh_from_db()
    assert campaign.state == CampaignState.COMPLETED
    assert campaign.finished_at is not None
    assert actions.finish_campaigns() == 0
    assert_accounted(campaign)


def test_of_campaigns_looked_at_together_only_those_that_are_over_complete(workspace: Workspace) -> None:
    over, also_over, busy = (launched(workspace) for _ in range(3))
    Message.objects.exclude(campaign=busy).update(state="dead", reason="refused 463")
    for stream in Stream.objects.exclude(campaign=busy):
        stream.dead, stream.pending = stream.pending, 0
        stream.save()
    assert actions._finish([over, also_over, busy]) == 2, "the busy one came back between the look and the lock"
    assert set(Stream.objects.filter(running=True).values_list("campaign", flat=True)) == {busy.pk}
    busy.refresh_from_db()
    assert busy.state == CampaignState.RUNNING


def test_the_reconciler_makes_up_for_every_lost_job(workspace: Workspace) -> None:
    campaign = ready(workspace, start_at=timezone.now() + timedelta(hours=1))
    actions.launch_campaign(campaign, None)
    Campaign.objects.update(start_at=timezone.now() - timedelta(seconds=1))
    reconcile()
    campaign.refresh_from_db()
    assert campaign.state == CampaignState.RUNNING
    reconcile()


def test_a_test_message_goes_ahead_of_campaigns(workspace: Workspace) -> None:
    device = make_device(workspace)
    message = send_test(device, "+60123456789", "Hello", None)
    stream = message.stream
    assert (stream.lane, stream.running, stream.pending) == (Lane.DIRECT, True, 1)
    send_test(device, "+60123456789", "Hello again", None)
    stream.refresh_from_db()
    assert (stream.pending, stream.next_due) == (2, message.due_at)
    assert is_clean(audit())


def test_the_audit_finds_what_must_never_be(workspace: Workspace) -> None:
    campaign = launched(workspace)
    Stream.objects.filter(campaign=campaign).update(pending=1)
    message = Message.objects.filter(campaign=campaign).first()
    assert message is not None
    Message.objects.filter(pk=message.pk).update(state="sending")
    Campaign.objects.update(recipients=99)
    found = audit()
    assert not is_clean(found)
    assert found["drift"] == 93
    what = {violation["what"] for violation in found["violations"]}
    assert "a stream's counter differs from its rows" in what
    assert "a message is being sent that no device has open" in what
    assert "a message left without a journaled attempt" in what


def test_p3_the_audit_finds_an_attempt_that_nobody_will_ever_settle(workspace: Workspace) -> None:
    long_ago = timezone.now() - timedelta(minutes=3)
    make_device(workspace, owner=make_host(), open_message=1, open_at=long_ago)
    what = {violation["what"] for violation in audit()["violations"]}
    assert "an attempt is open for longer than any answer takes, at a living host" in what
    Host.objects.update(lease_until=long_ago)  # then a takeover is due, and settles it
    what = {violation["what"] for violation in audit()["violations"]}
    assert "an attempt is open for longer than any answer takes, at a living host" not in what


def test_a_workspace_can_be_deleted_with_everything_in_it(workspace: Workspace) -> None:
    launched(workspace)
    workspace.delete()
    assert not Message.objects.filter(workspace_id=workspace.pk).exists()
    assert is_clean(audit())
