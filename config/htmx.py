"""One address answers a browser with a page and htmx with a fragment of it; caches are told."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers
from django.utils.deprecation import MiddlewareMixin


class VaryByHtmxMiddleware(MiddlewareMixin):
    """Without it the browser's Back button shows the fragment that a live page fetched last, bare, as the page."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        patch_vary_headers(response, ["HX-Request"])
        return response
