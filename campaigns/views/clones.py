"""Using campaigns again, and putting them away."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.views.decorators.http import require_POST

from accounts.access import WorkspaceRequest, workspace_role
from campaigns.actions import clones
from campaigns.models import Retarget
from campaigns.views.answers import say, show
from campaigns.views.campaigns import the_campaign


@require_POST
@workspace_role("manager")
def clone(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """A draft of the same; with `retarget` for some of its recipients."""
    campaign = the_campaign(request, uuid)
    retarget = request.POST.get("retarget", "")
    if retarget and retarget not in Retarget.values:
        return say(request, "Its recipients cannot be chosen like that.", campaign)
    copy = clones.clone(campaign, request.user, retarget)
    whom = f" for those of whom this is true: {Retarget(retarget).label.lower()}" if retarget else ""
    messages.success(request, f"This is a copy of “{campaign.name}”{whom}. Nothing is sent until it is started.")
    return show(request, copy)


@require_POST
@workspace_role("manager")
def archive(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    campaign = the_campaign(request, uuid)
    if clones.archive_campaign(campaign, request.user):
        return say(request, "It is archived: the list shows it only among the archived ones.", campaign)
    return say(request, "Only drafts and campaigns that have ended can be archived.", campaign)


@require_POST
@workspace_role("manager")
def unarchive(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    campaign = the_campaign(request, uuid)
    done = clones.unarchive_campaign(campaign, request.user)
    return say(request, "It is back in the list." if done else "It was not archived.", campaign)
