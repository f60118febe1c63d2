"""Campaign Summary: its page, which follows what is sent, its charts and reasons, and the file of it."""

from __future__ import annotations

from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from accounts.access import WorkspaceRequest, workspace_role
from campaigns.models import Campaign
from campaigns.shown import LISTS
from monitoring.forms.period import PeriodForm
from monitoring.summary import SORTED_BY, asked_rows, campaigns_of
from monitoring.views.report_frame import asked_period, campaigns_file, charts_answer, report_answer


@require_safe
@workspace_role("viewer")
def campaign_summary(request: WorkspaceRequest) -> HttpResponse:
    form = PeriodForm(request.GET, workspace=request.workspace)
    rows = asked_rows(request.GET)
    return report_answer(
        request,
        "campaign_summary",
        reverse("monitoring:campaign_summary"),
        form,
        SORTED_BY,
        found=campaigns_of(request.workspace, form.period, rows),
        figure_word=LISTS.get(rows.figure, ""),
        ever=Campaign.objects.for_workspace(request.workspace).filter(launched_at__isnull=False).exists(),
    )


@require_safe
@workspace_role("viewer")
def campaign_summary_charts(request: WorkspaceRequest) -> HttpResponse:
    return charts_answer(request)


@require_POST
@workspace_role("viewer")
def campaign_summary_export(request: WorkspaceRequest) -> HttpResponse:
    asked, rows = asked_period(request, request.POST), asked_rows(request.POST)
    return campaigns_file(request, "Campaigns", asked, rows, ("campaigns.summary_exported", ""))
