"""Who a campaign is for: included, excluded, other campaigns' recipients; the count is the plan."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Workspace
from campaigns.actions.campaigns import launch_campaign
from campaigns.actions.planning import plan_chunk
from campaigns.audience import Audience, audience_of
from campaigns.models import Campaign, CampaignSegment, CampaignTag, Contact, Message, Segment, Tag
from tests.campaigns.campaign_cases import count_again, planned_campaign
from tests.factories import make_campaign, make_contact, make_device, make_workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def workspace() -> Workspace:
    make_contact(make_workspace(), tags=("vip", "new"), fields={"city": "Ipoh"})
    return make_workspace()


def tag(workspace: Workspace, name: str) -> int:
    return Tag.objects.for_workspace(workspace).get(name=name).pk


def segment(workspace: Workspace, city: str) -> Segment:
    rules = [{"what": "field:city", "is": "is", "value": city}]
    return Segment.objects.create(workspace=workspace, name=f"In {city}", conditions={"match": "all", "rules": rules})


def planned_for(campaign: Campaign, size: int = 3) -> set[Contact]:
    campaign.device_links.create(workspace=campaign.workspace, device=make_device(campaign.workspace))
    assert launch_campaign(campaign, None)
    while not plan_chunk(campaign.pk, size):
        pass
    return {message.contact for message in Message.objects.filter(campaign=campaign) if message.contact}


def both(campaign: Campaign) -> set[Contact]:
    """Who is counted, once it is certain that these are planned."""
    counted = set(audience_of(campaign))
    assert planned_for(campaign) == counted
    return counted


def address(campaign: Campaign, *, tags: dict[int, bool], segments: dict[Segment, bool]) -> None:
    for pk, excluded in tags.items():
        CampaignTag.objects.create(workspace=campaign.workspace, campaign=campaign, tag_id=pk, excluded=excluded)
    for found, excluded in segments.items():
        CampaignSegment.objects.create(
            workspace=campaign.workspace, campaign=campaign, segment=found, excluded=excluded
        )


def test_tags_and_segments_add_up_and_the_excluded_ones_go(workspace: Workspace) -> None:
    vip = [make_contact(workspace, tags=("vip",)) for _ in range(3)]
    in_ipoh = [make_contact(workspace, fields={"city": "Ipoh"}) for _ in range(4)]
    make_contact(workspace, tags=("vip", "old"))
    make_contact(workspace, tags=("vip",), fields={"city": "Kluang"})
    make_contact(workspace)
    campaign = make_campaign(workspace, everyone=False)
    address(
        campaign,
        tags={tag(workspace, "vip"): False, tag(workspace, "old"): True},
        segments={segment(workspace, "Ipoh"): False, segment(workspace, "Kluang"): True},
    )
    assert both(campaign) == {*vip, *in_ipoh}


def test_everyone_but_the_excluded(workspace: Workspace) -> None:
    kept = make_contact(workspace)
    make_contact(workspace, tags=("old",))
    campaign = make_campaign(workspace)
    address(campaign, tags={tag(workspace, "old"): True}, segments={})
    assert both(campaign) == {kept}


def test_only_exclusions_address_nobody(workspace: Workspace) -> None:
    make_contact(workspace, tags=("old",))
    make_contact(workspace)
    campaign = make_campaign(workspace, everyone=False)
    address(campaign, tags={tag(workspace, "old"): True}, segments={})
    assert both(campaign) == set()


@pytest.mark.parametrize("excluded", [False, True])
def test_a_segment_that_makes_no_sense_any_more_lets_nobody_be_written_to(workspace: Workspace, excluded: bool) -> None:
    make_contact(workspace, fields={"city": "Ipoh"})
    broken = segment(workspace, "Ipoh")
    Segment.objects.filter(pk=broken.pk).update(conditions={"match": "all", "rules": [{"what": "field:", "is": 3}]})
    campaign = make_campaign(workspace, everyone=excluded)
    address(campaign, tags={}, segments={broken: excluded})
    assert both(campaign) == set()


def test_another_workspaces_segment_is_nobodys_here(workspace: Workspace) -> None:
    other = segment(Workspace.objects.exclude(pk=workspace.pk).get(), "Ipoh")
    make_contact(workspace, fields={"city": "Ipoh"})
    assert not Audience(segments=(other.pk,)).contacts(workspace).exists()


def test_whoever_got_a_message_lately_is_left_out(workspace: Workspace) -> None:
    earlier = planned_campaign(workspace, people=5)
    lately, long_ago, maybe, unsent, tested = Message.objects.filter(campaign=earlier).order_by("pk")
    now = timezone.now()
    change(lately, state="read", sent_at=now - timedelta(days=2))
    change(long_ago, state="sent", sent_at=now - timedelta(days=4))
    change(maybe, state="uncertain", attempted_at=now - timedelta(days=1))
    change(tested, state="sent", sent_at=now, campaign=None)
    count_again(earlier)
    campaign = make_campaign(workspace, not_contacted_days=3)
    assert both(campaign) == {long_ago.contact, unsent.contact, tested.contact}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("not_read", {"sent", "delivered"}),
        ("not_replied", {"sent", "delivered", "read"}),
        ("replied", {"replied"}),
        ("failed", {"dead"}),
        ("", {"sent", "delivered", "read", "replied", "dead", "skipped", "pending"}),
    ],
)
def test_the_recipients_of_another_campaign(workspace: Workspace, word: str, expected: set[str]) -> None:
    states = ["sent", "delivered", "read", "replied", "dead", "skipped", "pending"]
    earlier = planned_campaign(workspace, people=len(states))
    make_contact(workspace)
    people = {}
    for state, message in zip(states, Message.objects.filter(campaign=earlier).order_by("pk"), strict=True):
        people[state] = message.contact
        replied = state == "replied"
        change(message, state="read" if replied else state, replied_at=timezone.now() if replied else None)
    count_again(earlier)
    campaign = make_campaign(workspace, everyone=False, retarget_of=earlier, retarget=word)
    assert both(campaign) == {people[state] for state in expected}


def test_tags_narrow_the_recipients_of_another_campaign(workspace: Workspace) -> None:
    earlier = planned_campaign(workspace, people=3)
    Message.objects.filter(campaign=earlier).update(state="dead")
    count_again(earlier)
    failed = [message.contact for message in Message.objects.filter(campaign=earlier)]
    vip = make_contact(workspace, tags=("vip",))
    assert failed[0]
    vip.tag_links.get().tag.contact_links.create(workspace=workspace, contact=failed[0])
    campaign = make_campaign(workspace, everyone=False, retarget_of=earlier, retarget="failed")
    address(campaign, tags={tag(workspace, "vip"): False}, segments={})
    assert both(campaign) == {failed[0]}


def change(message: Message, **fields: Any) -> None:
    Message.objects.filter(pk=message.pk).update(**fields)
