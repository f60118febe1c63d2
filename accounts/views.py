"""The first account, and the settings of a person and a workspace."""

from __future__ import annotations

from typing import cast
from uuid import UUID

from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required, login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import SESSION_KEY, WorkspaceRequest, current_membership, workspace_role
from accounts.actions import change_workspace, create_first_account, needs_first_account
from accounts.forms import FirstAccountForm, ProfileForm, WorkspaceForm
from accounts.models import Membership, User
from accounts.setup import is_setup_token


@require_http_methods(["GET", "POST"])
@never_cache
@sensitive_post_parameters("password")
@login_not_required
def setup(request: HttpRequest, token: str) -> HttpResponse:
    if not is_setup_token(token) or not needs_first_account():
        raise Http404
    form = FirstAccountForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        user = create_first_account(data["email"], data["password"], **form.workspace_fields())
        if user is None:
            raise Http404
        login(request, user)
        return redirect("monitoring:home")
    return render(request, "accounts/setup.html", {"form": form})


@require_GET
@workspace_role("viewer")
def settings_page(request: WorkspaceRequest) -> HttpResponse:
    return render(request, "accounts/settings.html", {"form": WorkspaceForm(instance=request.workspace)})


@require_POST
@workspace_role("owner")
def save_workspace(request: WorkspaceRequest) -> HttpResponse:
    form = WorkspaceForm(request.POST, instance=request.workspace)
    if not form.is_valid():
        request.workspace.refresh_from_db()  # the page's frame shows what is, the form what was typed
        return render(request, "accounts/settings.html", {"form": form}, status=422)
    if change_workspace(request.workspace, request.user, **form.cleaned_data):
        messages.success(request, "Saved.")
    return redirect("accounts:settings")


@require_GET
@workspace_role("viewer")
def members(request: WorkspaceRequest) -> HttpResponse:
    found = Membership.objects.filter(workspace=request.workspace).select_related("user").order_by("created_at")
    return render(request, "accounts/members.html", {"members": found})


@require_http_methods(["GET", "POST"])
@login_required
def profile(request: HttpRequest) -> HttpResponse:
    form = ProfileForm(request.POST or None, instance=cast(User, request.user))
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, "Saved.")
        return redirect("accounts:profile")
    return render(request, "accounts/profile.html", {"form": form})


@require_GET
@login_required
def workspaces(request: HttpRequest) -> HttpResponse:
    user = cast(User, request.user)
    found = user.memberships.select_related("workspace__owner").order_by("pk")
    return render(request, "accounts/workspaces.html", {"memberships": found, "current": current_membership(request)})


@require_POST
@login_required
def choose_workspace(request: HttpRequest, uuid: UUID) -> HttpResponse:
    membership = get_object_or_404(cast(User, request.user).memberships, workspace__uuid=uuid)
    request.session[SESSION_KEY] = membership.workspace_id
    return redirect("monitoring:home")
