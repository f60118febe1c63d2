"""Looking at contacts, and the few things done to one of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import WorkspaceRequest, workspace_role
from campaigns.actions.contacts import add_contact, edit_contact
from campaigns.actions.suppression import suppress, suppressed_everywhere, suppression_of
from campaigns.contact_filters import REPLIES, Filters, NotThere
from campaigns.contact_pages import Place, page_of
from campaigns.contact_timeline import timeline
from campaigns.fields import fields_of
from campaigns.forms.contacts import ContactForm, ReasonForm
from campaigns.forms.people import EditForm, known_devices
from campaigns.models import ON_PEOPLE, Contact, ContactStatus, FieldKind, Segment, Suppression, SuppressionSource, Tag
from campaigns.numbers import absent_among, check_of
from campaigns.segments import WORDS
from campaigns.views.answers import is_fragment
from campaigns.views.suppression import ask_again

PAGE = 50
COUNTED = 10_000
OFFERED = 200
OPTED_OUT_BY: dict[str, str] = {
    SuppressionSource.REPLY: "They replied with a request to stop.",
    SuppressionSource.PERSON: "A member of this workspace noted it.",
    SuppressionSource.IMPORT: "It came with an import.",
    SuppressionSource.LINK: "They chose it on the page behind their opt-out link.",
}
BY_STAFF = "The staff of this installation took the number off for all workspaces."


def the_contact(request: WorkspaceRequest, uuid: UUID) -> Contact:
    related = ("workspace", "consent_import", "device")
    contacts = Contact.objects.for_workspace(request.workspace).select_related(*related)
    return get_object_or_404(contacts, uuid=uuid)


def the_filters(request: WorkspaceRequest, query: Mapping[str, Any]) -> Filters:
    """A foreign or malformed segment or import is not found."""
    try:
        return Filters(request.workspace, query)
    except NotThere:
        raise Http404 from None


@require_GET
@workspace_role("viewer")
def contact_list(request: WorkspaceRequest) -> HttpResponse:
    """With ``further`` in its address: on from that place, and to htmx only what belongs to the page that stands."""
    filters = the_filters(request, request.GET)
    if "count" in request.GET:
        people = filters.contacts(0).count_up_to_lately(COUNTED, lambda: filters.contacts(COUNTED))
        return render(request, "campaigns/contacts/_count.html", {"count": people, "many": people == COUNTED})
    every = Contact.objects.for_workspace(request.workspace)
    before, place = request.GET.get("before", ""), Place.read(request.GET.get("further", ""))
    goes_on = place is not None and is_fragment(request)
    large = bool(filters) and every.of_many(request.workspace)
    size = max(PAGE - place.fit, 0) if place and goes_on else PAGE
    last = int(before) if before.isdecimal() and len(before) < 19 else None
    page = page_of(filters, size, last, place, large)
    # What no index counts is counted once the page stands, where there are so many that it takes long.
    count = page.fit if last is None and page.is_end else None if large else count_of(filters)
    context = {
        "page": page,
        "place": place,
        "filters": filters,
        "count": count,
        "many": bool(filters) and count == COUNTED,
        "absent": absent_among(page.rows),
        "deeds": ON_PEOPLE,
        "can_manage": request.role.covers("manager"),
    }
    if is_fragment(request):
        return render(request, f"campaigns/contacts/{'_further' if goes_on else '_list'}.html", context)
    context["any"] = bool(page.rows) or (bool(filters) and every.exists())
    return render(request, "campaigns/contacts/index.html", context | offered(request))


def offered(request: WorkspaceRequest) -> dict[str, Any]:
    """What the filters of the list can be set to."""
    return {
        "tags": Tag.objects.for_workspace(request.workspace)[:OFFERED],
        "segments": Segment.objects.for_workspace(request.workspace)[:OFFERED],
        "devices": known_devices(request.workspace),
        "statuses": ContactStatus.choices,
        "replies": REPLIES.items(),
        "fields": fields_of(request.workspace),
        "comparisons": {key: words for kind in FieldKind for key, words in WORDS[kind].items()}.items(),
    }


def count_of(filters: Filters) -> int:
    """Up to COUNTED of those who pass. Of all contacts exact; beyond COUNTED as it was at most half a minute ago, for
    counting a million takes 0.1 s."""
    people = filters.contacts()
    count = people.count_up_to(COUNTED)
    return count if filters or count < COUNTED else people.count_lately()


@require_GET
@workspace_role("viewer")
def contact_page(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    contact = the_contact(request, uuid)
    if is_fragment(request):
        entries, older = timeline(contact, request.GET.get("before", ""))
        return render(request, "campaigns/contacts/_entries.html", {"entries": entries, "older": older})
    return render_contact(request, contact)


def render_contact(
    request: WorkspaceRequest, contact: Contact, form: ReasonForm | None = None, status: int = 200
) -> HttpResponse:
    entries, older = timeline(contact, request.GET.get("before", ""))
    context = {
        "contact": contact,
        "opted_out": opt_out_of(contact),
        "check": check_of(contact),
        "tags": [link.tag for link in contact.tag_links.select_related("tag").order_by("tag__name")],
        "fields": sorted((name, value) for name, value in contact.fields.items() if value not in ("", None)),
        "entries": entries,
        "older": older,
        "form": form or ReasonForm(),
        "can_manage": request.role.covers("manager"),
    }
    return render(request, "campaigns/contacts/contact.html", context, status=status)


@require_http_methods(["GET", "POST"])
@workspace_role("manager")
def contact_edit(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    contact = the_contact(request, uuid)
    form = EditForm(request.POST or None, contact=contact)
    if request.method != "POST" or not form.is_valid():
        status = 422 if form.is_bound else 200
        return render(request, "campaigns/contacts/edit.html", {"contact": contact, "form": form}, status=status)
    changed = edit_contact(
        contact,
        request.user,
        name=form.cleaned_data["name"],
        status=form.cleaned_data["status"],
        tags=form.cleaned_data["tags"],
        device=form.device_chosen(),
        timezone=form.cleaned_data["timezone"],
        fields=form.values(),
    )
    messages.success(request, "Saved." if changed else "Nothing was changed.")
    return redirect("campaigns:contact", contact.uuid)


class OptOut(NamedTuple):
    """When somebody opted out, and how we know."""

    at: datetime
    how: str
    reason: str
    by_staff: bool = False


def opt_out_of(contact: Contact) -> OptOut | None:
    """The list of suppressed numbers has the say; the contact's own mark repeats it."""
    if everywhere := suppressed_everywhere(contact.phone):
        return OptOut(everywhere.created_at, BY_STAFF, "", by_staff=True)
    if suppression := suppression_of(contact.workspace, contact.phone):
        how = OPTED_OUT_BY[suppression.source]
        return OptOut(suppression.created_at, how, contact.opted_out_reason or suppression.reason)
    if contact.opted_out_at:
        return OptOut(contact.opted_out_at, OPTED_OUT_BY[SuppressionSource.PERSON], contact.opted_out_reason)
    return None


@require_http_methods(["GET", "POST"])
@workspace_role("manager")
def contact_add(request: WorkspaceRequest) -> HttpResponse:
    form = ContactForm(request.POST or None, workspace=request.workspace)
    if request.method != "POST" or not form.is_valid():
        status = 422 if form.is_bound else 200
        return render(request, "campaigns/contacts/add.html", {"form": form}, status=status)
    contact, created = add_contact(
        request.workspace,
        request.user,
        phone=form.cleaned_data["phone"],
        name=form.cleaned_data["name"],
        tags=form.cleaned_data["tags"],
        consent_source=form.consent_source,
    )
    if created and contact.opted_out_at:
        messages.warning(request, f"{contact} was added. This number has opted out: nothing is sent to it.")
    elif created:
        messages.success(request, f"{contact} was added.")
    else:
        messages.info(request, f"{contact.phone} is in your contacts already. Nothing was changed.")
    return redirect("campaigns:contact", contact.uuid)


@require_POST
@workspace_role("manager")
def contact_opt_out(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    contact = the_contact(request, uuid)
    form = ReasonForm(request.POST)
    if not form.is_valid():
        return render_contact(request, contact, form, status=422)
    reason = form.cleaned_data["reason"]
    if suppress(request.workspace, contact.phone, SuppressionSource.PERSON, reason, request.user):
        messages.success(request, f"{contact} opted out. Nothing is sent to this number any more.")
    else:
        messages.info(request, f"{contact} had opted out before.")
    return redirect("campaigns:contact", contact.uuid)


@require_http_methods(["GET", "POST"])
@workspace_role("manager")
def contact_opt_in(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    contact = the_contact(request, uuid)
    suppression = suppression_of(request.workspace, contact.phone)
    if suppression is None:  # the contact's own mark, from before there was the list
        if contact.opted_out_at is None:
            return redirect("campaigns:contact", uuid)
        suppression = Suppression(workspace=request.workspace, phone=contact.phone, source=SuppressionSource.PERSON)
        suppression.reason, suppression.created_at = contact.opted_out_reason, contact.opted_out_at
    return ask_again(request, suppression, "campaigns:contact", uuid)
