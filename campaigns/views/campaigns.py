"""Looking at a campaign: its live page and the people behind its figures."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from accounts.access import WorkspaceRequest, workspace_role
from campaigns.actions.drafts import what_is_missing, wordings_of
from campaigns.audience import audience_of
from campaigns.forms.campaigns import TEXTS
from campaigns.live import figures, live_context, streams_of, topic, unsettled
from campaigns.missing import report
from campaigns.models import Campaign, CampaignState
from campaigns.plans import plan_of
from campaigns.recipients import asked_list, messages_behind, recipients, states_of
from campaigns.shown import LISTS, MESSAGE_STATES, shown_campaign
from campaigns.steps import REVIEW, steps_of
from campaigns.views.answers import answer_live, is_fragment
from devices.models import Device


def the_campaign(request: WorkspaceRequest, uuid: UUID) -> Campaign:
    campaigns = Campaign.objects.for_workspace(request.workspace).select_related("workspace", "content", "created_by")
    return get_object_or_404(campaigns, uuid=uuid)


@require_GET
@workspace_role("viewer")
def campaign_page(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    campaign = the_campaign(request, uuid)
    if campaign.state == CampaignState.DRAFT and not is_fragment(request):
        return render(request, "campaigns/review.html", review_context(campaign))
    if is_fragment(request):
        return answer_live(request, campaign)
    context = live_context(campaign, streams_of([campaign])[campaign.pk])
    return render(request, "campaigns/campaign.html", {**context, "topic": topic(campaign)})


def review_context(campaign: Campaign) -> dict[str, object]:
    return {
        "campaign": campaign,
        "state": shown_campaign(campaign),
        "plan": plan_of(campaign),
        "missing": report(campaign.content.text, audience_of(campaign)),
        "problems": what_is_missing(campaign),
        "wordings": [
            {"field": field, "letter": chr(ord("A") + place), "text": wording.text, "share": wording.share}
            for place, (field, wording) in enumerate(zip(TEXTS, wordings_of(campaign), strict=False))
        ],
        "steps": steps_of(campaign, REVIEW),
    }


@require_GET
@workspace_role("viewer")
def recipient_list(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    campaign = the_campaign(request, uuid)
    streams = streams_of([campaign])[campaign.pk]
    devices = list(Device.objects.filter(pk__in=[stream.device_id for stream in streams]).order_by("name"))
    asked = asked_list(request.GET, devices)
    counts = figures([stream for stream in streams if asked.device in (None, stream.device_id)])
    total = counts[f"n_{asked.state}"] if asked.state else counts[asked.figure]
    # Nothing is looked for where the counters say that there is nothing: it would read every message to find none.
    rows, following = recipients(messages_behind(campaign, asked), asked.after) if total else ([], "")
    needs_person = asked.figure in ("failed", "uncertain")
    device = next((one for one in devices if one.pk == asked.device), None)
    context = {
        "campaign": campaign,
        "asked": asked,
        "unsettled": unsettled(campaign, streams, device) if needs_person else None,
        "lists": [(key, word, counts[key]) for key, word in LISTS.items() if key != "uncertain" or counts[key]],
        "states": [(key, MESSAGE_STATES[key].word, counts[f"n_{key}"]) for key in states_of(asked.figure)],
        "devices": devices,
        "rows": rows,
        "following": following,
        "total": total,
        "word": LISTS[asked.figure],
    }
    return render(request, "campaigns/recipients.html", context)
