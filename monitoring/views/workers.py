"""Worker Status: the grid or the table of device workers, one of them in the drawer, and what is done to many."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from django.contrib import messages
from django.db.models import Sum
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import urlencode
from django.views.decorators.http import require_POST, require_safe

from accounts.access import WorkspaceRequest, workspace_role
from accounts.audit import note_look
from accounts.models import User
from campaigns.models import OPEN, Campaign, CampaignState, Stream
from devices.models import Device
from devices.querysets import DeviceQuerySet
from monitoring.actions import workers as actions
from monitoring.forms.workers import WorkerFilterForm
from monitoring.views.operations import staff_only
from monitoring.workers import (
    HEATS,
    SORTS,
    Scope,
    cells,
    chosen_devices,
    hosts_serving,
    state_counts,
    table,
    whole_frame,
    worker,
)

KEPT = ("q", "state", "host", "workspace", "view", "sort")  # of the address, by what is posted from the page
COLUMNS = (
    ("name", "Device"),
    ("state", "State"),
    ("", "Sends now"),
    ("queue", "Queue"),
    ("minute", "Minute"),
    ("hour", "Hour"),
    ("day", "Day"),
    ("next", "Next send"),
    ("last", "Last activity"),
    ("time", "Takes"),
)


@require_safe
@workspace_role("viewer")
def worker_status(request: WorkspaceRequest) -> HttpResponse:
    """The page; to htmx its region, and with ``frame`` all states as one frame, for the script."""
    return status_page(request, Scope(request.workspace), can_manage=request.role.covers("manager"))


@require_safe
@staff_only
def fleet(request: HttpRequest) -> HttpResponse:
    """Of all workspaces."""
    again = "frame" in request.GET or bool(request.headers.get("HX-Request"))
    note_look(cast(User, request.user), "staff.workers", again=again)
    return status_page(request, Scope(None))


def status_page(request: HttpRequest, scope: Scope, *, can_manage: bool = False) -> HttpResponse:
    if "frame" in request.GET:
        return JsonResponse(whole_frame(scope.devices()))
    filters = WorkerFilterForm(request.GET, hosts=scope.hosts(), workspaces=scope.workspaces())
    chosen = filters.chosen()
    counts = state_counts(scope, chosen)
    total = scope.devices().count() if chosen else sum(count.count for count in counts)
    context: dict[str, Any] = {
        "scope": scope,
        "filters": filters,
        "filtered": bool(chosen),
        "total": total,
        "counts": counts,
        "heats": HEATS,
        "as_table": request.GET.get("view") == "table",
        "can_manage": can_manage,
        "is_fleet": scope.workspace is None,
        "kept": kept(request.GET),
    }
    if context["as_table"]:
        sort = request.GET.get("sort", "")
        context |= {
            "page": table(scope, chosen, sort, request.GET.get("page")),
            "columns": sortable(sort),
        }
    else:
        context["cells"] = cells(scope, chosen_devices(scope, chosen))
    if request.headers.get("HX-Request"):
        return render(request, "monitoring/_workers.html", context)
    context["hosts"] = hosts_serving(scope)
    if scope.workspace is not None:
        context["touched"] = touched(scope, chosen)
    return render(request, "monitoring/workers.html", context)


def sortable(sort: str) -> list[tuple[str, str, str, str]]:
    """Of each column: its word, what a click sorts by, how it is sorted now (for screen readers), an arrow."""
    by, down = sort.removeprefix("-") or "name", sort.startswith("-")
    by = by if by in SORTS else "name"
    told = []
    for name, word in COLUMNS:
        first = name if name in ("name", "state", "next") else f"-{name}"
        if name != by:
            told.append((word, first if name else "", "", ""))
        else:
            told.append(
                (word, name if down else f"-{name}", "descending" if down else "ascending", "↓" if down else "↑")
            )
    return told


def touched(scope: Scope, chosen: dict[str, str]) -> dict[str, int]:
    """How much each of the buttons would touch, for its question."""
    assert scope.workspace is not None
    campaigns = Campaign.objects.for_workspace(scope.workspace)
    devices = chosen_devices(scope, chosen)
    failed = Stream.objects.filter(device__in=devices.values("pk"), campaign__state__in=OPEN, dead__gt=0)
    return {
        "devices": devices.count(),
        "failed": failed.aggregate(failed=Sum("dead"))["failed"] or 0,
        "running": campaigns.filter(state=CampaignState.RUNNING).count(),
        "paused": campaigns.filter(state=CampaignState.PAUSED).count(),
    }


def kept(given: Any) -> list[tuple[str, str]]:
    return [(name, given[name]) for name in KEPT if given.get(name)]


# ---- One of them


@require_safe
@workspace_role("viewer")
def worker_page(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    return drawer(request, Scope(request.workspace), uuid, can_manage=request.role.covers("manager"))


@require_safe
def fleet_worker(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """To whoever is no staff there is nothing here, whichever the id."""
    if not (request.user.is_staff and request.user.is_active):
        raise Http404
    answer = drawer(request, Scope(None), uuid)
    again = bool(request.headers.get("HX-Request"))
    note_look(request.user, "staff.worker", f"device:{uuid}", again=again)
    return answer


def drawer(request: HttpRequest, scope: Scope, uuid: UUID, *, can_manage: bool = False) -> HttpResponse:
    device: Device = get_object_or_404(scope.devices().select_related("workspace"), uuid=uuid)
    context = {**worker(scope, device), "can_manage": can_manage, "scope": scope}
    in_drawer = request.headers.get("HX-Request")
    return render(request, "monitoring/_worker.html" if in_drawer else "monitoring/worker.html", context)


# ---- What is done to many: to the devices that the page showed, or to one of them


@require_POST
@workspace_role("manager")
def resume_failed(request: WorkspaceRequest) -> HttpResponse:
    return done(request, actions.resume_failed(request.workspace, meant(request), request.user))


@require_POST
@workspace_role("manager")
def pause_all(request: WorkspaceRequest) -> HttpResponse:
    return done(request, actions.pause_all(request.workspace, request.user))


@require_POST
@workspace_role("manager")
def resume_all(request: WorkspaceRequest) -> HttpResponse:
    return done(request, actions.resume_all(request.workspace, request.user))


@require_POST
@workspace_role("manager")
def reconnect(request: WorkspaceRequest) -> HttpResponse:
    return done(request, actions.reconnect_all(request.workspace, meant(request), request.user))


@require_POST
@workspace_role("manager")
def health_check(request: WorkspaceRequest) -> HttpResponse:
    devices = owners_of(chosen_of(request, Scope(request.workspace)))
    return done(request, actions.check_health(request.workspace, devices, request.user))


@require_POST
@staff_only
def fleet_health_check(request: HttpRequest) -> HttpResponse:
    scope = Scope(None)
    devices = owners_of(chosen_of(request, scope))
    return done(request, actions.check_health(None, devices, cast(User, request.user)), scope)


def meant(request: WorkspaceRequest) -> list[Device]:
    return list(chosen_of(request, Scope(request.workspace)).select_related("workspace").order_by("pk"))


def owners_of(devices: DeviceQuerySet) -> dict[int, str | None]:
    return dict(devices.order_by().values_list("pk", "owner_id"))


def chosen_of(request: HttpRequest, scope: Scope) -> DeviceQuerySet:
    """Those that the posted filters choose, or the one that ``device`` names."""
    if "device" in request.POST:
        try:
            uuid = UUID(request.POST["device"])
        except ValueError:
            raise Http404 from None
        one = scope.devices().filter(uuid=uuid)
        if not one.exists():
            raise Http404
        return one
    filters = WorkerFilterForm(request.POST, hosts=scope.hosts(), workspaces=scope.workspaces())
    if not filters.is_valid():  # else everything would be meant
        raise Http404("What was chosen is not there any more.")
    return chosen_devices(scope, filters.chosen())


def done(request: HttpRequest, sentence: str, scope: Scope | None = None) -> HttpResponse:
    messages.info(request, sentence)
    to = "monitoring:worker_status" if scope is None else "monitoring:fleet"
    address = redirect(to).url
    again = kept(request.POST)
    return redirect(f"{address}?{urlencode(again)}" if again else address)
