"""Writing campaigns: drafts, their edits, and another text for a running one."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta

import pytest
from django.db.models import F
from django.utils import timezone

from accounts.models import AuditEntry, Workspace
from campaigns.actions.campaigns import launch_campaign
from campaigns.actions.drafts import (
    Edit,
    Plan,
    Safety,
    change_safety,
    change_text,
    create_campaign,
    delete_draft,
    edit_draft,
    what_is_missing,
)
from campaigns.actions.planning import plan_chunk
from campaigns.audience import audience_of, size_of
from campaigns.models import Campaign, CampaignState, Message, Stream, Tag
from tests.campaigns.campaign_cases import planned_campaign
from tests.factories import make_campaign, make_contact, make_device, make_media, make_workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def workspace() -> Workspace:
    make_contact(make_workspace(), tags=("vip",))  # there is always a second one
    return make_workspace()


def plan(workspace: Workspace, **chosen: object) -> Plan:
    tag, _ = Tag.objects.get_or_create(workspace=workspace, name="vip")
    values = {
        "name": "Spring",
        "text": "Hi {{ name }}",
        "everyone": False,
        "tags": [tag],
        "devices": [make_device(workspace)],
        "start_at": timezone.now() + timedelta(days=1),
        "min_delay": 7.5,
        "assignment": "round_robin",
        "device_cap": 500,
        "safety": Safety("ask", "resend", 48),
        "media": make_media(workspace),
    }
    return Plan(**{**values, **chosen})  # type: ignore[arg-type]


def as_plan(campaign: Campaign) -> dict[str, object]:
    return {
        "name": campaign.name,
        "text": campaign.content.text,
        "media": campaign.content.media,
        "everyone": campaign.everyone,
        "tags": [link.tag for link in campaign.tag_links.all()],
        "devices": [link.device for link in campaign.device_links.all()],
        "start_at": campaign.start_at,
        "min_delay": campaign.min_delay,
        "assignment": campaign.assignment,
        "device_cap": campaign.device_cap,
        "safety": Safety(campaign.failover, campaign.uncertain_policy, campaign.expire_after_h),
    }


def test_a_created_campaign_is_a_draft_with_everything_that_was_chosen(workspace: Workspace) -> None:
    wanted = plan(workspace)
    campaign = create_campaign(workspace, workspace.owner, wanted)
    campaign.refresh_from_db()
    assert campaign.state == CampaignState.DRAFT
    assert as_plan(campaign) == {name: getattr(wanted, name) for name in as_plan(campaign)}
    assert AuditEntry.objects.get(target=campaign.target).action == "campaign.created"


def test_an_edit_changes_one_thing_and_keeps_every_other(workspace: Workspace) -> None:
    campaign = create_campaign(workspace, workspace.owner, plan(workspace))
    campaign = Campaign.objects.get(pk=campaign.pk)
    before = as_plan(campaign)
    others = Campaign.objects.filter(pk=campaign.pk).values().get()
    assert edit_draft(campaign, workspace.owner, {"name": "Summer"}) == Edit.SAVED
    campaign = Campaign.objects.get(pk=campaign.pk)
    assert as_plan(campaign) == {**before, "name": "Summer"}
    edited = {"name": "Summer", "version": 1, "edited_at": campaign.edited_at}
    assert Campaign.objects.filter(pk=campaign.pk).values().get() == {**others, **edited}


def test_only_a_draft_can_be_edited_or_deleted(workspace: Workspace) -> None:
    campaign = create_campaign(workspace, workspace.owner, plan(workspace))
    stale = Campaign.objects.get(pk=campaign.pk)
    assert launch_campaign(campaign, workspace.owner)
    assert edit_draft(stale, workspace.owner, {"name": "Too late"}) == Edit.CLOSED
    assert not delete_draft(stale, workspace.owner)
    assert Campaign.objects.get(pk=campaign.pk).name == "Spring"


def test_a_deleted_draft_is_gone_and_leaves_a_line_in_the_audit_ledger(workspace: Workspace) -> None:
    campaign = create_campaign(workspace, workspace.owner, plan(workspace))
    assert delete_draft(campaign, workspace.owner)
    assert not Campaign.objects.filter(uuid=campaign.uuid).exists()
    assert AuditEntry.objects.filter(target=campaign.target, action="campaign.deleted").exists()
    assert not delete_draft(campaign, workspace.owner)


def test_a_new_text_is_what_unsent_people_get_and_only_they(workspace: Workspace) -> None:
    campaign = planned_campaign(workspace, people=4)
    first = campaign.content
    gone = Message.objects.filter(campaign=campaign).order_by("pk").first()
    assert gone is not None
    Message.objects.filter(pk=gone.pk).update(state="sent")
    Stream.objects.filter(pk=gone.stream_id).update(pending=F("pending") - 1, sent=F("sent") + 1)
    assert change_text(campaign, "New {{ name }}", workspace.owner)
    assert campaign.content.text == "New {{ name }}"
    gone.refresh_from_db()
    assert gone.content == first
    assert AuditEntry.objects.get(action="campaign.text_changed").detail == {"people": 3}


def test_the_same_text_again_and_a_text_for_nobody_change_nothing(workspace: Workspace) -> None:
    campaign = planned_campaign(workspace)
    assert not change_text(campaign, campaign.content.text, workspace.owner)
    Campaign.objects.filter(pk=campaign.pk).update(state=CampaignState.COMPLETED)
    assert not change_text(campaign, "New", workspace.owner)
    assert not AuditEntry.objects.filter(action="campaign.text_changed").exists()


def test_a_plan_kept_as_it_was_is_complete(workspace: Workspace) -> None:
    campaign = create_campaign(workspace, workspace.owner, plan(workspace))
    assert set(as_plan(campaign)) == {field.name for field in fields(Plan)}
    before = Campaign.objects.filter(pk=campaign.pk).values().get()
    same = Plan(**as_plan(campaign)).changes()  # type: ignore[arg-type]
    assert edit_draft(campaign, workspace.owner, same) == Edit.SAVED
    edited = {"version": 1, "edited_at": campaign.edited_at}
    assert Campaign.objects.filter(pk=campaign.pk).values().get() == {**before, **edited}


def test_a_new_end_of_time_reaches_the_streams_of_a_running_campaign(workspace: Workspace) -> None:
    campaign = planned_campaign(workspace)
    assert campaign.launched_at is not None
    assert set(Stream.objects.values_list("expires_at", flat=True)) == {None}
    assert change_safety(campaign, Safety("other", "assume_sent", 6), workspace.owner)
    assert (campaign.failover, campaign.uncertain_policy, campaign.expire_after_h) == ("other", "assume_sent", 6)
    end = campaign.launched_at + timedelta(hours=6)
    assert set(Stream.objects.values_list("expires_at", flat=True)) == {end}
    assert change_safety(campaign, Safety("other", "assume_sent", None), workspace.owner)
    assert set(Stream.objects.values_list("expires_at", flat=True)) == {None}
    assert AuditEntry.objects.filter(action="campaign.safety_changed").count() == 2


def test_safety_that_is_the_same_or_comes_too_late_changes_nothing(workspace: Workspace) -> None:
    campaign = planned_campaign(workspace)
    assert not change_safety(campaign, Safety(), workspace.owner)
    Campaign.objects.filter(pk=campaign.pk).update(state=CampaignState.COMPLETED)
    assert not change_safety(campaign, Safety("ask"), workspace.owner)
    assert not AuditEntry.objects.filter(action="campaign.safety_changed").exists()


def test_the_audience_counted_is_the_audience_planned(workspace: Workspace) -> None:
    both = make_contact(workspace, tags=("vip", "news"))
    vip = make_contact(workspace, tags=("vip",))
    out = make_contact(workspace, tags=("news",), opted_out_at=timezone.now())
    make_contact(workspace, tags=("vip2",))
    make_contact(workspace)
    tags = list(Tag.objects.filter(workspace=workspace, name__in=["vip", "news"]))
    campaign = create_campaign(workspace, workspace.owner, plan(workspace, tags=tags, start_at=None))
    people = audience_of(campaign)
    assert set(people) == {both, vip, out}
    assert (size_of(people).people, size_of(people).opted_out, size_of(people).reachable) == (3, 1, 2)
    assert launch_campaign(campaign, workspace.owner)
    assert plan_chunk(campaign.pk)
    assert set(Message.objects.filter(campaign=campaign).values_list("contact_id", flat=True)) == {
        both.pk,
        vip.pk,
        out.pk,
    }


def test_everyone_is_everyone_of_this_workspace(workspace: Workspace) -> None:
    mine = make_contact(workspace)
    assert list(audience_of(make_campaign(workspace, everyone=True))) == [mine]
    assert list(audience_of(make_campaign(workspace, everyone=False))) == []


def test_what_is_missing_says_each_thing_once_and_nothing_when_ready(workspace: Workspace) -> None:
    campaign = make_campaign(workspace, everyone=True, start_at=timezone.now() - timedelta(minutes=1))
    assert what_is_missing(campaign) == [
        "Nobody is in the audience.",
        "No linked device is chosen.",
        "The chosen time has passed.",
    ]
    make_contact(workspace)
    ready = make_campaign(workspace, devices=(make_device(workspace),))
    assert what_is_missing(ready) == []
    assert not Stream.objects.filter(campaign=ready).exists()
