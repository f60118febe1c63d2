"""The status page, the line that every page shows when something does not work, and meters for machines."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any, cast

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.db import Error
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from accounts.access import current_membership
from accounts.audit import note_look
from accounts.models import User
from campaigns.shown import duration
from monitoring.checkup import history
from monitoring.checkup.parts import PARTS, Finding, Look
from monitoring.checkup.watch import watch
from monitoring.metrics import exposition
from monitoring.middleware import is_away
from monitoring.models import Incident
from monitoring.templatetags.health import banner_of


@login_not_required
@never_cache
@require_safe
def status(request: HttpRequest) -> HttpResponse:
    """For whoever is signed in; for everybody, without detail, while PostgreSQL can't say who that is."""
    if is_away():  # else each request would wait for it anew
        return without_database(request, watch.current())
    try:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        return for_people(request, watch.current())
    except Error:
        return without_database(request, watch.fresh())


def for_people(request: HttpRequest, look: Look) -> HttpResponse:
    membership = current_membership(request)
    is_staff = request.user.is_staff and request.user.is_active
    incidents = history.lately()
    since = history.since_when(incidents, look)
    context = {
        **shown(look),
        "rows": [(finding, since.get(finding.part)) for finding in look.findings],
        "incidents": [
            (PARTS[incident.part].title, incident, lasted(incident)) for incident in incidents if incident.part in PARTS
        ],
        "shown_for": history.SHOWN_FOR.days,
        "is_staff": is_staff,
    }
    with timezone.override(membership.workspace.zone if membership else None):
        if is_staff:
            note_look(cast(User, request.user), "staff.status", again=is_partial(request))
        return render(request, "monitoring/_status.html" if is_partial(request) else "monitoring/status.html", context)


def lasted(incident: Incident) -> str:
    """Empty while it lasts."""
    if incident.until is None:
        return ""
    seconds = (incident.until - incident.since).total_seconds()
    return duration(seconds) if seconds >= 60 else f"{seconds:.0f} s"


def without_database(request: HttpRequest, look: Look) -> HttpResponse:
    context = {**shown(look), "rows": [(finding, None) for finding in look.findings]}
    if is_partial(request):
        return render(None, "monitoring/_status.html", context)
    return render(None, "monitoring/status_alone.html", context, status=503)


def shown(look: Look) -> dict[str, Any]:
    return {"at": look.at, "headline": headline(look), "worst": look.worst}


def headline(look: Look) -> str:
    bad = [finding for finding in look.findings if finding.state == "bad"]
    if not bad:
        return {"ok": "Everything works", "warn": "Everything works; something needs a look"}.get(
            look.worst, "Nothing is known to be wrong"
        )
    return first_sentence(bad)


def first_sentence(bad: list[Finding]) -> str:
    rest = len(bad) - 1
    return f"{bad[0].sentence}{f' And {rest} more.' if rest else ''}"


def is_partial(request: HttpRequest) -> bool:
    return bool(request.headers.get("HX-Request"))


@login_not_required
@never_cache
@require_safe
def status_banner(request: HttpRequest) -> HttpResponse:
    """Asked by every open page now and then: from memory, without a query; no content while nothing has changed."""
    context = banner_of(watch.found)
    if request.GET.get("said") == context["mark"]:
        return HttpResponse(status=204)
    return render(None, "monitoring/_banner.html", context)


@login_not_required
@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """For Prometheus with METRICS_TOKEN, and for staff."""
    if not has_token(request):
        if not request.user.is_authenticated or "Authorization" in request.headers:
            refused = HttpResponse("Send METRICS_TOKEN as a bearer token.\n", content_type="text/plain", status=401)
            refused["WWW-Authenticate"] = "Bearer"
            return refused
        if not (request.user.is_staff and request.user.is_active):
            return HttpResponse("This is for staff only.\n", content_type="text/plain", status=403)
        note_look(request.user, "staff.metrics", again=True)
    return HttpResponse(exposition(), content_type=CONTENT_TYPE_LATEST)


def has_token(request: HttpRequest) -> bool:
    """Compared as hashes: neither its length nor its beginning can be measured."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if not settings.METRICS_TOKEN or scheme.lower() != "bearer":
        return False
    same = secrets.compare_digest(digest(given.strip()), digest(settings.METRICS_TOKEN))
    return bool(same)


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogateescape")).digest()
