"""Home: where sign-in lands, and the region of it that follows what happens."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.access import WorkspaceRequest, workspace_role
from monitoring.overview import overview


@require_safe
@workspace_role("viewer")
def home(request: WorkspaceRequest) -> HttpResponse:
    """The page, or to htmx its live region alone, which is swapped in by id."""
    context = overview(request.workspace, can_manage=request.role.covers("manager"))
    if request.htmx and not request.htmx.boosted:
        return render(request, "monitoring/_home.html", {**context, "oob": True})
    return render(request, "monitoring/home.html", context)
