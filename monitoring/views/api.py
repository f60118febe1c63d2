"""What programs read of the device workers."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.access import WorkspaceRequest, workspace_role
from accounts.audit import note_look
from accounts.models import Workspace
from monitoring.views.health import refusal
from monitoring.workers_api import A_PAGE, workers_answer


@login_not_required
@never_cache
@require_safe
def workers_status(request: HttpRequest) -> HttpResponse:
    """JSON: to staff all devices, to members those of their workspace."""
    if not request.user.is_authenticated:
        return refusal(401, "Sign in.")
    if request.user.is_staff and request.user.is_active:
        note_look(request.user, "staff.workers_status", again=True)
        return answer(request, None)
    return of_workspace(request)


@workspace_role("viewer")
def of_workspace(request: WorkspaceRequest) -> HttpResponse:
    return answer(request, request.workspace)


def answer(request: HttpRequest, workspace: Workspace | None) -> HttpResponse:
    try:
        given = request.GET.get("after")
        after = UUID(given) if given else None
        limit = int(request.GET.get("limit", A_PAGE))
    except ValueError:
        return refusal(400, "`after` is the id of a device, `limit` a number.")
    if not 1 <= limit <= A_PAGE:
        return refusal(400, f"`limit` is a number from 1 to {A_PAGE}.")
    return JsonResponse(workers_answer(workspace, after, limit))
