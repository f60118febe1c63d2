"""Operations: the page on which staff watch the hosts of the installation, and have one of them drained."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import cast

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.audit import note_look
from accounts.models import User
from devices.hosting.retiring import without_a_host
from devices.models import Host
from monitoring.actions.workers import drain_host
from monitoring.forms.workers import LONGEST_HOST_ID
from monitoring.operations import operations


def staff_only(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    @wraps(view)
    @never_cache
    @login_required
    def inner(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        if not (request.user.is_staff and request.user.is_active):
            raise PermissionDenied
        return view(request, *args, **kwargs)

    return inner


@require_safe
@staff_only
def operations_page(request: HttpRequest) -> HttpResponse:
    """The page, or to htmx its live region alone."""
    in_place = bool(request.headers.get("HX-Request"))
    note_look(cast(User, request.user), "staff.operations", again=in_place)
    return render(request, "monitoring/_operations.html" if in_place else "monitoring/operations.html", operations())


@require_http_methods(["GET", "HEAD", "POST"])
@staff_only
def drain(request: HttpRequest) -> HttpResponse:
    """Asks first, and says how many devices it touches."""
    if request.method == "POST":
        messages.info(request, drain_host(host_asked(request.POST), cast(User, request.user)))
        return redirect("monitoring:operations")
    host = Host.objects.alive().filter(pk=host_asked(request.GET)).first()
    if host is None:
        messages.warning(request, "No running engine has this host id.")
        return redirect("monitoring:operations")
    context = {
        "host": host,
        "devices": host.devices.count(),
        "others": Host.objects.alive().filter(retiring=False).exclude(pk=host.pk).count(),
        "without": without_a_host(host.pk),
    }
    return render(request, "monitoring/drain.html", context)


@require_POST
@staff_only
def keep(request: HttpRequest) -> HttpResponse:
    """Let a host that was being drained take devices again."""
    messages.info(request, drain_host(host_asked(request.POST), cast(User, request.user), undo=True))
    return redirect("monitoring:operations")


def host_asked(given: QueryDict) -> str:
    return given.get("host", "")[:LONGEST_HOST_ID].replace("\0", "")
