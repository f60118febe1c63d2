"""Campaigns in the middle of things, planned or with a message in every state, and what their pages say."""

from __future__ import annotations

import re
from typing import Any

from django.db.models import Count, Q
from django.urls import reverse
from django.utils import timezone

from accounts.models import Workspace
from campaigns.actions.planning import plan_chunk
from campaigns.engine.lifecycle import MESSAGE_STATES
from campaigns.models import Campaign, CampaignState, Contact, Message, Stream
from tests.factories import make_campaign, make_device, new_contact


def planned_campaign(workspace: Workspace, people: int = 4, devices: int = 2, **fields: Any) -> Campaign:
    """Running, with everybody's message pending."""
    Contact.objects.bulk_create(new_contact(workspace, fields={"city": f"City {number}"}) for number in range(people))
    numbers = tuple(make_device(workspace) for _ in range(devices))
    campaign = make_campaign(workspace, devices=numbers, **fields)
    Campaign.objects.filter(pk=campaign.pk).update(state=CampaignState.RUNNING, launched_at=timezone.now())
    while not plan_chunk(campaign.pk):
        pass
    campaign.refresh_from_db()
    return campaign


def varied_campaign(workspace: Workspace, rounds: int = 1) -> Campaign:
    """A message in each state, `rounds` times, with the counters that go with them and one reply."""
    campaign = planned_campaign(workspace, people=len(MESSAGE_STATES) * rounds)
    for place, message in enumerate(Message.objects.filter(campaign=campaign).order_by("pk")):
        state = MESSAGE_STATES[place % len(MESSAGE_STATES)]
        Message.objects.filter(pk=message.pk).update(
            state=state,
            reason="opted_out" if state == "skipped" else "",
            text="Word for word" if state in ("sent", "delivered", "read") else None,
            replied_at=timezone.now() if state == "read" else None,
        )
    count_again(campaign)
    return campaign


def count_again(campaign: Campaign) -> None:
    for stream in Stream.objects.filter(campaign=campaign):
        own = Message.objects.filter(stream=stream)
        counts = own.aggregate(
            **{state: Count("pk", filter=Q(state=state)) for state in MESSAGE_STATES},
            replied=Count("pk", filter=Q(replied_at__isnull=False)),
        )
        Stream.objects.filter(pk=stream.pk).update(**counts)


def at(name: str, campaign: Campaign, query: str = "") -> str:
    """The address of one of the campaign's pages or moves."""
    return reverse(f"campaigns:{name}", args=[campaign.uuid]) + query


def words(response: Any) -> str:
    """What a person reads of an answer: no tags, single spaces."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))
