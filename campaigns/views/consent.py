"""The consent ledger as a page and as a file: who agreed, who withdrew, and how we know."""

from __future__ import annotations

from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from accounts.access import WorkspaceRequest, workspace_role
from accounts.audit import record
from campaigns.models import ConsentEntry, ConsentKind, Contact
from campaigns.sheets import clock, csv_answer, pages_of
from campaigns.views.answers import is_fragment
from campaigns.views.suppression import asked_number

PAGE = 50
COUNTED = 10_000
HEAD = ("At", "Number", "Name", "What", "How", "Proof or reason", "Import", "By")
BY = Coalesce("created_by__email", "contact_import__created_by__email")
COLUMNS = ("at", "phone", "contact__name", "kind", "source", "proof", "contact_import__filename", "by")


@require_GET
@workspace_role("viewer")
def consent_ledger(request: WorkspaceRequest) -> HttpResponse:
    every: QuerySet[ConsentEntry] = ConsentEntry.objects.for_workspace(request.workspace)
    number, kind = asked_number(request), request.GET.get("kind", "")
    found = every.filter(kind=kind) if kind in ConsentKind else every
    if number != "":
        found = of_number(request, found, number) if number else found.none()
    before = request.GET.get("before", "")
    page = found.filter(pk__lt=int(before)) if before.isdecimal() and len(before) < 19 else found
    related = page.select_related("contact", "contact_import", "created_by")
    rows = list(related.order_by("-pk")[: PAGE + 1])
    narrowed = bool(number != "" or kind)
    count = found.order_by()[:COUNTED].count()
    context = {
        "rows": rows[:PAGE],
        "following": rows[PAGE - 1].pk if len(rows) > PAGE else None,
        "count": count,
        "many": count == COUNTED,
        "narrowed": narrowed,
        "any": bool(rows) or (narrowed and every.exists()),
        "kinds": ConsentKind.choices,
        "no_number": number is None,
    }
    template = "_ledger.html" if is_fragment(request) else "ledger.html"
    return render(request, f"campaigns/consent/{template}", context)


def of_number(request: WorkspaceRequest, entries: QuerySet[ConsentEntry], number: str) -> QuerySet[ConsentEntry]:
    """By the contact, and what was noted of the number while it was none: there is an index for each."""
    contact = Contact.objects.for_workspace(request.workspace).filter(phone=number).values_list("pk", flat=True).first()
    unknown = Q(contact=None, phone=number)
    return entries.filter(Q(contact=contact) | unknown if contact else unknown)


@require_POST
@workspace_role("manager")
def consent_export(request: WorkspaceRequest) -> HttpResponse:
    entries = ConsentEntry.objects.for_workspace(request.workspace)
    record(request.workspace, request.user, "consent.exported", entries=entries.count())
    zone = request.workspace.zone
    lines = (
        [(clock(at, zone), phone, name, ConsentKind(kind).label, *more) for at, phone, name, kind, *more in page]
        for page in pages_of(request.workspace, entries.annotate(by=BY), "pk", *COLUMNS)
    )
    return csv_answer(request, "consent ledger", HEAD, lines)
