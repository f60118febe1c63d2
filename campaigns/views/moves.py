"""Moving campaigns: start, pause, resume, cancel, and back to draft. Asked twice, each happens once."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST
from django_htmx.http import HttpResponseClientRedirect

from accounts.access import WorkspaceRequest, workspace_role
from accounts.models import User
from campaigns.actions import campaigns as actions
from campaigns.actions.drafts import what_is_missing
from campaigns.models import Campaign, CampaignState
from campaigns.views.answers import answer_live, is_fragment
from campaigns.views.campaigns import review_context, the_campaign


def moved(
    request: WorkspaceRequest, uuid: UUID, action: Callable[[Campaign, User], bool], refused: str
) -> HttpResponse:
    """Do it, or say why not; the answer shows the campaign as it is now."""
    campaign = the_campaign(request, uuid)
    if not action(campaign, request.user):
        campaign.refresh_from_db()
        messages.warning(request, f"{refused} It is {campaign.get_state_display().lower()} now.")
    if not is_fragment(request):
        return redirect("campaigns:campaign", campaign.uuid)
    if campaign.state == CampaignState.DRAFT:
        return HttpResponseClientRedirect(reverse("campaigns:campaign", args=[campaign.uuid]))
    return answer_live(request, campaign)


@require_POST
@workspace_role("manager")
def start(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    campaign = the_campaign(request, uuid)
    if campaign.state == CampaignState.DRAFT and what_is_missing(campaign):
        return render(request, "campaigns/review.html", review_context(campaign), status=422)
    return moved(request, uuid, actions.launch_campaign, "It was started already.")


@require_POST
@workspace_role("manager")
def pause(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    return moved(request, uuid, actions.pause_campaign, "It could not be paused.")


@require_POST
@workspace_role("manager")
def resume(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    return moved(request, uuid, actions.resume_campaign, "It could not be resumed.")


@require_POST
@workspace_role("manager")
def cancel(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    return moved(request, uuid, actions.cancel_campaign, "It could not be cancelled.")


@require_POST
@workspace_role("manager")
def unschedule(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    return moved(request, uuid, actions.unschedule_campaign, "It could not be taken back.")
