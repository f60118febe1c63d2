"""The media hosts: sealed files as clients and people uploaded them."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from typing import Any

from . import web

KEPT = 200
HOST = "mmg.whatsapp.net"


class MediaStore:
    """The latest files by their direct path."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}
        self.uploads: deque[dict[str, Any]] = deque(maxlen=1000)

    def find(self, direct_path: str) -> bytes | None:
        return self._files.get(direct_path.partition("?")[0])

    def keep(self, data: bytes, token: str = "") -> str:
        """The direct path it can be fetched from."""
        name = hashlib.sha256(token.encode() or os.urandom(32)).hexdigest()[:24]
        path = f"/v/t62.loopback/{name}.enc"
        self._files[path] = data
        if len(self._files) > KEPT:
            del self._files[next(iter(self._files))]
        return f"{path}?ccb=1"

    def answer(self, request: web.Request) -> bytes:
        if request.method == "POST" and "/mms/" in request.path:
            return web.response(200, self._uploaded(request))
        found = self.find(request.path)
        if request.method in ("GET", "HEAD") and found is not None:
            return web.response(200, found, "application/octet-stream")
        return web.response(404)

    def _uploaded(self, request: web.Request) -> dict[str, Any]:
        direct_path = self.keep(request.body, token=request.path.rpartition("/")[2])
        digest = hashlib.sha256(request.body).hexdigest()
        upload = {"path": request.path, "size": len(request.body), "direct_path": direct_path, "sha256": digest}
        self.uploads.append(upload)
        return {"url": f"https://{HOST}{direct_path}", "direct_path": direct_path, "handle": "", "object_id": ""}
