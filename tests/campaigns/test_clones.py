"""Copies of campaigns, second tries with some of their recipients, and the archive."""

from __future__ import annotations

from datetime import time, timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry, Workspace
from campaigns.actions.clones import KEPT, archive_campaign, clone, unarchive_campaign
from campaigns.models import Campaign, CampaignSegment, CampaignState, CampaignTag, Segment, Tag, Variant
from tests.campaigns.campaign_cases import at, planned_campaign, words
from tests.factories import make_campaign, make_device

pytestmark = pytest.mark.django_db

# Of the campaign's own life, never copied.
OWN = {
    "id", "workspace", "uuid", "name", "state", "canary_passed_at", "paused_why", "archived_at", "start_at",
    "launched_at", "finished_at", "planned_at", "plan_cursor", "plan_last", "recipients", "created_by", "created_at",
    "awaiting_word", "resumed_tried", "resumed_failed", "resumed_sent", "resumed_opted_out",
    "version", "edited_by", "edited_at", "others_version", "steps_done",
}  # fmt: skip


def ended(workspace: Workspace) -> Campaign:
    """Completed, with every setting unlike the usual one and every kind of link."""
    earlier = make_campaign(workspace)
    campaign = make_campaign(
        workspace,
        name="x" * 120,
        devices=(make_device(workspace), make_device(workspace)),
        state=CampaignState.COMPLETED,
        everyone=False,
        retarget_of=earlier,
        retarget="failed",
        not_contacted_days=30,
        hold_out=10,
        min_delay=3.5,
        assignment="round_robin",
        device_cap=100,
        failover="ask",
        uncertain_policy="resend",
        leave_out_absent=True,
        expire_after_h=48,
        local_from=time(9),
        local_to=time(18),
        stagger_s=60,
        canary=50,
        stop_failures=5,
        stop_opt_outs=2,
        start_at=timezone.now() - timedelta(days=3),
        launched_at=timezone.now() - timedelta(days=3),
        finished_at=timezone.now(),
        archived_at=timezone.now(),
        recipients=7,
    )
    own = {"workspace": workspace, "campaign": campaign}
    for excluded in (False, True):
        tag = Tag.objects.create(workspace=workspace, name=f"tag {excluded}")
        CampaignTag.objects.create(tag=tag, excluded=excluded, **own)
        segment = Segment.objects.create(workspace=workspace, name=f"segment {excluded}")
        CampaignSegment.objects.create(segment=segment, excluded=excluded, **own)
    for number in (1, 2):
        Variant.objects.create(number=number, content=campaign.content, share=50, **own)
    return campaign


def links(campaign: Campaign) -> dict[str, list[tuple[object, ...]]]:
    return {
        "tags": sorted(campaign.tag_links.values_list("tag_id", "excluded")),
        "segments": sorted(campaign.segment_links.values_list("segment_id", "excluded")),
        "devices": sorted(campaign.device_links.values_list("device_id")),
        "variants": sorted(campaign.variants.values_list("number", "content_id", "share")),
    }


def test_a_copy_is_a_draft_with_all_settings_and_nothing_of_the_life_before(workspace: Workspace) -> None:
    campaign = ended(workspace)
    copy = clone(campaign, workspace.owner)
    copy.refresh_from_db()
    assert [getattr(copy, name) for name in KEPT] == [getattr(campaign, name) for name in KEPT]
    assert links(copy) == links(campaign)
    assert (copy.state, copy.start_at, copy.launched_at, copy.archived_at, copy.recipients) == (
        CampaignState.DRAFT, None, None, None, 0,
    )  # fmt: skip
    assert copy.name == "x" * 113 + " (copy)"
    entry = AuditEntry.objects.get(action="campaign.cloned")
    assert (entry.actor, entry.target, entry.detail["of"]) == (workspace.owner, copy.target, campaign.target)


def test_every_setting_of_a_campaign_is_copied_or_known_not_to_be() -> None:
    fields = {field.name for field in Campaign._meta.concrete_fields}
    assert {name.removesuffix("_id") for name in KEPT} | OWN == fields


def test_a_start_that_still_lies_ahead_is_copied(workspace: Workspace) -> None:
    ahead = timezone.now() + timedelta(days=2)
    assert clone(make_campaign(workspace, start_at=ahead), workspace.owner).start_at == ahead


def test_a_second_try_has_the_recipients_for_its_audience(workspace: Workspace) -> None:
    campaign = ended(workspace)
    copy = clone(campaign, workspace.owner, "not_replied")
    copy.refresh_from_db()
    assert (copy.retarget_of, copy.retarget, copy.everyone) == (campaign, "not_replied", False)
    assert (copy.not_contacted_days, copy.hold_out) == (None, 0)
    assert [excluded for _, excluded in links(copy)["tags"] + links(copy)["segments"]] == [True, True]
    assert links(copy)["devices"] == links(campaign)["devices"]
    with pytest.raises(ValueError, match="nobody"):
        clone(campaign, workspace.owner, "nobody")


def test_the_button_leads_to_the_copy_by_htmx_and_without(workspace: Workspace, as_alice: Client) -> None:
    campaign = planned_campaign(workspace, name="Spring")
    assert "campaign-clone" in as_alice.get(at("campaign", campaign)).content.decode()
    for headers, header in (({}, "Location"), ({"HX-Request": "true"}, "HX-Redirect")):
        answer = as_alice.post(at("clone", campaign), {"retarget": "failed"}, headers=headers)
        copy = Campaign.objects.latest("pk")
        assert answer.headers[header] == at("campaign", copy)
        assert "This is a copy of “Spring” for those of whom this is true: it failed" in words(
            as_alice.get(at("campaign", copy))
        ).replace("&quot;", '"')
    count = Campaign.objects.count()
    assert as_alice.post(at("clone", campaign), {"retarget": "nobody"}).status_code == 302
    assert Campaign.objects.count() == count


def test_only_what_rests_is_archived_and_comes_back(workspace: Workspace) -> None:
    for state in CampaignState.values:
        campaign = make_campaign(workspace, state=state)
        rests = state in ("draft", "completed", "cancelled")
        assert archive_campaign(campaign, workspace.owner) is rests
        assert not archive_campaign(campaign, workspace.owner)
        assert unarchive_campaign(campaign, workspace.owner) is rests
        campaign.refresh_from_db()
        assert campaign.archived_at is None
    assert AuditEntry.objects.filter(action="campaign.archived").count() == 3


def test_archiving_says_what_it_did_or_why_not(workspace: Workspace, as_alice: Client) -> None:
    over = make_campaign(workspace, state=CampaignState.COMPLETED)
    assert "It is archived" in words(as_alice.post(at("archive", over), follow=True))
    assert "It is back in the list" in words(as_alice.post(at("unarchive", over), follow=True))
    running = planned_campaign(workspace)
    assert "Only drafts and campaigns that have ended" in words(as_alice.post(at("archive", running), follow=True))


def test_strangers_and_viewers_copy_and_archive_nothing(
    workspace: Workspace, as_bob: Client, as_charlie: Client
) -> None:
    campaign = make_campaign(workspace)
    for name in ("clone", "archive", "unarchive"):
        assert as_charlie.post(at(name, campaign)).status_code == 404
        assert as_bob.post(at(name, campaign)).status_code == 403
    assert Campaign.objects.get().archived_at is None
    assert as_bob.get(reverse("campaigns:list")).status_code == 200
