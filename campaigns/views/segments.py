"""Segments: the list, the builder with its live count, saving and deleting."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import WorkspaceRequest, workspace_role
from campaigns.actions.segments import InUse, NameTaken, delete_segment, save_segment
from campaigns.forms.segments import NAME_LENGTH, Builder
from campaigns.models import Segment
from campaigns.querysets.search import FEW
from campaigns.segments import BadConditions, check, in_words, matching, members
from campaigns.views.contacts import COUNTED, the_filters

LISTED = 200
PREVIEWED = 5


def the_segment(request: WorkspaceRequest, uuid: UUID) -> Segment:
    segments = Segment.objects.for_workspace(request.workspace).select_related("workspace")
    return get_object_or_404(segments, uuid=uuid)


@require_GET
@workspace_role("viewer")
def segment_list(request: WorkspaceRequest) -> HttpResponse:
    segments = list(Segment.objects.for_workspace(request.workspace).select_related("created_by")[:LISTED])
    rows = [(segment, said(request, segment)) for segment in segments]
    return render(request, "campaigns/segments/index.html", {"rows": rows, "can_manage": request.role != "viewer"})


def said(request: WorkspaceRequest, segment: Segment) -> list[str]:
    """Its conditions in words; those that mean nothing any more are left out."""
    found = []
    for rule in segment.conditions.get("rules", []):
        try:
            found.append(in_words(request.workspace, rule))
        except BadConditions:
            continue
    return found


@require_GET
@workspace_role("viewer")
def segment_count(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """How many people are in it now: asked by the list after it stands."""
    segment = the_segment(request, uuid)
    try:
        count = members(segment).count_lately(lambda: members(segment, COUNTED))
    except BadConditions:
        count = None
    return render(request, "campaigns/segments/_count.html", {"segment": segment, "count": count})


@require_http_methods(["GET", "POST"])
@workspace_role("manager")
def segment_new(request: WorkspaceRequest) -> HttpResponse:
    """Begins with the conditions of the list of contacts, where one comes from there."""
    if request.method == "POST":
        return saved(request, Builder.posted(request.workspace, request.POST), None)
    rules = the_filters(request, request.GET).rules()
    rules = rules or [{"what": "tag", "is": "has", "value": ""}]
    return page(request, Builder(request.workspace, "", "all", rules), None)


@require_http_methods(["GET", "POST"])
@workspace_role("manager")
def segment(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    found = the_segment(request, uuid)
    if request.method == "POST":
        return saved(request, Builder.posted(request.workspace, request.POST), found)
    return page(request, Builder.of(found), found)


def saved(request: WorkspaceRequest, builder: Builder, segment: Segment | None) -> HttpResponse:
    if not builder.name or len(builder.name) > NAME_LENGTH:
        builder.name_error = f"Write a name of at most {NAME_LENGTH} characters."
    try:
        check(request.workspace, builder.conditions)
        if not builder.name_error:
            done = save_segment(request.workspace, request.user, builder.name, builder.conditions, segment)
            messages.success(request, f"The segment “{done.name}” was saved.")
            return redirect("campaigns:segments")
    except NameTaken:
        builder.name_error = "Another segment is called so."
    except BadConditions as problem:
        place(builder, problem)
    return page(request, builder, segment)


def place(builder: Builder, problem: BadConditions) -> None:
    """Beside the condition it is about."""
    if problem.rule is None:
        builder.error = str(problem)
    else:
        builder.rule_errors[problem.rule] = str(problem)


def page(request: WorkspaceRequest, builder: Builder, segment: Segment | None) -> HttpResponse:
    wrong = bool(builder.name_error or builder.error or builder.rule_errors)
    context = {"builder": builder, "segment": segment, **preview_of(request, builder)}
    return render(request, "campaigns/segments/builder.html", context, status=422 if wrong else 200)


def preview_of(request: WorkspaceRequest, builder: Builder) -> dict[str, Any]:
    """How many people the conditions describe so far, and the newest five of them."""
    try:
        check(request.workspace, builder.conditions)
    except BadConditions as problem:
        return {"unready": str(problem)}
    people = matching(request.workspace, builder.conditions)
    count = people.count_lately(lambda: matching(request.workspace, builder.conditions, most=COUNTED))
    newest = matching(request.workspace, builder.conditions, most=FEW).order_by("-pk")[:PREVIEWED]
    return {"count": count, "people": newest}


@require_POST
@workspace_role("manager")
def segment_rows(request: WorkspaceRequest) -> HttpResponse:
    """The conditions as the form has them, with one more or one less. Saves nothing."""
    builder = Builder.posted(request.workspace, request.POST)
    context = {"builder": builder, **preview_of(request, builder)}
    return render(request, "campaigns/segments/_rows.html", context)


@require_POST
@workspace_role("manager")
def segment_preview(request: WorkspaceRequest) -> HttpResponse:
    """Whom the conditions of the form describe. Saves nothing."""
    builder = Builder.posted(request.workspace, request.POST)
    return render(request, "campaigns/segments/_preview.html", preview_of(request, builder))


@require_POST
@workspace_role("manager")
def segment_delete(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    segment = the_segment(request, uuid)
    try:
        delete_segment(segment, request.user)
        messages.success(request, f"The segment “{segment.name}” was deleted. Its people stay.")
    except InUse as users:
        messages.warning(request, f"“{segment.name}” stays: {users} addresses it.")
    return redirect("campaigns:segments")
