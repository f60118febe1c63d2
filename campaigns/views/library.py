"""The media library: the grid, uploads, and what is done to a file; and the dialog that chooses one for a message."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.defaultfilters import filesizeformat
from django.utils.cache import get_conditional_response
from django.utils.http import quote_etag
from django.views.decorators.http import require_GET, require_POST

from accounts.access import WorkspaceRequest, workspace_role
from campaigns.actions.media import Needed, delete_media, keep_file, make_room, rename_media, set_kept
from campaigns.forms.message import FileForm
from campaigns.forms.templates import NameForm
from campaigns.library import Uses, files_of, page_of, room_of, uses_of
from campaigns.media import UnusableFile, thumbnail_of
from campaigns.media_store import take
from campaigns.models import Media, MediaKind
from campaigns.views.answers import is_fragment

AT_ONCE = 20  # files of one upload


def the_file(request: WorkspaceRequest, uuid: UUID) -> Media:
    own = Media.objects.for_workspace(request.workspace).select_related("workspace")
    found: Media = get_object_or_404(own, uuid=uuid, dropped_at=None)
    return found


@require_GET
@workspace_role("viewer")
def media_list(request: WorkspaceRequest) -> HttpResponse:
    search, kind = request.GET.get("q", ""), request.GET.get("kind", "")
    rows, following = page_of(files_of(request.workspace, search, kind), request.GET.get("before", ""))
    narrowed = bool(search.strip() or kind)
    context = {
        "rows": with_uses(request, rows),
        "following": following,
        "narrowed": narrowed,
        "any": bool(rows) or files_of(request.workspace).exists(),
        "kinds": MediaKind.choices,
        "form": FileForm(request.workspace, request.user),
        "most": AT_ONCE,
    }
    template = "_grid.html" if is_fragment(request) else "index.html"
    return render(request, f"campaigns/media/{template}", context)


@require_GET
@workspace_role("viewer")
def media_room(request: WorkspaceRequest) -> HttpResponse:
    """How much room the files take and would give back. By itself, for it looks at all that uses them."""
    return render(request, "campaigns/media/_room.html", {"room": room_of(request.workspace)})


def with_uses(request: WorkspaceRequest, files: list[Media]) -> list[tuple[Media, Uses]]:
    uses = uses_of(request.workspace, files)
    return [(file, uses.get(file.pk, Uses())) for file in files]


@require_POST
@workspace_role("manager")
def media_upload(request: WorkspaceRequest) -> HttpResponse:
    """Each file for itself: what cannot be kept is named with the reason, the others stay."""
    files: list[UploadedFile] = request.FILES.getlist("files")
    kept = []
    for file in files[:AT_ONCE]:
        try:
            kept.append(keep_file(request.workspace, request.user, file.name or "", file.size or 0, file, kept=True))
        except UnusableFile as problem:
            messages.error(request, f"{(file.name or 'A file')[:100]}: {problem}")
    if len(files) > AT_ONCE:
        messages.error(request, f"Only the first {AT_ONCE} files were taken. Upload the others after them.")
    if len(kept) == 1:
        messages.success(request, f"{kept[0].name} is in the library.")
    elif kept:
        messages.success(request, f"{len(kept)} files are in the library.")
    elif not files:
        messages.info(request, "Choose a file first.")
    return redirect("campaigns:media")


@require_POST
@workspace_role("manager")
def media_keep(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    media = the_file(request, uuid)
    set_kept(media, request.user, request.POST.get("kept") == "1")
    return card(request, media)


@require_POST
@workspace_role("manager")
def media_rename(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    media = the_file(request, uuid)
    form = NameForm(request.POST)
    if not form.is_valid():
        return card(request, media, "Give it a name.", status=422)
    try:
        rename_media(media, request.user, form.cleaned_data["name"])
    except UnusableFile as problem:
        return card(request, media, str(problem), status=422)
    return card(request, media)


def card(request: WorkspaceRequest, media: Media, problem: str = "", status: int = 200) -> HttpResponse:
    [(media, uses)] = with_uses(request, [media])
    context = {"media": media, "uses": uses, "problem": problem, "manages": True}
    return render(request, "campaigns/media/_media.html", context, status=status)


@require_POST
@workspace_role("manager")
def media_delete(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    media = the_file(request, uuid)
    try:
        if delete_media(media, request.user):
            messages.success(request, f"{media.name} was deleted, which frees {filesizeformat(media.size)}.")
    except Needed as needed:
        messages.error(request, f"{media.name} was not deleted. {needed}")
    return redirect("campaigns:media")


@require_POST
@workspace_role("manager")
def media_make_room(request: WorkspaceRequest) -> HttpResponse:
    files, size = make_room(request.workspace, request.user)
    if files:
        messages.success(
            request, f"{files:,} file{'' if files == 1 else 's'} let go, which frees {filesizeformat(size)}."
        )
    else:
        messages.info(request, "There was nothing to let go of.")
    return redirect("campaigns:media")


@require_GET
@workspace_role("manager")
def media_picker(request: WorkspaceRequest) -> HttpResponse:
    """What the dialog in a message's form shows: one page of the library, found by search and kind."""
    search, kind = request.GET.get("q", ""), request.GET.get("kind", "")
    files = files_of(request.workspace, search, kind)
    rows, following = page_of(files, request.GET.get("before", ""))
    context = {"rows": rows, "following": following, "kinds": MediaKind.choices, "narrowed": bool(search or kind)}
    return render(request, "campaigns/media/_picker.html", context)


@require_GET
@workspace_role("viewer")
def thumbnail(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """A small JPEG of a picture. It never changes, so browsers keep it."""
    media = the_file(request, uuid)
    if not media.is_image:
        raise Http404("Only pictures have one.")
    etag = quote_etag(f"small-{media.sha256}")
    answer = get_conditional_response(request, etag=etag)
    if answer is None:
        try:
            small = bytes(media.thumbnail) if media.thumbnail else thumbnail_of(take(media.pk))
        except OSError:
            raise Http404("It cannot be drawn.") from None
        answer = HttpResponse(small, content_type="image/jpeg", headers={"ETag": etag})
    answer.headers["Cache-Control"] = "private, max-age=86400"
    return answer
