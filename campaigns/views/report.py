"""A campaign's report: its page, the part that takes a pass over the messages, its tables as files, and retrying."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET

from accounts.access import WorkspaceRequest, workspace_role
from campaigns.actions.dead_letters import REOPENABLE
from campaigns.forms.selection import SelectionForm
from campaigns.live import database_time, streams_of, unsettled
from campaigns.models import Campaign, Stream
from campaigns.querysets.unsettled import count_dead
from campaigns.report import NO_REASON, details_context, report_context
from campaigns.sheets import Cells, clock, csv_answer
from campaigns.shown import reason_in_words, shown_campaign
from campaigns.views.answers import is_fragment
from campaigns.views.campaigns import the_campaign


@require_GET
@workspace_role("viewer")
def report(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    campaign = the_campaign(request, uuid)
    if campaign.launched_at is None:
        return redirect("campaigns:campaign", uuid)
    context = report_context(campaign, streams_of([campaign])[campaign.pk])
    context |= {"tab": "report", "state": shown_campaign(campaign)}
    return render(request, f"campaigns/{'_report.html' if is_fragment(request) else 'report.html'}", context)


@require_GET
@workspace_role("viewer")
def report_details(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    campaign = the_campaign(request, uuid)
    context = details_context(campaign, streams_of([campaign])[campaign.pk])
    return render(request, "campaigns/_report_details.html", context)


@require_GET
@workspace_role("manager")
def retry_confirm(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """How many failed messages would be tried again: all, of one device, or with one reason. Then one button."""
    campaign = the_campaign(request, uuid)
    looked_at = database_time()
    chosen = {name: request.GET.get(name, "") for name in ("device", "reason")}
    form = SelectionForm({**chosen, "until": looked_at.isoformat()}, campaign=campaign)
    if not form.is_valid():
        raise Http404("There are no such messages.")
    selection = form.selection()
    people = count_dead(selection) if campaign.state in REOPENABLE else 0
    left = unsettled(campaign, streams_of([campaign])[campaign.pk], selection.device)
    context = {
        "campaign": campaign,
        "people": people,
        "device": selection.device,
        "reason": reason_words(chosen["reason"]),
        "closed": left.closed if left else "",
        "fields": [("until", looked_at.isoformat()), *((name, value) for name, value in chosen.items() if value)],
    }
    return render(request, "campaigns/retry.html", context)


def reason_words(reason: str) -> str:
    return "No reason was noted." if reason == NO_REASON else reason_in_words(reason)


@require_GET
@workspace_role("viewer")
def report_export(request: WorkspaceRequest, uuid: UUID, table: str) -> HttpResponse:
    campaign = the_campaign(request, uuid)
    if table not in TABLES:
        raise Http404("The report has no such table.")
    head, rows = TABLES[table](campaign, streams_of([campaign])[campaign.pk])
    return csv_answer(request, f"{campaign.name} - {table}", head, [rows])


Table = tuple[Cells, list[Cells]]
COUNTED = ("should", "sent", "failed", "remaining", "skipped", "uncertain", "delivered", "read", "replied")


def funnel_table(campaign: Campaign, streams: Sequence[Stream]) -> Table:
    found = report_context(campaign, streams)["figures"]
    return ("Figure", "People"), [(name.capitalize(), found[name]) for name in COUNTED]


def device_table(campaign: Campaign, streams: Sequence[Stream]) -> Table:
    context = report_context(campaign, streams)
    rows: list[Any] = [(row.device.name, row.device.phone, row.figures) for row in context["devices"]]
    if context["nobodys"]["should"]:
        rows.append(("No device", "", context["nobodys"]))
    head = ("Device", "Number", *(name.capitalize() for name in COUNTED))
    return head, [(*names, *(found[name] for name in COUNTED)) for *names, found in rows]


def variant_table(campaign: Campaign, streams: Sequence[Stream]) -> Table:
    rows = report_context(campaign, streams)["variants"]
    head = ("Variant", "Share %", *(name.capitalize() for name in COUNTED), "Text")
    return head, [(row.letter, row.share, *(row.figures[name] for name in COUNTED), row.text) for row in rows]


def hour_table(campaign: Campaign, streams: Sequence[Stream]) -> Table:
    details = details_context(campaign, streams)
    chart, at = details["by_hour"], clock(details["at"], campaign.workspace.zone)
    head = (f"Hour ({campaign.workspace.timezone})", *(one.word for one in chart.series), "Reckoned at")
    return head, [(label, *(count for count, _ in counts), at) for label, counts in chart.rows]


def reason_table(campaign: Campaign, streams: Sequence[Stream]) -> Table:
    details = details_context(campaign, streams)
    at = clock(details["at"], campaign.workspace.zone)
    rows: list[Any] = details["reasons"]
    return ("State", "Why", "People", "Reckoned at"), [(row.word, row.sentence, row.count, at) for row in rows]


TABLES: dict[str, Callable[[Campaign, Sequence[Stream]], Table]] = {
    "funnel": funnel_table,
    "devices": device_table,
    "variants": variant_table,
    "hours": hour_table,
    "reasons": reason_table,
}
