"""Live sockets: who may listen to which topic of which workspace, and for how long.

A socket belongs to a signed-in member; its group is made here from the member's workspace, never from what the browser
says. The session and the membership are looked at again every minute. While Redis is away sockets are closed with
"try again later": pages say "reconnecting" and fetch what they missed when they are back.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from contextlib import suppress
from importlib import import_module
from typing import Any
from weakref import WeakKeyDictionary

from channels.auth import get_user
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import DatabaseError
from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from accounts.access import SESSION_KEY, membership_of
from accounts.audit import note_look
from accounts.live import FLEET_GROUP, TIMEOUT_S, group_name
from accounts.models import Membership, Role, User

# All that pages listen to, and nothing else: a group costs the layer memory, and every push asks who listens.
ID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
TOPIC = re.compile(f"home|devices|campaigns|workers|fleet|(device|pairing|campaign|import)\\.{ID}")
CREDENTIALS = ("pairing.",)  # whoever scans a pairing code speaks for the device: nothing for those who only look on
FLEET = "fleet"  # the one topic that is no workspace's: staff's
LARGEST_FRAME = 64 * 1024
FRAMES_A_MINUTE = 60
FRAME_EVERY_S = 1.0
FETCH_AGAIN = '{"again":true}'  # instead of frames that would have to wait for a socket
RECHECK_S = 60.0
REDIS_PERIOD_S = 5.0
SOCKETS_A_USER = 20  # open at once at one web process; a page has one

# Daphne sends no codes but 1000 and 3000 to 4999. After none of these htmx comes back; live.js does after the last.
SIGNED_OUT = 4401
NOT_A_MEMBER = 4403
TOO_LARGE = 4413
TOO_MANY = 4429
TOO_MANY_PAGES = 4430
TRY_AGAIN_LATER = 4503


class LiveConsumer(AsyncWebsocketConsumer):
    """Sends what `accounts.live.push` publishes. Incoming frames are ignored, but for "ping"."""

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        try:
            await super().__call__(scope, receive, send)
        except (RedisError, OSError):  # before `connect`: the channel layer subscribes first
            await send({"type": "websocket.close", "code": TRY_AGAIN_LATER})

    async def connect(self) -> None:
        self.recheck: asyncio.Task[None] | None = None
        self.frames: list[float] = []
        self.group: str | None = None
        self.waiting: list[str] = []  # frames to be sent together
        self.sent_at = float("-inf")
        self.flush: asyncio.Task[None] | None = None
        try:
            self.group = await self._group()
            if self.group is None:
                return await self.close()
            if not redis_lifeline().has_room_for(self.user_id):
                self.group = None
                await self.accept()  # a refused handshake could not say why, and htmx would try again
                return await self.close(TOO_MANY_PAGES)
            await redis_lifeline().join(self)
            await self.channel_layer.group_add(self.group, self.channel_name)
        except (DatabaseError, RedisError, OSError):
            return await self.close(TRY_AGAIN_LATER)
        await self.accept()
        self.recheck = asyncio.create_task(self._keep_rechecking())
        return None

    async def _group(self) -> str | None:
        """The topic's group in the workspace of this session; None for whoever may not listen."""
        topic = self.scope["url_route"]["kwargs"]["topic"]
        self.user_id = self.scope["user"].pk
        if self.user_id is None or not TOPIC.fullmatch(topic):
            return None
        self.is_fleet = topic == FLEET
        if self.is_fleet:
            if not self.scope["user"].is_staff:
                return None
            await database_sync_to_async(note_look)(self.scope["user"], "staff.workers", again=True)
            return FLEET_GROUP
        chosen = self.scope["session"].get(SESSION_KEY)
        membership = await database_sync_to_async(membership_of)(self.user_id, chosen)
        self.needed = Role.MANAGER if topic.startswith(CREDENTIALS) else Role.VIEWER
        if membership is None or not Role(membership.role).covers(self.needed):
            return None
        self.workspace_id = membership.workspace_id
        return group_name(membership.workspace_id, topic)

    async def disconnect(self, code: int) -> None:
        for task in (self.recheck, self.flush):
            if task:
                task.cancel()
        redis_lifeline().leave(self)
        if self.group:
            with suppress(RedisError, OSError):  # the layer starts afresh when Redis is back
                await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        now = time.monotonic()
        self.frames = [at for at in self.frames if now - at < 60] + [now]
        if len(text_data or bytes_data or "") > LARGEST_FRAME:
            await self.close(TOO_LARGE)
        elif len(self.frames) > FRAMES_A_MINUTE:
            await self.close(TOO_MANY)
        elif text_data == "ping":
            await self.send("pong")

    async def live_update(self, event: dict[str, Any]) -> None:
        await self.send(event["html"])

    async def live_frame(self, event: dict[str, Any]) -> None:
        """At most one a second: each host tells by itself, and what comes sooner goes together, a frame a line."""
        self.waiting.append(event["frame"])
        if self.flush is None or self.flush.done():
            self.flush = asyncio.create_task(self._flush_in_time())

    async def _flush_in_time(self) -> None:
        await asyncio.sleep(max(0.0, self.sent_at + FRAME_EVERY_S - time.monotonic()))
        self.sent_at = time.monotonic()
        frames, self.waiting = self.waiting, []
        together = "\n".join(frames)
        await self.send(together if len(together) <= LARGEST_FRAME else FETCH_AGAIN)

    async def _keep_rechecking(self) -> None:
        while True:
            await asyncio.sleep(RECHECK_S)
            try:
                code = await self._reason_to_close()
            except DatabaseError:
                code = TRY_AGAIN_LATER
            if code:
                return await self.close(code)

    async def _reason_to_close(self) -> int | None:
        sessions = import_module(settings.SESSION_ENGINE)
        session = sessions.SessionStore(self.scope["session"].session_key)
        user = await get_user({"session": session})  # also checks that the password is still the one of the sign-in
        if user.pk != self.user_id:
            return SIGNED_OUT
        if self.is_fleet:
            staff = await User.objects.filter(pk=self.user_id, is_staff=True, is_active=True).aexists()
            return None if staff else NOT_A_MEMBER
        still = await Membership.objects.filter(user_id=self.user_id, workspace_id=self.workspace_id).afirst()
        return None if still and Role(still.role).covers(self.needed) else NOT_A_MEMBER


class RedisLifeline:
    """One per event loop: asks every few seconds whether the Redis that carries the updates is the same as before.

    The channel layer would go on in silence after an outage, and what was published meanwhile is lost.
    """

    def __init__(self) -> None:
        self.sockets: set[LiveConsumer] = set()
        self.run_id: str | None = None
        self.task: asyncio.Task[None] | None = None
        self.client = redis.Redis.from_url(
            settings.REDIS_URL,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )

    def has_room_for(self, user_id: int) -> bool:
        return sum(socket.user_id == user_id for socket in self.sockets) < SOCKETS_A_USER

    async def join(self, socket: LiveConsumer) -> None:
        """Raises RedisError or OSError while Redis is away."""
        self.sockets.add(socket)
        if self.run_id is None:
            try:
                self.run_id = await self._ask()
            except (RedisError, OSError):
                self.sockets.discard(socket)
                raise
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._watch())

    def leave(self, socket: LiveConsumer) -> None:
        self.sockets.discard(socket)

    async def _ask(self) -> str:
        return str((await self.client.info("server"))["run_id"])

    async def _watch(self) -> None:
        while self.sockets:
            await asyncio.sleep(REDIS_PERIOD_S)
            try:
                now = await self._ask()
            except (RedisError, OSError):
                now = ""
            if now != self.run_id:
                self.run_id = now or None
                await self._close_all()
        self.run_id = None

    async def _close_all(self) -> None:
        with suppress(TimeoutError, RedisError, OSError):  # or it would try to unsubscribe each of them
            await asyncio.wait_for(get_channel_layer().flush(), REDIS_PERIOD_S)
        sockets, self.sockets = self.sockets, set()
        await asyncio.gather(*(socket.close(TRY_AGAIN_LATER) for socket in sockets), return_exceptions=True)


_lifelines: WeakKeyDictionary[asyncio.AbstractEventLoop, RedisLifeline] = WeakKeyDictionary()


def redis_lifeline() -> RedisLifeline:
    loop = asyncio.get_running_loop()
    if loop not in _lifelines:
        _lifelines[loop] = RedisLifeline()
    return _lifelines[loop]


def is_news(line: logging.LogRecord) -> bool:
    """The layer's receiver logs a traceback a second while Redis is away; that it is away is logged once elsewhere."""
    return not (line.exc_info and isinstance(line.exc_info[1], RedisError | OSError))


logging.getLogger("channels_redis.pubsub").addFilter(is_news)
