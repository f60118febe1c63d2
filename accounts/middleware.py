"""What every request passes through on behalf of accounts."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import resolve_url
from django_htmx.http import HttpResponseClientRedirect


def sign_in_again(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Send the whole page to the sign-in, where htmx would put it into the region that asked."""

    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        leads_to = urlsplit(response.headers.get("Location", "")).path
        if response.status_code != 302 or leads_to != resolve_url(settings.LOGIN_URL) or not request.htmx:  # type: ignore[attr-defined]
            return response
        page = urlsplit(request.htmx.current_url_abs_path or "/")  # type: ignore[attr-defined]
        return HttpResponseClientRedirect(redirect_to_login(page.path).url)

    return answer
