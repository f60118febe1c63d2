"""Templates: the list, the editor, and what is done to one."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import WorkspaceRequest, workspace_role
from campaigns.actions.templates import (
    NameTaken,
    archive_template,
    delete_template,
    duplicate_template,
    edit_template,
    save_template,
)
from campaigns.audience import field_words
from campaigns.forms.templates import TemplateForm
from campaigns.library import templates_of
from campaigns.models import Template
from campaigns.views.answers import is_fragment
from campaigns.views.drafts import OWN_WORDS, posted

PAGE = 50


def the_template(request: WorkspaceRequest, uuid: UUID) -> Template:
    own = Template.objects.for_workspace(request.workspace).select_related("workspace", "content__media")
    found: Template = get_object_or_404(own, uuid=uuid)
    return found


@require_GET
@workspace_role("viewer")
def template_list(request: WorkspaceRequest) -> HttpResponse:
    archived = request.GET.get("archived") == "1"
    search = request.GET.get("q", "").strip()
    found = templates_of(request.workspace, search, archived)
    page = Paginator(found, PAGE).get_page(request.GET.get("page"))
    every = Template.objects.for_workspace(request.workspace)
    context = {
        "page": page,
        "narrowed": bool(search or archived),
        "any": page.paginator.count or every.exists(),
        "archived": every.filter(archived_at__isnull=False).count(),
    }
    template = "_list.html" if is_fragment(request) else "index.html"
    return render(request, f"campaigns/templates/{template}", context)


@require_http_methods(["GET", "POST"])
@workspace_role("manager")
def template_new(request: WorkspaceRequest) -> HttpResponse:
    form = TemplateForm(request.workspace, request.user, *posted(request))
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            template = save_template(request.workspace, request.user, data["name"], data["text"], form.chosen)
        except NameTaken as taken:
            form.add_error("name", str(taken))
        else:
            messages.success(request, f"“{template.name}” was saved.")
            return redirect("campaigns:templates")
    return editor(request, form)


@require_http_methods(["GET", "POST"])
@workspace_role("viewer")
def template_page(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    """The editor; whoever may only look sees the message."""
    template = the_template(request, uuid)
    if not request.role.covers("manager"):
        return render(request, "campaigns/templates/template.html", {"template": template})
    form = TemplateForm(request.workspace, request.user, *posted(request), template=template)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            changed = edit_template(template, request.user, data["name"], data["text"], form.chosen)
        except NameTaken as taken:
            form.add_error("name", str(taken))
        else:
            messages.success(request, f"“{data['name']}” was saved." if changed else "Nothing was changed.")
            return redirect("campaigns:templates")
    return editor(request, form, template)


def editor(request: WorkspaceRequest, form: TemplateForm, template: Template | None = None) -> HttpResponse:
    context = {"form": form, "template": template, "words": OWN_WORDS + field_words(request.workspace)}
    return render(request, "campaigns/templates/edit.html", context, status=422 if form.errors else 200)


@require_POST
@workspace_role("manager")
def duplicate(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    try:
        copy = duplicate_template(the_template(request, uuid), request.user)
    except NameTaken as taken:
        messages.error(request, str(taken))
        return redirect("campaigns:templates")
    messages.success(request, f"“{copy.name}” was made. Change what is to be different.")
    return redirect("campaigns:template", copy.uuid)


@require_POST
@workspace_role("manager")
def archive(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    template = the_template(request, uuid)
    if archive_template(template, request.user, True):
        messages.success(request, f"“{template.name}” was put into the archive.")
    return redirect("campaigns:templates")


@require_POST
@workspace_role("manager")
def restore(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    template = the_template(request, uuid)
    if archive_template(template, request.user, False):
        messages.success(request, f"“{template.name}” is among the templates again.")
    return redirect("campaigns:templates")


@require_POST
@workspace_role("manager")
def delete(request: WorkspaceRequest, uuid: UUID) -> HttpResponse:
    template = the_template(request, uuid)
    if delete_template(template, request.user):
        messages.success(request, f"The template “{template.name}” was deleted. Campaigns written from it stay.")
    return redirect("campaigns:templates")
