"""Live updates: renders a partial once and sends it to every open page of a workspace that listens to its topic.

A push is a hint, the page is the truth: what is lost here is fetched again when a page's socket reopens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import redis
import structlog
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import transaction
from django.template.loader import render_to_string
from django.utils import timezone
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from accounts.models import Workspace

TIMEOUT_S = 2.0
SILENCE_S = 5.0  # after a failure nothing is tried for so long, or every request would wait for Redis in vain
WORKERS = "workers"  # the topic of Worker Status, which hears frames instead of partials
FLEET_GROUP = "fleet.workers"  # staff's: the device workers of every workspace

logger = structlog.get_logger(__name__)
_failed_at: float | None = None


@dataclass(frozen=True)
class Update:
    """``context`` may be a function: what it looks up is then looked up only when some page listens."""

    workspace: Workspace
    topic: str
    template: str
    context: dict[str, Any] | Callable[[], dict[str, Any]] = field(default_factory=dict)


def group_name(workspace_id: int, topic: str) -> str:
    """The channel group of a topic. Always made here, from a workspace the server knows."""
    return f"workspace.{workspace_id}.{topic}"


def push(workspace: Workspace, topic: str, template: str, **context: Any) -> None:
    """After the commit, show the partial `template` on the workspace's pages that listen to `topic`.

    The partial is rendered once for all viewers, with `oob=True`: no user, request or CSRF token in it.
    """
    push_many([Update(workspace, topic, template, context)])


def push_many(updates: Iterable[Update]) -> None:
    """`push` for many at once, in one round trip to Redis."""
    transaction.on_commit(partial(_send, list(updates)), robust=True)


def send_frames(frames: Iterable[tuple[str, str]]) -> None:
    """Now, to each of these groups, a compact frame of JSON for the one script that reads such."""
    serialize = get_channel_layer().serialize
    found = [(f"{_prefix()}__group__{group}", frame) for group, frame in frames]
    _publish(lambda: [(channel, serialize({"type": "live.frame", "frame": frame})) for channel, frame in found])


def _send(updates: list[Update]) -> None:
    if updates:
        _publish(lambda: [(channel, _frame(update)) for channel, update in _heard(updates)])


def _publish(what: Callable[[], list[tuple[str, bytes]]]) -> None:
    """Never raises. ``what`` gives channels and what to say there; it may ask Redis, too."""
    global _failed_at
    if _failed_at is not None and time.monotonic() - _failed_at < SILENCE_S:
        return
    try:
        line = _client().pipeline(transaction=False)
        for channel, said in what():
            line.publish(channel, said)
        line.execute()
    except (RedisError, OSError) as problem:
        if _failed_at is None:
            logger.warning("Live updates wait for Redis; pages say so", problem=type(problem).__name__)
        _failed_at = time.monotonic()
    else:
        _failed_at = None


def _heard(updates: list[Update]) -> list[tuple[str, Update]]:
    """With their channels, those that some page listens to: an engine tells of thousands of devices a second, and
    rendering is what costs. A page that starts to listen just now fetches itself anyway."""
    channels = [_channel(update) for update in updates]
    listeners: dict[Any, int] = dict(_client().pubsub_numsub(*set(channels)))
    found = zip(channels, updates, strict=True)
    return [(channel, update) for channel, update in found if listeners.get(channel.encode())]


@dataclass(frozen=True, slots=True)
class Listeners:
    """Which topics some page listens to, by workspace; and whether staff watch the whole fleet."""

    topics: dict[int, set[str]] = field(default_factory=dict)
    fleet: bool = False

    def to_pages(self) -> set[int]:
        """The workspaces that have some page open which is told in partials."""
        return {workspace for workspace, topics in self.topics.items() if topics - {WORKERS}}

    def to_workers(self) -> set[int]:
        return {workspace for workspace, topics in self.topics.items() if WORKERS in topics}


def listening() -> Listeners:
    """Nobody, while Redis is away."""
    before = f"{_prefix()}__group__"
    try:
        channels = _client().pubsub_channels(f"{before}*")
    except (RedisError, OSError):
        return Listeners()
    found = Listeners(fleet=f"{before}{FLEET_GROUP}".encode() in channels)
    for channel in channels:
        name = channel.decode() if isinstance(channel, bytes) else channel
        noun, _, rest = name.removeprefix(before).partition(".")
        if noun == "workspace":
            workspace, _, topic = rest.partition(".")
            found.topics.setdefault(int(workspace), set()).add(topic)
    return found


def _frame(update: Update) -> bytes:
    context = update.context() if callable(update.context) else update.context
    with timezone.override(update.workspace.zone):
        html = render_to_string(update.template, {**context, "oob": True})
    return get_channel_layer().serialize({"type": "live.update", "html": html})


def _channel(update: Update) -> str:
    """Where the layer publishes to a group. Asking it to would take an event loop and a new connection each time."""
    return f"{_prefix()}__group__{group_name(update.workspace.pk, update.topic)}"


def _prefix() -> str:
    layers: Any = settings.CHANNEL_LAYERS
    prefix: str = layers["default"]["CONFIG"]["prefix"]
    return prefix


@cache
def _client() -> redis.Redis:
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),  # a person is waiting for the answer
    )
