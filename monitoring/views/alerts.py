"""Alerts by e-mail: whether the one who looks wants them, and what they told of lately."""

from __future__ import annotations

from django.contrib import messages
from django.db.models import F, Q
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from accounts.access import WorkspaceRequest, workspace_role
from monitoring.actions.alerts import choose_alerts
from monitoring.alerting import told_members, wants_alerts
from monitoring.models import Alert

SHOWN = 50


@require_safe
@workspace_role("viewer")
def alert_settings(request: WorkspaceRequest) -> HttpResponse:
    told = Q(ended_at__isnull=True) | Q(told_at__isnull=False)
    alerts = (
        Alert.objects.for_workspace(request.workspace)
        .filter(told)
        .order_by(F("ended_at").desc(nulls_first=True), "-since", "-pk")
    )
    context = {
        "may_choose": request.role.covers("manager"),
        "wanted": wants_alerts(request.workspace, request.user, request.role),
        "told": told_members(request.workspace),
        "alerts": alerts[:SHOWN],
    }
    return render(request, "monitoring/alert_settings.html", context)


@require_POST
@workspace_role("manager")
def save_alert_settings(request: WorkspaceRequest) -> HttpResponse:
    wanted = request.POST.get("wanted") == "on"
    if wanted != wants_alerts(request.workspace, request.user, request.role):
        choose_alerts(request.workspace, request.user, wanted)
    messages.success(request, "You get alerts by e-mail." if wanted else "You get no alerts by e-mail any more.")
    return redirect("monitoring:alert_settings")
