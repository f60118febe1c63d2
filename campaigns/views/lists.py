"""Many campaigns at once: the list and the calendar."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from accounts.access import WorkspaceRequest, workspace_role
from campaigns import lists
from campaigns.calendar import month_asked, month_of
from campaigns.live import row_of, streams_of
from campaigns.models import Campaign, CampaignState
from campaigns.views.answers import is_fragment

CHIPS = [*CampaignState.choices, (lists.ARCHIVED, "Archived")]


@require_GET
@workspace_role("viewer")
def campaign_list(request: WorkspaceRequest) -> HttpResponse:
    asked = lists.asked_list(request.GET)
    found = lists.found(request.workspace, asked)
    counts = lists.counts_of(found)
    page, following = lists.page_of(request.workspace, lists.in_state(found, asked.state), asked)
    streams = streams_of(page)
    total = sum(count for state, count in counts.items() if state != lists.ARCHIVED)
    context = {
        "rows": [(campaign, row_of(campaign, streams[campaign.pk])) for campaign in page],
        "following": following,
        "chips": [(value, label, counts.get(value, 0)) for value, label in CHIPS],
        "sorts": [(word, label) for word, (label, *_) in lists.SORTS.items()],
        "asked": asked,
        "total": total,
        "count": counts.get(asked.state, 0) if asked.state else total,
        "any": any(counts.values()) or Campaign.objects.for_workspace(request.workspace).exists(),
    }
    template = "_campaign_list.html" if is_fragment(request) else "index.html"
    return render(request, f"campaigns/{template}", context)


@require_GET
@workspace_role("viewer")
def calendar(request: WorkspaceRequest) -> HttpResponse:
    month = month_of(request.workspace, month_asked(request.GET, request.workspace))
    context = {"month": month, "workspace": request.workspace}
    return render(request, "campaigns/calendar.html", context)
