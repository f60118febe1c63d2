"""The files of messages: uploading one while a campaign is written, and looking at one."""

from __future__ import annotations

import tempfile
from typing import IO, cast
from uuid import UUID

from django.http import FileResponse, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.cache import get_conditional_response
from django.utils.http import quote_etag
from django.views.decorators.http import require_GET, require_POST
from django_htmx.http import trigger_client_event

from accounts.access import WorkspaceRequest, workspace_role
from campaigns.forms.message import FileForm
from campaigns.media_store import PIECE, pieces
from campaigns.models import Media


@require_POST
@workspace_role("manager")
def upload(request: WorkspaceRequest) -> HttpResponse:
    """The field of the form with the file in it, or with why it cannot be; without a file the empty field."""
    form = FileForm(request.workspace, request.user, request.POST, request.FILES)
    status = 200 if form.is_valid() else 422
    answer = render(request, "campaigns/_file_field.html", {"form": form}, status=status)
    return trigger_client_event(answer, "file-chosen", after="settle")


@require_GET
@workspace_role("viewer")
def show(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """The file itself, for members. Only pictures are shown in place: those were drawn anew, here."""
    media = get_object_or_404(Media.objects.for_workspace(request.workspace), uuid=uuid, dropped_at=None)
    etag = quote_etag(media.sha256)
    answer = get_conditional_response(request, etag=etag)
    if answer is None:
        # On disk and finished here: a response streams after the transaction that may see the row.
        file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=PIECE)  # noqa: SIM115
        for piece in pieces(media.pk):
            file.write(piece)
        file.seek(0)
        sent = FileResponse(file, as_attachment=not media.is_image, filename=media.name, content_type=media.mime)
        answer = cast(HttpResponse, sent)
        answer.headers["ETag"] = etag
    answer.headers["Cache-Control"] = "private, no-cache"  # kept by the browser, and asked about each time
    return answer
