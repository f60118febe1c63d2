"""The pages of tags and of custom fields."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import WorkspaceRequest, workspace_role
from campaigns.actions import in_steps
from campaigns.actions.contact_changes import start_merge
from campaigns.actions.merging import Gone, hindrance
from campaigns.actions.segments import InUse, NameTaken
from campaigns.actions.tags import delete_field, delete_tag, rename_tag, save_field
from campaigns.fields import fields_of
from campaigns.forms.people import FieldForm, MergeForm, TagForm
from campaigns.models import CustomField, FieldKind, Tag
from campaigns.shown import counted
from campaigns.uses import COUNTED, use_of_tag, uses_of_fields, uses_of_tags
from campaigns.views.contact_changes import outcome

PAGE = 50
OFFERED = 500  # names of tags while somebody types


def the_tag(request: WorkspaceRequest) -> Tag | None:
    """The one named in the form, unless it is gone or never was here."""
    name = (request.POST or request.GET).get("tag", "").replace("\0", "")
    return Tag.objects.for_workspace(request.workspace).select_related("workspace").filter(name=name).first()


def gone(request: WorkspaceRequest, page: str) -> HttpResponse:
    messages.info(request, "It is gone: somebody may have removed it.")
    return redirect(page)


@require_GET
@workspace_role("viewer")
def tag_list(request: WorkspaceRequest) -> HttpResponse:
    return render_tags(request)


def render_tags(request: WorkspaceRequest, renaming: Tag | None = None, form: TagForm | None = None) -> HttpResponse:
    tags = Tag.objects.for_workspace(request.workspace)
    if search := request.GET.get("q", "").replace("\0", "").strip():
        tags = tags.filter(name__icontains=search)
    page = Paginator(tags, PAGE).get_page(request.GET.get("page"))
    context = {
        "page": page,
        "rows": uses_of_tags(request.workspace, list(page)),
        "counted": COUNTED,
        "search": search,
        "renaming": renaming,
        "form": form,
        "can_manage": request.role.covers("manager"),
    }
    return render(request, "campaigns/contacts/tags.html", context, status=422 if form else 200)


@require_POST
@workspace_role("manager")
def tag_rename(request: WorkspaceRequest) -> HttpResponse:
    tag = the_tag(request)
    if tag is None:
        return gone(request, "campaigns:tags")
    form = TagForm(request.POST)
    if form.is_valid():
        old, name = tag.name, form.cleaned_data["name"]
        try:
            rename_tag(tag, name, request.user)
            messages.success(request, f"“{old}” is called “{name}” now.")
            return redirect("campaigns:tags")
        except NameTaken:
            tag.name = old
            form.add_error("name", f"There is a tag “{name}” already. To join the two, merge this one into it.")
    return render_tags(request, tag, form)


@require_POST
@workspace_role("manager")
def tag_delete(request: WorkspaceRequest) -> HttpResponse:
    tag = the_tag(request)
    if tag is None:
        return gone(request, "campaigns:tags")
    try:
        people = delete_tag(tag, request.user)
        said = f"It was taken off {counted(people, 'person', 'people')}." if people else "Nobody had it."
        messages.success(request, f"The tag “{tag.name}” was deleted. {said}")
    except InUse as users:
        messages.warning(request, f"“{tag.name}” stays: {users} use it.")
    except Gone:
        return gone(request, "campaigns:tags")
    return redirect("campaigns:tags")


@require_http_methods(["GET", "HEAD", "POST"])
@workspace_role("manager")
def tag_merge(request: WorkspaceRequest) -> HttpResponse:
    """Asks for the tag that stays, then says what will change, then joins the two."""
    tag = the_tag(request)
    if tag is None:
        return gone(request, "campaigns:tags")
    data = request.POST or (request.GET if "into" in request.GET else None)
    form = MergeForm(data, source=tag)
    target = form.cleaned_data["into"] if form.is_valid() else None
    if target and request.method == "POST":
        try:
            change = start_merge(tag, target, request.user)
        except InUse as users:
            messages.warning(request, f"“{tag.name}” was not merged: {users}.")
            return redirect("campaigns:tags")
        except Gone:
            return gone(request, "campaigns:tags")
        if change.finished_at is None:
            return redirect("campaigns:contact_change_page", change.uuid)
        tell = messages.warning if change.error else messages.success
        tell(request, outcome(change))
        return redirect("campaigns:tags")
    context: dict[str, Any] = {"tag": tag, "form": form, "target": target, "counted": COUNTED}
    if target:
        use = use_of_tag(tag)
        context |= {"why_not": hindrance(tag, target), "use": use, "in_steps": use.people > in_steps.STEP}
    else:
        others = Tag.objects.for_workspace(request.workspace).exclude(pk=tag.pk)
        context["names"] = list(others.values_list("name", flat=True)[:OFFERED])
    return render(request, "campaigns/contacts/tag_merge.html", context, status=422 if form.errors else 200)


@require_GET
@workspace_role("viewer")
def field_list(request: WorkspaceRequest) -> HttpResponse:
    return render_fields(request, FieldForm(known=set()))


def render_fields(request: WorkspaceRequest, form: FieldForm) -> HttpResponse:
    context = {
        "rows": uses_of_fields(request.workspace, fields_of(request.workspace)),
        "kinds": FieldKind.choices,
        "form": form,
        "can_manage": request.role.covers("manager"),
    }
    return render(request, "campaigns/contacts/fields.html", context, status=422 if form.errors else 200)


@require_POST
@workspace_role("manager")
def field_save(request: WorkspaceRequest) -> HttpResponse:
    form = FieldForm(request.POST, known={field.name for field in fields_of(request.workspace)})
    if not form.is_valid():
        return render_fields(request, form)
    field = save_field(request.workspace, request.user, form.cleaned_data["name"], form.cleaned_data["kind"])
    messages.success(request, f"{field.name} is a field of the kind “{field.get_kind_display()}”.")
    return redirect("campaigns:fields")


@require_POST
@workspace_role("manager")
def field_delete(request: WorkspaceRequest) -> HttpResponse:
    fields = CustomField.objects.for_workspace(request.workspace).select_related("workspace")
    field = fields.filter(name=request.POST.get("name", "").replace("\0", "")).first()
    if field is None:
        return gone(request, "campaigns:fields")
    try:
        delete_field(field, request.user)
        messages.success(request, f"{field.name} has no kind any more. What people have in it stays, as text.")
    except InUse as users:
        messages.warning(request, f"{field.name} stays: {users} ask for it.")
    return redirect("campaigns:fields")
