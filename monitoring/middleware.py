"""What stands though PostgreSQL does not: requests that nobody needs to be recognised for."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from monitoring.checkup.watch import watch

BANNER = "/status/banner"
STATUS = "/status"


def leave_session_alone(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Drop the session's cookie before anybody looks it up: for the line that every open page asks for all day, and
    for the status page while PostgreSQL is away."""

    def answer(request: HttpRequest) -> HttpResponse:
        if request.path == BANNER or (request.path == STATUS and is_away()):
            request.COOKIES.pop(settings.SESSION_COOKIE_NAME, None)
        return get_response(request)

    return answer


def is_away() -> bool:
    return watch.found is not None and watch.found.is_away("database")
