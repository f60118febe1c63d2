"""What a browser may run, and which pages may open a websocket."""

from __future__ import annotations

from typing import Any

from channels.security.websocket import WebsocketDenier
from csp.constants import SELF, UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.conf import settings
from django.http import HttpRequest
from django.http.request import split_domain_port, validate_host

RQ_PAGES = "/admin/queues/"


class ContentPolicyMiddleware(CSPMiddleware):
    """The strict policy everywhere; django-rq's pages carry inline scripts, so that prefix alone may run them."""

    def get_policy_parts(self, request: HttpRequest, response: Any, report_only: bool = False) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        if request.path.startswith(RQ_PAGES):
            parts.update = {"script-src": [SELF, UNSAFE_INLINE], "style-src": [SELF, UNSAFE_INLINE]}
        return parts


class OwnOrigin:
    """ASGI layer: a websocket opens only from a page of this site, or of CSRF_TRUSTED_ORIGINS. No Origin, no socket."""

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        headers = dict(scope["headers"])
        if is_own_origin(headers.get(b"origin", b"").decode("latin1"), headers.get(b"host", b"").decode("latin1")):
            return await self.application(scope, receive, send)
        return await WebsocketDenier()(scope, receive, send)


def is_own_origin(origin: str, host: str) -> bool:
    if origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    scheme, _, place = origin.partition("://")
    name, _port = split_domain_port(host)
    return scheme in ("http", "https") and place == host and bool(name) and validate_host(name, settings.ALLOWED_HOSTS)
