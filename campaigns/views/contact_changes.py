"""Changing many contacts at once, and taking them out as a file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast
from uuid import UUID

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.http import HttpResponse, QueryDict, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_POST

from accounts.access import WorkspaceRequest, workspace_role
from campaigns.actions.contact_changes import selected, start_change
from campaigns.actions.exports import export_contacts
from campaigns.contact_files import ContactFile
from campaigns.contact_filters import Filters, uuid_or_nothing
from campaigns.fields import fields_of
from campaigns.forms.people import YES_OR_NO, ChangeForm, known_devices
from campaigns.models import ON_PEOPLE, ContactChange, ContactStatus, Deed, FieldKind, Tag
from campaigns.shown import counted
from campaigns.views.answers import is_fragment
from campaigns.views.contacts import the_filters

TICKED_MOST = 1_000
TAGS_OFFERED = 500
DONE = {
    Deed.TAG: "{people} got the tag “{name}”.",
    Deed.UNTAG: "The tag “{name}” was taken off {people}.",
    Deed.FIELD: "The field {name} of {people} was set.",
    Deed.STATUS: "The status of {people} was set.",
    Deed.DEVICE: "The number that {people} know was set.",
    Deed.DELETE: "{people} {were} deleted.",
}


@require_POST
@workspace_role("manager")
def contact_change(request: WorkspaceRequest) -> HttpResponse:
    """Asks before anything is changed, and says how many people it touches."""
    selection, filters = the_selection(request)
    if not selection.get("uuids", True):
        messages.info(request, "Tick the people first, or choose all of the list.")
        return redirect(back_to(filters))
    form = ChangeForm(initial={word: request.POST.get(word, "") for word in ("deed", "name", "value")}, **of(request))
    if form.initial["deed"] not in dict(ON_PEOPLE):
        messages.info(request, "Choose what to do with them.")
        return redirect(back_to(filters))
    return ask(request, form, selection, filters)


@require_POST
@workspace_role("manager")
def contact_change_start(request: WorkspaceRequest) -> HttpResponse:
    selection, filters = the_selection(request)
    form = ChangeForm(request.POST, **of(request))
    if not form.is_valid():
        if "deed" in form.errors:
            return redirect(back_to(filters))
        return ask(request, form, selection, filters)
    data = form.cleaned_data
    change = start_change(request.workspace, request.user, data["deed"], selection, data["name"], data["value"])
    if change.finished_at is None:
        return redirect("campaigns:contact_change_page", change.uuid)
    tell = messages.warning if change.error else messages.success
    tell(request, outcome(change))
    return redirect(back_to(filters))


@require_GET
@workspace_role("viewer")
def contact_change_page(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    changes = ContactChange.objects.for_workspace(request.workspace).select_related("created_by")
    change = get_object_or_404(changes, uuid=uuid)
    context = {"change": change, "outcome": outcome(change) if change.finished_at else ""}
    name = "_change.html" if is_fragment(request) else "change.html"
    return render(request, f"campaigns/contacts/{name}", context)


def of(request: WorkspaceRequest) -> dict[str, Any]:
    return {"workspace": request.workspace}


def the_selection(request: WorkspaceRequest) -> tuple[dict[str, Any], Filters]:
    """The ticked people, or everybody the list's filters let pass."""
    filters = the_filters(request, QueryDict(request.POST.get("query", "")))
    if request.POST.get("whom") == "all":
        return {"query": filters.asked}, filters
    ticked = [uuid_or_nothing(text) for text in request.POST.getlist("who")[:TICKED_MOST]]
    return {"uuids": [str(uuid) for uuid in ticked if uuid]}, filters


def back_to(filters: Filters) -> str:
    contacts = reverse("campaigns:contacts")
    return f"{contacts}?{urlencode(filters.asked)}" if filters else contacts


def ask(request: WorkspaceRequest, form: ChangeForm, selection: dict[str, Any], filters: Filters) -> HttpResponse:
    deed = Deed(form["deed"].value())
    fields = fields_of(request.workspace)
    kind = next((field.kind for field in fields if field.name == form["name"].value()), FieldKind.TEXT)
    people = selected(request.workspace, selection)
    whole_list = "query" in selection
    count = filters.contacts(0).count_lately(lambda: people) if whole_list else people.count()
    context = {
        "form": form,
        "deed": deed,
        "people": count,
        "lately": whole_list and people.of_many(request.workspace),
        "selection": selection,
        "query": urlencode(filters.asked),
        "chips": filters.chips() if whole_list else [],
        "back": back_to(filters),
        "tags": Tag.objects.for_workspace(request.workspace)[:TAGS_OFFERED],
        "fields": fields,
        "kind": kind,
        "devices": known_devices(request.workspace),
        "statuses": ContactStatus.choices,
        "yes_or_no": YES_OR_NO,
    }
    status = 422 if form.errors else 200
    return render(request, "campaigns/contacts/change_confirm.html", context, status=status)


def outcome(change: ContactChange) -> str:
    """What came of it, as a sentence or two."""
    if change.deed == Deed.MERGE:
        return outcome_of_merge(change)
    were = "was" if change.changed == 1 else "were"
    said = DONE[Deed(change.deed)].format(
        people=counted(change.changed, "person", "people"), name=change.name, were=were
    )
    if left := change.people - change.changed:
        said += f" {counted(left, 'other was', 'others were')} so already."
    return f"{change.error} {said}" if change.error else said


def outcome_of_merge(change: ContactChange) -> str:
    old, new = change.value, change.name
    if not change.error:
        had = f"{counted(change.people, 'person', 'people')} had it." if change.people else "Nobody had it."
        return f"“{old}” was joined to “{new}”. {had}"
    said = f"“{old}” was not merged into “{new}”: {change.error}."
    if change.changed:
        said += f" {counted(change.changed, 'person', 'people')} had got “{new}” by then; that stays."
    return said


@require_POST
@workspace_role("manager")
def contact_export(request: WorkspaceRequest) -> HttpResponse:
    """The people of the list as a CSV file, sent while it is read: a million rows are never held."""
    filters = the_filters(request, QueryDict(request.POST.get("query", "")))
    file = export_contacts(request.workspace, request.user, filters)
    answer = StreamingHttpResponse(sent(file), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="contacts {timezone.localdate():%Y-%m-%d}.csv"'
    return cast(HttpResponse, answer)


async def sent(file: ContactFile) -> AsyncIterator[bytes]:
    while part := await sync_to_async(file.read)():
        yield part
