"""What Daphne takes in of a request before Django sees it: bounded, unparsed, with no say about addresses."""

from __future__ import annotations

from typing import Any

from daphne import http_protocol
from daphne.http_protocol import WebRequest
from django.conf import settings

# Room for a file that is too large to be told so on its page; what is larger still is cut off.
LARGEST_BODY = 2 * settings.IMPORT_MAX_BYTES
TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class BoundedRequest(WebRequest):
    def __init__(self, channel: Any, *args: Any) -> None:
        # Twisted would parse each posted form into memory, ten times its size, for nobody: Django parses it streaming.
        super().__init__(channel, *args, parsePOSTFormSubmission=False)
        self.refused = False

    def handleContentChunk(self, data: bytes) -> None:
        if self.refused:
            return
        if self.content.tell() + len(data) > LARGEST_BODY:
            self.refused = True
            self.channel.transport.write(TOO_LARGE)
            self.channel.loseConnection()
        else:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if self.refused:
            return
        # Daphne lets any client name the site's root in this header: the link of a password mail would lead there.
        self.requestHeaders.removeHeader(b"Daphne-Root-Path")
        super().requestReceived(command, path, version)


def install() -> None:
    """Daphne makes its requests by this name."""
    http_protocol.WebRequest = BoundedRequest
