"""Looking at campaigns: the list, and one campaign live."""

from __future__ import annotations

from uuid import UUID

from django.core.paginator import Paginator
from django.db.models import Count
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from accounts.access import WorkspaceRequest, workspace_role
from campaigns.actions.drafts import what_is_missing
from campaigns.audience import audience_of, missing_values
from campaigns.live import live_context, row_of, streams_of, topic
from campaigns.models import Campaign, CampaignState
from campaigns.plans import plan_of
from campaigns.shown import shown_campaign
from campaigns.views.answers import answer_live, is_fragment

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


def review_context(campaign: Campaign) -> dict[str, object]:
    looked_at, missing = missing_values(campaign.content.text, audience_of(campaign))
    return {
        "campaign": campaign,
        "state": shown_campaign(campaign),
        "plan": plan_of(campaign),
        "looked_at": looked_at,
        "missing_values": missing,
        "problems": what_is_missing(campaign),
    }
