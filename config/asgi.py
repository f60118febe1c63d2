"""The web process: pages over HTTP, live updates over websockets."""

from __future__ import annotations

import os
from importlib import import_module

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# Before the settings are read: the web serves many requests at once and never forks, and no page may hold a query long.
os.environ.setdefault("DATABASE_POOL", "1")
os.environ.setdefault("STATEMENT_TIMEOUT", "15s")
os.environ.setdefault("LOCK_TIMEOUT", "5s")
os.environ.setdefault("IDLE_IN_TRANSACTION_SESSION_TIMEOUT", "30s")

from django.core.asgi import get_asgi_application

pages = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import WebsocketDenier  # noqa: E402
from daphne.ws_protocol import WebSocketProtocol  # noqa: E402
from django.conf import settings  # noqa: E402
from django.urls import path, re_path  # noqa: E402

from accounts.allocation import settle_memory  # noqa: E402
from accounts.consumers import LARGEST_FRAME, LiveConsumer  # noqa: E402
from accounts.icons import bodies  # noqa: E402
from accounts.redis import RedisWatch  # noqa: E402
from config import intake, slow_sockets  # noqa: E402
from config.security import OwnOrigin  # noqa: E402
from monitoring.checkup.watch import watch  # noqa: E402
from monitoring.heartbeats import Program  # noqa: E402
from monitoring.metrics import keep_ready  # noqa: E402

# Daphne would collect a frame of any size in memory before the consumer could refuse it.
WebSocketProtocol.maxFramePayloadSize = WebSocketProtocol.maxMessagePayloadSize = LARGEST_FRAME
intake.install()
slow_sockets.install()

# The router would raise for any other address: a traceback for each request of a stranger.
sockets = [path("ws/live/<str:topic>/", LiveConsumer.as_asgi()), re_path("", WebsocketDenier.as_asgi())]
application = ProtocolTypeRouter({"http": pages, "websocket": OwnOrigin(AuthMiddlewareStack(URLRouter(sockets)))})

import_module("config.urls")  # every page's code
bodies()  # and every page's icons
settle_memory()
RedisWatch(settings.REDIS_URL).start()
Program("web").start()
watch.start(after_each=keep_ready)
