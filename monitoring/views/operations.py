"""Operations: the page on which staff watch the hosts of the installation."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.audit import record
from monitoring.operations import operations


@never_cache
@require_safe
def operations_page(request: HttpRequest) -> HttpResponse:
    """The page, or to htmx its live region alone."""
    if not (request.user.is_staff and request.user.is_active):
        raise PermissionDenied
    if request.headers.get("HX-Request"):
        return render(request, "monitoring/_operations.html", operations())
    record(None, request.user, "staff.operations")
    return render(request, "monitoring/operations.html", operations())
