"""The people behind a campaign's figures: their list, one of them step by step, and the list as a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET, require_POST

from accounts.access import WorkspaceRequest, workspace_role
from accounts.audit import record
from accounts.tenancy import tenant_scope
from campaigns.live import figures, streams_of, unsettled
from campaigns.models import Campaign, Message, Stream
from campaigns.querysets.report import STEPS
from campaigns.recipient_pages import page_of, recipients
from campaigns.recipients import (
    HOURS,
    REPLIED,
    Asked,
    asked_list,
    known_length,
    length_lately,
    length_of,
    messages_behind,
    recipient,
    states_of,
    with_words,
)
from campaigns.report import hour_words, variant_choices, variant_letters
from campaigns.sheets import clock, csv_answer
from campaigns.shown import LISTS, MESSAGE_STATES, shown_message
from campaigns.timeline import timeline_of
from campaigns.views.campaigns import the_campaign
from devices.models import Device

EXPORTED_AT_ONCE = 2_000
HEAD = (
    "Number", "Name", "State", "Why", "Device", "Variant", "Tries", "Tried", "Sent", "Delivered", "Read", "Replied",
    "Text",
)  # fmt: skip
NARROWING = ("figure", "state", "device", "variant", "reason", "hour", "replied")


def devices_of(streams: list[Stream]) -> list[Device]:
    """By name. Each stream knows its own from then on."""
    devices = list(Device.objects.filter(pk__in={stream.device_id for stream in streams}).order_by("name", "pk"))
    by_id = {device.pk: device for device in devices}
    for stream in streams:
        stream.device = by_id[stream.device_id]
    return devices


@require_GET
@workspace_role("viewer")
def recipient_list(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    campaign = the_campaign(request, uuid)
    streams = streams_of([campaign])[campaign.pk]
    devices = devices_of(streams)
    asked = asked_list(request.GET, devices)
    if "count" in request.GET:
        people = length_lately(campaign, asked, streams)
        return render(request, "campaigns/_people_count.html", {"total": people})
    counts = figures(asked.among(streams))
    total = known_length(campaign, asked, streams)
    # Nothing is looked for where the counters say that there is nothing: it would read every message to find none.
    rows, following = ([], "") if total == 0 else recipients(campaign, asked, streams, total)
    if not asked.after and not following:
        total = len(rows)  # all of them are here: while it sends, the counters were read a moment before
    context = {
        "campaign": campaign,
        "tab": "recipients",
        "asked": asked,
        "query": {name: request.GET.get(name, "") for name in NARROWING},
        "lists": lists(asked, counts, total),
        "states": [(key, MESSAGE_STATES[key].word, counts[f"n_{key}"]) for key in states_of(asked.figure)],
        "devices": devices,
        "nobodys": any(stream.is_nobodys for stream in streams),
        "variants": variant_choices(campaign),
        "hours": list(zip(HOURS, hour_words(), strict=True)),
        "steps": STEPS,
        "replied_choices": REPLIED.items(),
        "rows": rows,
        "following": following,
        "total": total,
        "word": LISTS[asked.figure],
        **decisions(campaign, asked, streams, devices),
    }
    return render(request, "campaigns/recipients.html", context)


def lists(asked: Asked, counts: dict[str, int], total: int | None) -> list[tuple[str, str, int]]:
    """Every figure with its number; the chosen one with what is shown of it, where all of it is."""
    whole = asked.is_counted and not asked.state
    here = counts[asked.figure] if total is None or not whole else total
    found = [(key, word, here if key == asked.figure else counts[key]) for key, word in LISTS.items()]
    return [row for row in found if row[0] != "uncertain" or row[2]]


def decisions(campaign: Campaign, asked: Asked, streams: list[Stream], devices: list[Device]) -> dict[str, Any]:
    """What may be decided about this very list: nothing about one that is narrowed by what no selection knows."""
    if asked.figure not in ("failed", "uncertain") or asked.variant is not None or asked.hour or asked.replied:
        return {}
    device = next((one for one in devices if one.pk == asked.device), None)
    if not asked.reason:
        return {"unsettled": unsettled(campaign, streams, device)}
    return {"retry_reason": asked.reason if asked.figure == "failed" else "", "retry_device": device}


@require_GET
@workspace_role("viewer")
def recipient_page(request: WorkspaceRequest, message: int) -> HttpResponse:
    """Why one message was sent, or was not."""
    of_campaigns = Message.objects.for_workspace(request.workspace).filter(campaign__isnull=False)
    found = get_object_or_404(with_words(of_campaigns).select_related("campaign__workspace"), pk=message)
    device = Device.objects.select_related("workspace").with_shown_state().get(pk=found.stream.device_id)
    found.stream.device = device
    context = {
        "campaign": found.campaign,
        "message": found,
        "row": recipient(found, {}),
        "timeline": timeline_of(found),
    }
    return render(request, "campaigns/recipient.html", context)


@require_POST
@workspace_role("manager")
def recipient_export(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """The list as it is narrowed, as a CSV file. A POST, since the audit notes who took numbers out."""
    campaign = the_campaign(request, uuid)
    streams = streams_of([campaign])[campaign.pk]
    asked = asked_list(request.POST, devices_of(streams))
    narrowed = {name: request.POST[name] for name in NARROWING if request.POST.get(name)}
    people = length_of(campaign, asked, streams)
    record(request.workspace, request.user, "campaign.recipients_exported", campaign.target, people=people, **narrowed)
    return csv_answer(request, f"{campaign.name} - {LISTS[asked.figure].lower()}", HEAD, exported(campaign, asked))


def exported(campaign: Campaign, asked: Asked) -> Iterator[list[tuple[object, ...]]]:
    """Read while the file is sent, after the request's own transaction: each page has one of its own."""
    letters, after = dict(variant_letters(campaign)), ""
    while True:
        with tenant_scope(campaign.workspace):
            found = messages_behind(campaign, asked).select_related("contact", "stream__device")
            rows, after = page_of(found, after, EXPORTED_AT_ONCE)
            cells = [cells_of(message, campaign, letters) for message in rows]
        yield cells
        if not after:
            return


def cells_of(message: Message, campaign: Campaign, letters: dict[int, str]) -> tuple[object, ...]:
    zone = campaign.workspace.zone
    shown = shown_message(message)
    times = (message.attempted_at, message.sent_at, message.delivered_at, message.read_at, message.replied_at)
    return (
        message.phone,
        message.contact.name if message.contact else "",
        shown.word,
        shown.reason,
        "" if message.stream.is_nobodys else message.stream.device.name,
        letters.get(message.stream.variant, ""),
        message.attempts,
        *(clock(at, zone) for at in times),
        message.text,
    )
