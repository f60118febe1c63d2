"""The consent ledger as a page and as a file: who agreed, who withdrew, and how we know."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from accounts.access import WorkspaceRequest, workspace_role
from accounts.audit import record
from campaigns.models import ConsentEntry, ConsentKind, Contact
from campaigns.views.answers import is_fragment
from campaigns.views.csv_files import csv_answer
from campaigns.views.suppression import asked_number

PAGE = 50
COUNTED = 10_000


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
    context = {
        "rows": rows[:PAGE],
        "following": rows[PAGE - 1].pk if len(rows) > PAGE else None,
        "count": found.order_by()[:COUNTED].count(),
        "most": COUNTED,
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
    entries = ConsentEntry.objects.for_workspace(request.workspace).order_by("pk")
    record(request.workspace, request.user, "consent.exported", entries=entries.count())
    header = ["At", "Number", "Name", "What", "How", "Proof or reason", "Import", "By"]
    return csv_answer("consent ledger.csv", header, lines(entries))


def lines(entries: QuerySet[ConsentEntry]) -> Iterator[tuple[str, ...]]:
    words = dict(ConsentKind.choices)
    columns = entries.values_list(
        "at", "phone", "contact__name", "kind", "source", "proof", "contact_import__filename", "created_by__email"
    )
    for at, phone, name, kind, source, proof, filename, email in columns.iterator(chunk_size=2_000):
        when = timezone.localtime(at).isoformat(timespec="seconds")
        yield when, phone, name or "", str(words[kind]), source, proof, filename or "", email or ""
