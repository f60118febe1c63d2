"""Whether WhatsApp, or the proxy before it, can be reached at all: asked before the library tries, for the library
keeps some memory and files of every attempt."""

from __future__ import annotations

import asyncio
import os
from urllib.parse import urlsplit

WHATSAPP = "https://web.whatsapp.com"
FRESH_S = 1.0
LOOK_S = 5.0
_PORTS = {"http": 80, "https": 443, "socks5": 1080}


class Network:
    """One look serves everybody who asks within FRESH_S."""

    def __init__(self) -> None:
        where = urlsplit(os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy") or WHATSAPP)
        self._host = where.hostname or ""
        self._port = where.port or _PORTS.get(where.scheme, 443)
        self._loop = asyncio.get_running_loop()
        self._answers = False
        self._looked_at = float("-inf")
        self._look: asyncio.Task[None] | None = None

    async def answers(self) -> bool:
        if self._loop.time() - self._looked_at > FRESH_S:
            if self._look is None:
                self._look = self._loop.create_task(self._look_now())
            await asyncio.shield(self._look)
        return self._answers

    async def _look_now(self) -> None:
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(self._host, self._port), LOOK_S)
            writer.close()
            self._answers = True
        except (OSError, TimeoutError):
            self._answers = False
        self._looked_at = self._loop.time()
        self._look = None
