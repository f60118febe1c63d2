"""The files of messages: uploading one while a campaign is written, and looking at one."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.cache import get_conditional_response
from django.utils.http import content_disposition_header, quote_etag
from django.views.decorators.http import require_GET, require_POST
from django_htmx.http import trigger_client_event

from accounts.access import WorkspaceRequest, workspace_role
from accounts.models import Workspace
from accounts.tenancy import tenant_scope
from campaigns.forms.message import FileForm
from campaigns.media_store import piece_at
from campaigns.models import Media
from campaigns.streamed import streamed


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
        answer = streamed(request, pieces_of(request.workspace, media), media.mime)
        answer.headers["Content-Length"] = str(media.size)
        if disposition := content_disposition_header(not media.is_image, media.name):
            answer.headers["Content-Disposition"] = disposition
        answer.headers["ETag"] = etag
    answer.headers["Cache-Control"] = "private, no-cache"  # kept by the browser, and asked about each time
    return answer


def pieces_of(workspace: Workspace, media: Media) -> Iterator[bytes]:
    """Each in a transaction of its own. A file that is deleted meanwhile breaks off."""
    offset = 0
    while offset < media.size:
        with tenant_scope(workspace):
            piece = piece_at(media.pk, offset)
        if not piece:
            return
        yield piece
        offset += len(piece)
