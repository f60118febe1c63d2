"""Answers that are read while they are sent, a piece at a time: none of them is ever whole in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse


def streamed(request: HttpRequest, pieces: Iterator[str] | Iterator[bytes], content_type: str) -> HttpResponse:
    """``pieces`` (none of them empty) see to their own transactions: the request's has ended by then."""
    # Django would gather what a plain iterator yields before an asynchronous server sends any of it.
    body = apart(pieces) if isinstance(request, ASGIRequest) else pieces
    return cast(HttpResponse, StreamingHttpResponse(body, content_type=content_type))


async def apart(pieces: Iterator[Any]) -> AsyncIterator[Any]:
    """In the thread of the request's database connection, so that the server goes on with others."""
    while (piece := await sync_to_async(next)(pieces, None)) is not None:  # type: ignore[call-arg]
        yield piece
