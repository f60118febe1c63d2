"""Moving campaigns, and deciding about what failed or is uncertain. Asked twice, each happens once."""

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
from campaigns.actions.dead_letters import retry_failed
from campaigns.actions.doubts import assume_sent, send_again
from campaigns.actions.drafts import leave_out_absent, what_is_missing
from campaigns.actions.watching import pass_canary
from campaigns.forms.selection import SelectionForm
from campaigns.models import Campaign, CampaignState
from campaigns.querysets.unsettled import Selection
from campaigns.views.answers import answer_live, is_fragment
from campaigns.views.campaigns import review_context, the_campaign
from campaigns.views.previews import int_of

CHANGED = "These messages have changed since you looked; the page shows them as they are now."


def moved(
    request: WorkspaceRequest, uuid: UUID, action: Callable[[Campaign, User], bool], refused: str
) -> HttpResponse:
    """Do it, or say why not; the answer shows the campaign as it is now."""
    campaign = the_campaign(request, uuid)
    if not action(campaign, request.user):
        campaign.refresh_from_db()
        messages.warning(request, f"{refused} It is {campaign.get_state_display().lower()} now.")
    return answer(request, campaign)


def answer(request: WorkspaceRequest, campaign: Campaign) -> HttpResponse:
    if not is_fragment(request):
        return redirect("campaigns:campaign", campaign.uuid)
    if campaign.state == CampaignState.DRAFT:
        return HttpResponseClientRedirect(reverse("campaigns:campaign", args=[campaign.uuid]))
    return answer_live(request, campaign)


@require_POST
@workspace_role("manager")
def start(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """What was reviewed: whoever changed the draft since then is named, and the button is there to be pressed anew.

    A draft of which the request does not say what was reviewed is not started either.
    """
    campaign = the_campaign(request, uuid)
    version = int_of(request.POST["version"]) if "version" in request.POST else None
    if campaign.state == CampaignState.DRAFT and what_is_missing(campaign):
        return render(request, "campaigns/review.html", review_context(campaign), status=422)
    if campaign.state == CampaignState.DRAFT and version is None:
        return render(request, "campaigns/review.html", {**review_context(campaign), "unseen": True}, status=400)
    try:
        return moved(
            request,
            uuid,
            lambda campaign, by: actions.launch_campaign(campaign, by, version),
            "It was started already.",
        )
    except actions.ChangedSince:
        context = review_context(the_campaign(request, uuid))
        return render(request, "campaigns/review.html", {**context, "newer": True}, status=409)


@require_POST
@workspace_role("manager")
def leave_out(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """Whether the campaign writes to those known not to be on WhatsApp."""
    wanted = request.POST.get("leave_out") == "on"
    return moved(
        request, uuid, lambda campaign, by: leave_out_absent(campaign, wanted, by), "That was decided already."
    )


@require_POST
@workspace_role("manager")
def go_on(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """The first few people were looked at: now all others."""
    return moved(request, uuid, pass_canary, "It waits for nobody's word.")


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


def decided(
    request: WorkspaceRequest, uuid: UUID, action: Callable[[Selection, User], int], done: str, nothing: str
) -> HttpResponse:
    """Do it with the messages that the page showed, and say with how many; the answer shows what is left."""
    campaign = the_campaign(request, uuid)
    form = SelectionForm(request.POST, campaign=campaign)
    people = action(form.selection(), request.user) if form.is_valid() else 0
    campaign.refresh_from_db()
    if people:
        messages.success(request, f"{people:,} {'message' if people == 1 else 'messages'} {done}")
    else:
        messages.warning(request, nothing)
    return answer(request, campaign)


@require_POST
@workspace_role("manager")
def retry_failed_messages(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    done = "that had failed will be tried again."
    return decided(request, uuid, retry_failed, done, f"Nothing was retried. {CHANGED}")


@require_POST
@workspace_role("manager")
def send_uncertain_again(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    return decided(request, uuid, send_again, "will be sent again.", f"Nothing is sent again. {CHANGED}")


@require_POST
@workspace_role("manager")
def assume_uncertain_sent(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    return decided(request, uuid, assume_sent, "now count as sent.", f"Nothing was changed. {CHANGED}")
