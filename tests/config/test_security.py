"""What browsers may run here, and which pages may open a websocket."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator
from django.core.cache import cache, caches
from django.test import Client, override_settings
from django.urls import reverse

from config.security import OwnOrigin, is_own_origin
from tests.factories import make_user

RQ_HOME = "/admin/queues/"


def directives(response: Any) -> dict[str, str]:
    policy = response.headers["Content-Security-Policy"]
    return dict(part.strip().partition(" ")[::2] for part in policy.split(";"))


@pytest.mark.django_db
def test_pages_may_run_nothing_inline_and_load_nothing_foreign(client: Client) -> None:
    response = client.get(reverse("account_login"))
    assert response.status_code == 200
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    assert directives(response)["default-src"] == "'self'"
    assert directives(response)["frame-ancestors"] == "'none'"
    assert "camera=()" in response.headers["Permissions-Policy"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "same-origin"
    assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin"


@pytest.mark.django_db
def test_only_the_queue_pages_may_run_inline_scripts(client: Client) -> None:
    client.force_login(make_user(is_staff=True, is_superuser=True))
    queues = client.get(RQ_HOME)
    assert queues.status_code == 200
    assert directives(queues)["script-src"] == "'self' 'unsafe-inline'"
    assert "unsafe" not in client.get("/admin/").headers["Content-Security-Policy"]


@pytest.mark.django_db
@pytest.mark.parametrize("page", ["/admin/", RQ_HOME, f"{RQ_HOME}queues/0/", f"{RQ_HOME}workers/0/"])
def test_admin_and_queue_pages_are_for_staff_only(client: Client, page: str) -> None:
    assert client.get(page).status_code == 302
    client.force_login(make_user())
    assert client.get(page).status_code in (302, 403)
    client.force_login(make_user(is_staff=True, is_superuser=True))
    assert client.get(page).status_code == 200


@pytest.mark.parametrize(
    ("origin", "host", "own"),
    [
        ("http://localhost:8000", "localhost:8000", True),
        ("https://localhost", "localhost", True),
        ("http://localhost:9000", "localhost:8000", False),
        ("http://evil.example", "localhost:8000", False),
        ("http://evil.example", "evil.example", False),
        ("null", "localhost:8000", False),
        ("", "localhost:8000", False),
        ("", "", False),
        ("ftp://localhost", "localhost", False),
    ],
)
def test_a_websocket_opens_from_a_page_of_this_site_only(origin: str, host: str, own: bool) -> None:
    with override_settings(ALLOWED_HOSTS=["localhost"]):
        assert is_own_origin(origin, host) is own


@override_settings(ALLOWED_HOSTS=["*"])
def test_a_missing_origin_is_refused_even_where_every_host_is_allowed() -> None:
    assert not is_own_origin("", "localhost")
    assert not is_own_origin("http://evil.example", "localhost")


@override_settings(CSRF_TRUSTED_ORIGINS=["https://app.example.com"])
def test_a_trusted_origin_may_open_a_websocket() -> None:
    assert is_own_origin("https://app.example.com", "internal:8000")


async def accepting(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "websocket.accept"})


async def test_the_door_stands_before_the_socket_is_accepted() -> None:
    host = (b"host", b"localhost")
    own = WebsocketCommunicator(OwnOrigin(accepting), "/ws/", [host, (b"origin", b"http://localhost")])
    assert (await own.connect())[0]
    foreign = WebsocketCommunicator(OwnOrigin(accepting), "/ws/", [host, (b"origin", b"http://evil.example")])
    assert not (await foreign.connect())[0]
    nameless = WebsocketCommunicator(OwnOrigin(accepting), "/ws/", [host])
    assert not (await nameless.connect())[0]


def test_a_cache_without_redis_is_empty_and_never_an_error() -> None:
    nowhere = {"default": {"BACKEND": "config.cache.HintCache", "LOCATION": "redis://127.0.0.1:1"}}
    with override_settings(CACHES=nowhere):
        cache = caches.create_connection("default")
        cache.set("key", 1)
        assert cache.get("key") is None
        assert cache.get("key", "default") == "default"
        assert cache.get_many(["key"]) == {}
        assert cache.add("key", 1) is False
        assert cache.get_or_set("key", 5) == 5
        cache.delete("key")


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def test_a_pickle_written_into_redis_is_no_value_and_runs_nothing(tmp_path: Path) -> None:
    hint: Any = caches["default"]
    hint._cache.get_client(write=True).set(hint.make_key("planted"), pickle.dumps(Bomb(tmp_path / "ran")))
    assert cache.get("planted", "nothing") == "nothing"
    assert cache.get_many(["planted"]) == {}
    assert not (tmp_path / "ran").exists()
    cache.delete("planted")


def test_the_cache_keeps_what_json_can_say() -> None:
    for value in (5, 0, -3, True, None, 1.5, "text", [[1.5, 2]], {"a": [1]}):
        cache.set("kept", value, 10)
        assert cache.get("kept", "nothing") == value
    cache.set("counted", 1, 10)
    assert cache.incr("counted") == 2
    cache.delete_many(["kept", "counted"])
