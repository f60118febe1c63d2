"""Looking at contacts, and the few things done to one of them."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.contrib import messages
from django.core.cache import cache
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import WorkspaceRequest, workspace_role
from campaigns.actions.contacts import add_contact
from campaigns.actions.suppression import suppress, suppressed_everywhere, suppression_of
from campaigns.forms.contacts import ContactForm, ReasonForm
from campaigns.models import Contact, ContactImport, Suppression, SuppressionSource, Tag
from campaigns.numbers import absent_among, check_of, on_whatsapp, unchecked
from campaigns.querysets.contacts import ContactQuerySet
from campaigns.shown import shown_message
from campaigns.views.answers import is_fragment
from campaigns.views.suppression import ask_again

PAGE = 50
COUNTED = 10_000
MESSAGES = 50
TAGS_OFFERED = 200
OPTED_OUT_BY: dict[str, str] = {
    SuppressionSource.REPLY: "They answered with a request to stop.",
    SuppressionSource.PERSON: "A member of this workspace noted it.",
    SuppressionSource.IMPORT: "It came with an import.",
    SuppressionSource.LINK: "They chose it on the page behind their opt-out link.",
}
BY_STAFF = "The staff of this installation took the number off for all workspaces."


def the_contact(request: WorkspaceRequest, uuid: UUID) -> Contact:
    contacts = Contact.objects.for_workspace(request.workspace).select_related("workspace", "consent_import")
    return get_object_or_404(contacts, uuid=uuid)


@require_GET
@workspace_role("viewer")
def contact_list(request: WorkspaceRequest) -> HttpResponse:
    every = Contact.objects.for_workspace(request.workspace)
    source = the_source(request)
    found = filtered(request, every, source)
    before = request.GET.get("before", "")
    page = found.filter(pk__lt=int(before)) if before.isdecimal() and len(before) < 19 else found
    rows = list(page.order_by("-pk").prefetch_related("tag_links__tag")[: PAGE + 1])
    narrowed = any(request.GET.get(key) for key in ("q", "tag", "consent", "whatsapp", "import"))
    if len(rows) <= PAGE and page is found:
        count = len(rows)
    else:
        count = found.count_up_to(COUNTED) if narrowed else total(request, every)
    context = {
        "rows": rows[:PAGE],
        "absent": absent_among(rows[:PAGE]),
        "following": rows[PAGE - 1].pk if len(rows) > PAGE else None,
        "count": count,
        "many": narrowed and count == COUNTED,
        "narrowed": narrowed,
        "any": bool(rows) or (narrowed and every.exists()),
        "tags": Tag.objects.for_workspace(request.workspace)[:TAGS_OFFERED],
        "source": source,
    }
    template = "_list.html" if is_fragment(request) else "index.html"
    return render(request, f"campaigns/contacts/{template}", context)


def total(request: WorkspaceRequest, contacts: ContactQuerySet) -> int:
    """Exact; beyond COUNTED as it was at most half a minute ago, for counting a million takes 0.1 s."""
    count = contacts.count_up_to(COUNTED)
    if count < COUNTED:
        return count
    return int(cache.get_or_set(f"contacts:{request.workspace.pk}", contacts.count, 30) or count)


def the_source(request: WorkspaceRequest) -> ContactImport | None:
    """The import of `?import=`; a foreign or malformed one is not found."""
    asked = request.GET.get("import", "")
    if not asked:
        return None
    imports = ContactImport.objects.for_workspace(request.workspace)
    return get_object_or_404(imports, uuid=uuid_or_nothing(asked))


def uuid_or_nothing(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def filtered(request: WorkspaceRequest, contacts: ContactQuerySet, source: ContactImport | None) -> ContactQuerySet:
    if search := request.GET.get("q", "").strip().replace("\0", "")[:100]:
        contacts = contacts.matching(search, request.workspace.default_country)
    if name := request.GET.get("tag", "").replace("\0", ""):
        tag = Tag.objects.for_workspace(request.workspace).filter(name=name).first()
        contacts = contacts.tagged(tag.pk) if tag else contacts.none()
    if source:
        contacts = contacts.filter(consent_import=source)
    match request.GET.get("whatsapp"):
        case "yes":
            contacts = on_whatsapp(contacts, True)
        case "no":
            contacts = on_whatsapp(contacts, False)
        case "unknown":
            contacts = unchecked(contacts)
    match request.GET.get("consent"):
        case "agreed":
            return contacts.agreeing()
        case "opted-out":
            return contacts.opted_out()
    return contacts


@require_GET
@workspace_role("viewer")
def contact_page(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    return render_contact(request, the_contact(request, uuid))


def render_contact(
    request: WorkspaceRequest, contact: Contact, form: ReasonForm | None = None, status: int = 200
) -> HttpResponse:
    history = (
        contact.messages.select_related("campaign", "stream__device", "content")
        .prefetch_related("content__media")
        .order_by("-pk")[: MESSAGES + 1]
    )
    replies = contact.replies.select_related("device", "message__campaign").order_by("-pk")[: MESSAGES + 1]
    context = {
        "contact": contact,
        "opted_out": opt_out_of(contact),
        "check": check_of(contact),
        "tags": [link.tag for link in contact.tag_links.select_related("tag").order_by("tag__name")],
        "fields": sorted(contact.fields.items()),
        "history": [(message, shown_message(message)) for message in history[:MESSAGES]],
        "more": len(history) > MESSAGES,
        "replies": replies[:MESSAGES],
        "more_replies": len(replies) > MESSAGES,
        "form": form or ReasonForm(),
        "can_manage": request.role.covers("manager"),
    }
    return render(request, "campaigns/contacts/contact.html", context, status=status)


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
