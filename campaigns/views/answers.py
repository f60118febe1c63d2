"""How campaign views answer: a fragment to htmx, a page or a redirect to a browser."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect

from accounts.access import WorkspaceRequest
from campaigns.live import live_context, streams_of
from campaigns.models import Campaign


def is_fragment(request: WorkspaceRequest) -> bool:
    return bool(request.htmx) and not request.htmx.boosted


def answer_live(request: WorkspaceRequest, campaign: Campaign) -> HttpResponse:
    """The live region as every viewer sees it, and beside it what there is to say to this one."""
    live = render_to_string("campaigns/_live.html", live_context(campaign, streams_of([campaign])[campaign.pk]))
    said = [*messages.get_messages(request)]
    if said:
        live += render_to_string("components/_messages.html", {"messages": said, "oob": True})
    return HttpResponse(live)


def say(request: WorkspaceRequest, words: str, campaign: Campaign) -> HttpResponse:
    messages.info(request, words)
    return show(request, campaign)


def show(request: WorkspaceRequest, campaign: Campaign) -> HttpResponse:
    """Go to the campaign's page: a whole one for htmx too, which would follow a redirect for a fragment."""
    if is_fragment(request):
        return HttpResponseClientRedirect(reverse("campaigns:campaign", args=[campaign.uuid]))
    return redirect("campaigns:campaign", campaign.uuid)
