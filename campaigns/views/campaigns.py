"""Looking at one campaign, live."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from accounts.access import WorkspaceRequest, workspace_role
from campaigns.actions.drafts import variant_texts_of, what_is_missing
from campaigns.audience import audience_of
from campaigns.forms.campaigns import TEXTS
from campaigns.live import live_context, streams_of, topic
from campaigns.missing import report
from campaigns.models import Campaign, CampaignState
from campaigns.plans import plan_of
from campaigns.shown import shown_campaign
from campaigns.steps import REVIEW, steps_of
from campaigns.views.answers import answer_live, is_fragment


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


@require_GET
@workspace_role("viewer")
def missing_values(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """Who lacks what the variants ask for. By itself, for it takes a second or two where the audience is large."""
    campaign = the_campaign(request, uuid)
    texts = [variant.text for variant in variant_texts_of(campaign)]
    context = {"missing": report(texts, audience_of(campaign))}
    return render(request, "campaigns/_missing.html", context)


def review_context(campaign: Campaign) -> dict[str, object]:
    return {
        "campaign": campaign,
        "state": shown_campaign(campaign),
        "plan": plan_of(campaign),
        "problems": what_is_missing(campaign),
        "variant_texts": [
            {"field": field, "letter": chr(ord("A") + place), "text": variant.text, "share": variant.share}
            for place, (field, variant) in enumerate(zip(TEXTS, variant_texts_of(campaign), strict=False))
        ],
        "steps": steps_of(campaign, REVIEW),
    }
