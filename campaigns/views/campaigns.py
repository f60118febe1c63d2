"""Looking at campaigns: the list, one campaign live, and the people behind its figures."""

from __future__ import annotations

from uuid import UUID

from django.core.paginator import Paginator
from django.db.models import Count
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from accounts.access import WorkspaceRequest, workspace_role
from campaigns.actions.drafts import what_is_missing
from campaigns.audience import audience_of
from campaigns.live import figures, live_context, row_of, streams_of, topic, unsettled
from campaigns.missing import report
from campaigns.models import Campaign, CampaignState
from campaigns.plans import plan_of
from campaigns.recipients import asked_list, messages_behind, recipients, states_of
from campaigns.shown import LISTS, MESSAGE_STATES, shown_campaign
from campaigns.views.answers import answer_live, is_fragment
from devices.models import Device

PAGE = 25


def the_campaign(request: WorkspaceRequest, uuid: UUID) -> Campaign:
    campaigns = Campaign.objects.for_workspace(request.workspace).select_related("workspace", "content", "created_by")
    return get_object_or_404(campaigns, uuid=uuid)


@require_GET
@workspace_role("viewer")
def campaign_list(request: WorkspaceRequest) -> HttpResponse:
    search, state = request.GET.get("q", "").replace("\0", "").strip()[:120], request.GET.get("state", "")
    every = Campaign.objects.for_workspace(request.workspace)
    found = every.filter(name__icontains=search) if search else every
    counts = dict(found.order_by().values_list("state").annotate(Count("pk")))
    shown = found.filter(state=state) if state in CampaignState.values else found
    page = Paginator(shown.select_related("workspace").order_by("-pk"), PAGE).get_page(request.GET.get("page"))
    streams = streams_of(page)
    context = {
        "rows": [(campaign, row_of(campaign, streams[campaign.pk])) for campaign in page],
        "page": page,
        "chips": [(value, label, counts.get(value, 0)) for value, label in CampaignState.choices],
        "total": sum(counts.values()),
        "search": search,
        "state": state,
        "any": bool(counts) or every.exists(),
    }
    template = "_campaign_list.html" if is_fragment(request) else "index.html"
    return render(request, f"campaigns/{template}", context)


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


@require_GET
@workspace_role("viewer")
def missing_values(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """Who lacks what the text asks for. By itself, for it takes a second or two where the audience is large."""
    campaign = the_campaign(request, uuid)
    context = {"missing": report(campaign.content.text, audience_of(campaign))}
    return render(request, "campaigns/_missing.html", context)


def review_context(campaign: Campaign) -> dict[str, object]:
    return {
        "campaign": campaign,
        "state": shown_campaign(campaign),
        "plan": plan_of(campaign),
        "problems": what_is_missing(campaign),
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
