"""The wall: what a link opens without sign-in, and the page on which managers make and revoke such links."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import WorkspaceRequest, workspace_role
from accounts.tenancy import tenant_scope
from accounts.throttle import WINDOW_S, source_of, take_look
from campaigns.models import Campaign
from devices.models import Device
from monitoring.actions.wall import TooManyLinks, make_wall_link, revoke_wall_link
from monitoring.forms.workers import WallLinkForm
from monitoring.models import WallLink
from monitoring.wall import address_of, open_link, uuid_in, view_of

ENDED_SHOWN = 50


@require_safe
@never_cache
@login_not_required
def wall(request: HttpRequest, token: str) -> HttpResponse:
    """The page, or to htmx its region, which fetches itself again and again: each time the link is looked at anew."""
    answer = _answer(request, token)
    answer.headers["X-Robots-Tag"] = "noindex, nofollow"
    answer.headers["Referrer-Policy"] = "no-referrer"
    return answer


def _answer(request: HttpRequest, token: str) -> HttpResponse:
    uuid = uuid_in(token)
    if uuid is None:  # costs no look: else whoever shares an office's address could darken its screens with rubbish
        return _closed(request)
    if not take_look(source_of(request)):
        answer = render(request, "monitoring/wall_busy.html", status=429)
        answer.headers["Retry-After"] = str(WINDOW_S)
        return answer
    # Before any scope: the signature, and nothing that the visitor says, leads to the workspace.
    link = open_link(uuid)
    if link is None:
        return _closed(request)
    with tenant_scope(link.workspace):
        context = view_of(link)
    with timezone.override(link.workspace.zone):  # outside the scope, which knows no sessions
        in_place = request.headers.get("HX-Request")
        return render(request, "monitoring/_wall.html" if in_place else "monitoring/wall.html", context)


def _closed(request: HttpRequest) -> HttpResponse:
    answer = render(request, "monitoring/wall_closed.html", status=404)
    if request.headers.get("HX-Request"):
        answer.headers["HX-Refresh"] = "true"  # a screen that was open must not go on showing what it showed last
    return answer


@require_http_methods(["GET", "HEAD", "POST"])
@workspace_role("manager")
def wall_links(request: WorkspaceRequest) -> HttpResponse:
    form = WallLinkForm(request.POST if request.method == "POST" else None, workspace=request.workspace)
    if request.method == "POST" and form.is_valid():
        kind, noun = form.shown
        devices = Device.objects.for_workspace(request.workspace)
        campaigns = Campaign.objects.for_workspace(request.workspace)
        try:
            make_wall_link(
                request.workspace,
                request.user,
                form.cleaned_data["name"],
                kind,
                form.lasting,
                device=get_object_or_404(devices, uuid=noun) if kind == "device" else None,
                campaign=get_object_or_404(campaigns, uuid=noun) if kind == "campaign" else None,
            )
        except TooManyLinks:
            form.add_error(None, "This workspace has too many open links. Revoke one first.")
        else:
            messages.success(request, "The link is made. Open it on the screen where it hangs.")
            return redirect("monitoring:wall_links")
    found = WallLink.objects.for_workspace(request.workspace).select_related("device", "campaign", "created_by")
    opening, ended = list(found.open().order_by("-pk")), found.ended().order_by("-pk")
    shown = [*opening, *ended[:ENDED_SHOWN]]
    context = {
        "form": form,
        "links": [(link, address_of(link)) for link in shown],
        "older": max(0, ended.count() - ENDED_SHOWN),
        "now": timezone.now(),
    }
    return render(request, "monitoring/wall_links.html", context, status=422 if form.errors else 200)


@require_POST
@workspace_role("manager")
def revoke(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    link = get_object_or_404(WallLink.objects.for_workspace(request.workspace).select_related("workspace"), uuid=uuid)
    if revoke_wall_link(link, request.user):
        messages.success(request, f"“{link.name}” opens nothing any more.")
    else:
        messages.info(request, "It was revoked before.")
    return redirect("monitoring:wall_links")
