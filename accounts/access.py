"""Who may open which page: the one decorator in front of every workspace view."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

import structlog
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.cache import add_never_cache_headers
from django_htmx.middleware import HtmxDetails

from accounts.models import Membership, Role, User, Workspace
from accounts.tenancy import tenant_scope

SESSION_KEY = "workspace"
View = Callable[..., HttpResponse]


class WorkspaceRequest(HttpRequest):
    """A signed-in request with its workspace and the user's role in it."""

    user: User
    workspace: Workspace
    role: Role
    htmx: HtmxDetails


def current_membership(request: HttpRequest) -> Membership | None:
    """The membership this session works in."""
    return membership_of(cast(User, request.user).pk, request.session.get(SESSION_KEY))


def membership_of(user_id: int, chosen: int | None) -> Membership | None:
    """In the chosen workspace, else in the user's own, else in the oldest."""
    found = Membership.objects.filter(user_id=user_id).select_related("workspace").order_by("pk")
    memberships = list(found)
    for membership in memberships:
        if membership.workspace_id == chosen:
            return membership
    own = [membership for membership in memberships if membership.role == Role.OWNER]
    return next(iter(own or memberships), None)


def workspace_role(needed: str) -> Callable[[View], View]:
    """Let members with at least the role ``needed`` in; the view runs inside their `tenant_scope`.

    Answers: sign-in for anonymous, 404 for a user without a workspace, 403 for too low a role.
    """
    Role(needed)

    def decorate(view: View) -> View:
        @wraps(view)
        @login_required
        def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            membership = current_membership(request)
            if membership is None:
                raise Http404("You have no workspace here.")
            scoped = cast(WorkspaceRequest, request)
            scoped.workspace = membership.workspace
            scoped.role = Role(membership.role)
            structlog.contextvars.bind_contextvars(workspace_id=scoped.workspace.pk)
            if not scoped.role.covers(needed):
                raise PermissionDenied
            with tenant_scope(scoped.workspace), timezone.override(scoped.workspace.zone):
                response = view(scoped, *args, **kwargs)
            if "Cache-Control" not in response.headers:
                add_never_cache_headers(response)  # a shared computer keeps no workspace's pages
            return response

        inner.needed_role = needed  # type: ignore[attr-defined]
        return inner

    return decorate
