"""What machines ask: is the process up, can it serve, and, for staff, how Redis is."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.audit import record
from monitoring.health import is_ready, readiness
from monitoring.redis_check import diagnosis


@login_not_required
@never_cache
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers. It asks nobody else, so that an outage of PostgreSQL restarts nothing."""
    return HttpResponse("ok\n", content_type="text/plain")


@login_not_required
@never_cache
@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    found = readiness()
    ready = is_ready(found)
    return JsonResponse({"status": "ready" if ready else "not ready", **found}, status=200 if ready else 503)


@login_not_required
@never_cache
@require_safe
def redis_check(request: HttpRequest) -> HttpResponse:
    """For staff: JSON to programs, a page to browsers; 200 when the PING answers, else 503."""
    wants_page = request.get_preferred_type(["application/json", "text/html"]) == "text/html"
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path()) if wants_page else refusal(401, "Sign in as staff.")
    if not (request.user.is_staff and request.user.is_active):
        if wants_page:
            raise PermissionDenied
        return refusal(403, "This is for staff only.")
    record(None, request.user, "staff.redis_check")
    found = diagnosis()
    status = 200 if found["is_redis_enabled"] else 503
    if wants_page:
        return render(request, "monitoring/redis_check.html", {"found": found}, status=status)
    return JsonResponse(found, status=status, json_dumps_params={"indent": 2})


def refusal(status: int, message: str) -> JsonResponse:
    return JsonResponse({"status": "refused", "message": message}, status=status)
