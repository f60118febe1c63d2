"""The numbers this workspace must not write to: the list, what is added to it and what is taken off."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import WorkspaceRequest, workspace_role
from accounts.audit import record
from accounts.phones import BadPhone, to_e164
from campaigns.actions.suppression import suppress_many, unsuppress, wrote_again
from campaigns.forms.suppression import AgreedAgainForm, NumbersForm
from campaigns.imports.numbers import BadLine
from campaigns.models import Contact, GlobalSuppression, Suppression, SuppressionSource
from campaigns.sheets import clock, csv_answer, pages_of
from campaigns.shown import counted
from campaigns.views.answers import is_fragment

PAGE = 50
COUNTED = 10_000
BAD_SHOWN = 200
EVERYWHERE = "everywhere"
OWN_DEEDS = (SuppressionSource.REPLY, SuppressionSource.LINK)


def asked_number(request: WorkspaceRequest) -> str | None:
    """The number (E.164) that `?q=` asks for; empty: none is asked for; None: it is no whole number."""
    asked = request.GET.get("q", "").replace("\0", "").strip()[:60]
    try:
        return to_e164(asked, request.workspace.default_country) if asked else ""
    except BadPhone:
        return None


@require_GET
@workspace_role("viewer")
def suppression_list(request: WorkspaceRequest) -> HttpResponse:
    number, source = asked_number(request), request.GET.get("source", "")
    every = Suppression.objects.for_workspace(request.workspace)
    everywhere = suppressed_by_staff(request)
    found: QuerySet = everywhere if source == EVERYWHERE else every
    if source in SuppressionSource:
        found = found.filter(source=source)
    if number != "":
        found = found.filter(phone=number) if number else found.none()
    before = request.GET.get("before", "")
    page = found.filter(pk__lt=int(before)) if before.isdecimal() and len(before) < 19 else found
    related = page if source == EVERYWHERE else page.select_related("created_by")
    rows = list(related.order_by("-pk")[: PAGE + 1])
    narrowed = bool(number != "" or source)
    count = found.order_by()[:COUNTED].count()
    context = {
        "rows": with_names(request, rows[:PAGE]),
        "following": rows[PAGE - 1].pk if len(rows) > PAGE else None,
        "count": count,
        "many": count == COUNTED,
        "most": COUNTED,
        "narrowed": narrowed,
        "any": bool(rows) or (narrowed and every.exists()),
        "sources": SuppressionSource.choices,
        "everywhere": source == EVERYWHERE,
        "by_staff": everywhere.order_by()[:COUNTED].count(),
        "no_number": number is None,
    }
    template = "_list.html" if is_fragment(request) else "index.html"
    return render(request, f"campaigns/suppression/{template}", context)


def suppressed_by_staff(request: WorkspaceRequest) -> QuerySet[GlobalSuppression]:
    """Of the numbers that staff took off for all workspaces, those that are contacts here."""
    here = Contact.objects.for_workspace(request.workspace).filter(phone=OuterRef("phone"))
    return GlobalSuppression.objects.filter(Exists(here))


def with_names(
    request: WorkspaceRequest, rows: list[Suppression | GlobalSuppression]
) -> list[tuple[Suppression | GlobalSuppression, Contact | None]]:
    """Each with the contact that has its number, if one has."""
    people = Contact.objects.for_workspace(request.workspace).filter(phone__in=[row.phone for row in rows])
    known = {contact.phone: contact for contact in people.only("uuid", "phone", "name")}
    return [(row, known.get(row.phone)) for row in rows]


@require_http_methods(["GET", "POST"])
@workspace_role("manager")
def suppression_add(request: WorkspaceRequest) -> HttpResponse:
    """Good lines are saved at once; bad ones stay in the field, each with what is wrong."""
    form = NumbersForm(request.POST or None, request.FILES or None, workspace=request.workspace)
    if request.method != "POST" or not form.is_valid():
        return add_page(request, form, status=422 if form.is_bound else 200)
    phones, bad = list(form.numbers.phones), form.numbers.bad
    done = suppress_many(request.workspace, phones, form.cleaned_data["reason"], request.user)
    said = f"{counted(done.new, 'number was', 'numbers were')} added."
    if known := len(phones) - done.new:
        said += f" {counted(known, 'was', 'were')} on the list before."
    if not bad:
        messages.success(request, said)
        return redirect("campaigns:suppression")
    left = {"text": "\n".join(line.text for line in bad), "reason": form.cleaned_data["reason"]}
    return add_page(request, NumbersForm(initial=left, workspace=request.workspace), bad, said, status=422)


def add_page(
    request: WorkspaceRequest, form: NumbersForm, bad: list[BadLine] | None = None, said: str = "", status: int = 200
) -> HttpResponse:
    bad = bad or []
    context = {"form": form, "bad": bad[:BAD_SHOWN], "bad_count": len(bad), "said": said}
    return render(request, "campaigns/suppression/add.html", context, status=status)


@require_http_methods(["GET", "POST"])
@workspace_role("manager")
def suppression_remove(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    found = Suppression.objects.for_workspace(request.workspace).select_related("workspace", "created_by")
    return ask_again(request, get_object_or_404(found, uuid=uuid), "campaigns:suppression")


def ask_again(request: WorkspaceRequest, suppression: Suppression, back: str, *args: UUID) -> HttpResponse:
    """Why may they be written to again, and how did they agree? Then it is so."""
    again = wrote_again(suppression)
    own_deed = suppression.source in OWN_DEEDS
    form = AgreedAgainForm(request.POST or None, own_deed=own_deed, wrote_again=again)
    if request.method == "POST" and form.is_valid():
        reason, source = form.cleaned_data["reason"], form.consent_source
        if unsuppress(request.workspace, suppression.phone, reason, request.user, consent_source=source):
            messages.success(request, f"{suppression.phone} may be written to again.")
        return redirect(back, *args)
    [(_, contact)] = with_names(request, [suppression])
    context = {
        "form": form,
        "suppression": suppression,
        "contact": contact,
        "again": again,
        "own_deed": own_deed,
        "back": back,
        "back_to": args,
    }
    return render(request, "campaigns/suppression/remove.html", context, status=422 if form.is_bound else 200)


@require_POST
@workspace_role("manager")
def suppression_export(request: WorkspaceRequest) -> HttpResponse:
    rows = Suppression.objects.for_workspace(request.workspace)
    record(request.workspace, request.user, "suppression.exported", numbers=rows.count())
    words, zone = dict(SuppressionSource.choices), request.workspace.zone
    header = ["Number", "How we know", "Reason", "By", "At"]
    lines = (
        [(phone, words[source], reason, email, clock(at, zone)) for phone, source, reason, email, at in page]
        for page in pages_of(
            request.workspace, rows, "pk", "phone", "source", "reason", "created_by__email", "created_at"
        )
    )
    return csv_answer(request, "suppressed numbers", header, lines)
