"""The Queue page: the lanes, what waits for its time, what failed and what nobody knows about, with the decisions."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from accounts.access import WorkspaceRequest, workspace_role
from campaigns.actions.dead_letters import give_up_all, retry_all, retry_all_elsewhere
from campaigns.actions.doubts import assume_sent, give_up_doubts, send_again, settle_all
from campaigns.dead_letters import Found, Group, failed_in, people_of, selections
from campaigns.engine.causes import CAUSES
from campaigns.shown import counted, reason_in_words
from devices.models import Device
from monitoring.forms.queue import ShownForm, campaign_of
from monitoring.queue import (
    DIRECT,
    device_lanes,
    doubts_by_campaign,
    doubts_of,
    doubts_page,
    forget_waiting,
    lasting,
    queue_context,
)

CHANGED = "The page shows what there is now."
FAILED_DEEDS = {
    "retry": "will be tried again.",
    "move": "will be tried again by other devices.",
    "give_up": "given up: they stay in the lists of their campaigns, as cancelled.",
}
DOUBT_DEEDS = {
    "send_again": (send_again, "will be sent again."),
    "assume_sent": (assume_sent, "now count as sent."),
    "give_up": (give_up_doubts, "given up."),
}
CAMPAIGNS_SHOWN = 20
REASONS_SHOWN = 8


@require_safe
@workspace_role("viewer")
def queue_page(request: WorkspaceRequest) -> HttpResponse:
    """The page, or to htmx its live region alone, which is swapped in by id."""
    context = {**queue_context(request.workspace), "can_manage": request.role.covers("manager")}
    if request.htmx and not request.htmx.boosted:
        return render(request, "monitoring/_queue.html", {**context, "oob": True})
    return render(request, "monitoring/queue.html", context)


@require_safe
@workspace_role("viewer")
def queue_devices(request: WorkspaceRequest) -> HttpResponse:
    context = {"rows": device_lanes(request.workspace), "now": timezone.now()}
    return render(request, "monitoring/_queue_devices.html", context)


# ---- What failed


@require_safe
@workspace_role("viewer")
def failed_groups(request: WorkspaceRequest) -> HttpResponse:
    """By itself, for it looks through the failed messages."""
    found = failed_in(request.workspace)
    groups = [group_context(group, found) for group in found.groups.values()]
    context = {"groups": groups, "found": found, **who_decides(request)}
    return render(request, "monitoring/_queue_failed.html", context)


def group_context(group: Group, found: Found) -> dict[str, Any]:
    """``fields`` name the group in a form: what was shown is what is meant."""
    campaigns, reasons = group.campaigns, group.reasons
    return {
        "group": group,
        "reasons": [(reason_in_words(reason) or "No reason was noted.", count) for reason, count in reasons],
        "reasons_shown": REASONS_SHOWN,
        "campaigns": campaigns[:CAMPAIGNS_SHOWN],
        "more_campaigns": max(0, len(campaigns) - CAMPAIGNS_SHOWN),
        "fields": [
            ("until", found.until.isoformat()),
            *([("oldest", str(found.oldest.uuid))] if found.oldest else []),
            *(("device", str(device.uuid)) for device in group.devices),
            *(("gone", str(device.uuid)) for device in group.gone),
        ],
    }


def who_decides(request: WorkspaceRequest) -> dict[str, Any]:
    can_manage = request.role.covers("manager")
    able = Device.objects.for_workspace(request.workspace).with_shown_state().shown_as("online").order_by("name")
    return {"can_manage": can_manage, "targets": list(able) if can_manage else []}


@require_safe
@workspace_role("viewer")
def failed_list(request: WorkspaceRequest, group: str) -> HttpResponse:
    if group not in CAUSES:
        raise Http404("There is no such group.")
    found = failed_in(request.workspace)
    own = found.groups.get(group)
    context: dict[str, Any] = {"key": group, "cause": CAUSES[group], **who_decides(request)}
    if own is not None:
        rows, following = people_of(own, request.GET.get("after", ""))
        context |= {"one": group_context(own, found), "rows": rows, "following": following}
    return render(request, "monitoring/queue_group.html", context)


@require_POST
@workspace_role("manager")
def decide_failed(request: WorkspaceRequest, group: str, deed: str) -> HttpResponse:
    """Exactly the messages that the page showed, whichever campaigns they belong to."""
    if group not in CAUSES or deed not in FAILED_DEEDS or deed not in CAUSES[group].deeds:
        raise Http404("There is no such decision.")
    form = ShownForm(request.POST, request.workspace)
    people, targets = 0, form.targets() if deed == "move" else []
    if deed == "move" and not targets:
        messages.warning(request, "Choose a device that is online.")
        return redirect("monitoring:queue_group", group)
    if form.is_valid():
        chosen = selections(request.workspace, form.group(group))
        if deed == "move":
            people = retry_all_elsewhere(chosen, targets, request.user)
        else:
            people = (retry_all if deed == "retry" else give_up_all)(chosen, request.user)
    return said(request, people, FAILED_DEEDS[deed], "monitoring:queue")


# ---- What nobody knows about


@require_safe
@workspace_role("viewer")
def uncertain_list(request: WorkspaceRequest) -> HttpResponse:
    key = request.GET.get("campaign", "")
    campaign = campaign_of(request.workspace, key)
    doubts = doubts_of(request.workspace, campaign, key == DIRECT)
    page = doubts_page(request.workspace, doubts, request.GET.get("after", ""))
    context = {
        "page": page,
        "key": key,
        "by_campaign": doubts_by_campaign(request.workspace),
        "lasting": lasting(),
        "can_manage": request.role.covers("manager"),
        "fields": [("until", page.until.isoformat()), *([("campaign", key)] if key else [])],
        "until": page.until.isoformat(),
    }
    return render(request, "monitoring/queue_uncertain.html", context)


@require_POST
@workspace_role("manager")
def settle_uncertain(request: WorkspaceRequest, decision: str) -> HttpResponse:
    """One message, those of one campaign, or all that the page knew of."""
    if decision not in DOUBT_DEEDS:
        raise Http404("There is no such decision.")
    settle, done = DOUBT_DEEDS[decision]
    form = ShownForm(request.POST, request.workspace)
    people = settle_all(form.doubts(), settle, request.user) if form.is_valid() else 0
    return said(request, people, done, "monitoring:queue_uncertain")


def said(request: WorkspaceRequest, people: int, done: str, where: str) -> HttpResponse:
    forget_waiting(request.workspace)
    if people:
        messages.success(request, f"{counted(people, 'message')} {done}")
    else:
        messages.warning(request, f"Nothing was changed. {CHANGED}")
    return redirect(where)
