"""Importing contacts: the upload, what the columns hold, the import as it runs, and its rejected rows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import WorkspaceRequest, workspace_role
from campaigns.actions.imports import (
    UNFINISHED_MOST,
    TooManyImports,
    choose_sheet,
    discard_upload,
    import_for_real,
    layout_of,
    start_import,
    stop_import,
    undo_import,
    upload_file,
)
from campaigns.forms.imports import MappingForm, UploadForm
from campaigns.import_live import live_context, shown_import, topic
from campaigns.imports.reader import UnreadableFile
from campaigns.models import ContactImport, CustomField, ImportState
from campaigns.sheets import Cells, csv_answer, pages_of
from campaigns.views.answers import is_fragment

PAGE = 25


def the_import(request: WorkspaceRequest, uuid: UUID) -> ContactImport:
    imports = ContactImport.objects.for_workspace(request.workspace).select_related("workspace", "created_by")
    return get_object_or_404(imports, uuid=uuid)


@require_GET
@workspace_role("viewer")
def import_list(request: WorkspaceRequest) -> HttpResponse:
    imports = ContactImport.objects.for_workspace(request.workspace).select_related("created_by").order_by("-pk")
    page = Paginator(imports, PAGE).get_page(request.GET.get("page"))
    rows = [(contact_import, shown_import(contact_import)) for contact_import in page]
    return render(request, "campaigns/imports/index.html", {"page": page, "rows": rows})


@require_http_methods(["GET", "POST"])
@workspace_role("manager")
def import_upload(request: WorkspaceRequest) -> HttpResponse:
    form = UploadForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        file = form.cleaned_data["file"]
        try:
            upload = upload_file(request.workspace, request.user, PurePath(file.name).name, file)
        except UnreadableFile as problem:
            form.add_error("file", str(problem))
        except TooManyImports:
            form.add_error(None, f"{UNFINISHED_MOST} imports wait or run already. Let one of them end first.")
        else:
            return redirect("campaigns:import", upload.uuid)
    status = 422 if request.method == "POST" else 200
    context = {"form": form, "most_mb": settings.IMPORT_MAX_BYTES >> 20}
    return render(request, "campaigns/imports/upload.html", context, status=status)


@require_GET
@workspace_role("viewer")
def import_page(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    contact_import = the_import(request, uuid)
    if is_fragment(request):
        return render(request, "campaigns/imports/_import.html", live_context(contact_import))
    if contact_import.wants_sheet and request.role.covers("manager"):
        return render(request, "campaigns/imports/sheet.html", {"contact_import": contact_import})
    if contact_import.state == ImportState.UPLOADED and request.role.covers("manager"):
        form = mapping_form(contact_import)
        return render(request, "campaigns/imports/mapping.html", {"contact_import": contact_import, "form": form})
    context = live_context(contact_import) | {"topic": topic(contact_import)}
    return render(request, "campaigns/imports/import.html", context)


@require_POST
@workspace_role("manager")
def import_start(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    contact_import = the_import(request, uuid)
    if contact_import.state != ImportState.UPLOADED or contact_import.wants_sheet:
        return redirect("campaigns:import", uuid)
    form = mapping_form(contact_import, request.POST)
    if not form.is_valid():
        context = {"contact_import": contact_import, "form": form}
        return render(request, "campaigns/imports/mapping.html", context, status=422)
    start_import(
        contact_import,
        request.user,
        columns=form.columns,
        header=form.cleaned_data["header"],
        country=form.cleaned_data["country"],
        tags=form.cleaned_data["tags"],
        consent_source=form.consent_source,
        consent_proof=form.cleaned_data["consent_proof"],
        policy=form.cleaned_data["policy"],
        dry_run="dry_run" in request.POST,
    )
    return redirect("campaigns:import", uuid)


def mapping_form(contact_import: ContactImport, data: QueryDict | None = None) -> MappingForm:
    kinds = dict(CustomField.objects.for_workspace(contact_import.workspace).values_list("name", "kind"))
    return MappingForm(data, layout=layout_of(contact_import), country=contact_import.country, kinds=kinds)


@require_POST
@workspace_role("manager")
def import_sheet(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """Which sheet of a workbook is meant."""
    contact_import = the_import(request, uuid)
    if not choose_sheet(contact_import, request.POST.get("sheet", "")) and contact_import.wants_sheet:
        context = {"contact_import": contact_import, "error": "Choose one of the sheets."}
        return render(request, "campaigns/imports/sheet.html", context, status=422)
    return redirect("campaigns:import", uuid)


@require_POST
@workspace_role("manager")
def import_real(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """Import what a dry run has read."""
    contact_import = the_import(request, uuid)
    if not import_for_real(contact_import, request.user) and contact_import.dry_run and not contact_import.is_working:
        messages.info(request, "The rows of this dry run are no longer kept. Upload the file again.")
    return as_it_is_now(request, contact_import)


@require_POST
@workspace_role("manager")
def import_undo(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """Remove the new contacts of an import that nothing has happened to since."""
    contact_import = the_import(request, uuid)
    undo_import(contact_import, request.user)
    return as_it_is_now(request, contact_import)


def as_it_is_now(request: WorkspaceRequest, contact_import: ContactImport) -> HttpResponse:
    if not is_fragment(request):
        return redirect("campaigns:import", contact_import.uuid)
    contact_import.refresh_from_db()
    return render(request, "campaigns/imports/_import.html", live_context(contact_import))


@require_POST
@workspace_role("manager")
def import_stop(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    contact_import = the_import(request, uuid)
    stop_import(contact_import, request.user)
    return as_it_is_now(request, contact_import)


@require_POST
@workspace_role("manager")
def import_discard(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    contact_import = the_import(request, uuid)
    if not discard_upload(contact_import, request.user):
        messages.info(request, "This import has started, so it stays in the history.")
        return redirect("campaigns:import", uuid)
    messages.success(request, f"{contact_import.filename} was discarded.")
    return redirect("campaigns:imports")


@require_GET
@workspace_role("viewer")
def import_rejects(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """The rejected rows as they stood in the file, with line and reason: to be repaired and uploaded again."""
    contact_import = the_import(request, uuid)
    header = ["Line", "Reason", *contact_import.mapping.get("names", [])]
    pages = pages_of(contact_import.workspace, contact_import.rejects.all(), "row", "line", "reason", "cells")
    whole = ([(line, reason, *cells) for line, reason, cells in page] for page in pages)
    return csv_file(request, contact_import, "rejected rows", header, whole)


@require_GET
@workspace_role("viewer")
def import_kept_out(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """The people of the file who had opted out, whom the import did not opt in again."""
    contact_import = the_import(request, uuid)
    pages = pages_of(contact_import.workspace, contact_import.kept_out_rows, "phone", "phone", "name")
    return csv_file(request, contact_import, "kept opted out", ["Phone", "Name"], pages)


def csv_file(
    request: WorkspaceRequest,
    contact_import: ContactImport,
    what: str,
    header: Cells,
    pages: Iterable[Iterable[Cells]],
) -> HttpResponse:
    """Delimited as the file of the import was."""
    name = f"{PurePath(contact_import.filename).stem} - {what}"
    return csv_answer(request, name, header, pages, contact_import.delimiter or ",")
