"""An ear for what pages are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from channels.layers import get_channel_layer
from django.conf import settings
from redis import Redis

if TYPE_CHECKING:  # pytest reads this file before Django is set up: models are imported where they are used
    from accounts.models import Workspace

Hear = Callable[..., AbstractContextManager[list[list[str]]]]


@pytest.fixture
def hear(django_capture_on_commit_callbacks: Any) -> Hear:
    """`with hear((workspace, topic), …) as (heard, …):` runs what waits for the commit and collects what was pushed."""
    from accounts.live import group_name

    @contextmanager
    def listen(*topics: tuple[Workspace, str]) -> Iterator[list[list[str]]]:
        layers: Any = settings.CHANNEL_LAYERS
        prefix = layers["default"]["CONFIG"]["prefix"]
        heard: dict[str, list[str]] = {
            f"{prefix}__group__{group_name(workspace.pk, topic)}": [] for workspace, topic in topics
        }
        with Redis.from_url(settings.REDIS_URL) as redis, redis.pubsub() as ear:
            ear.subscribe(*heard)
            for _ in heard:
                assert ear.get_message(timeout=2)["type"] == "subscribe"
            with django_capture_on_commit_callbacks(execute=True):
                yield list(heard.values())
            # Redis answers a publish after handing it out, so what was pushed is here already.
            while (message := ear.get_message(timeout=0.2)) is not None:
                html = get_channel_layer().deserialize(message["data"])["html"]
                heard[message["channel"].decode()].append(html)

    return listen
