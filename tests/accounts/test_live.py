"""Live updates: who hears what, and what happens when they may no longer, or when Redis is away."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import structlog
from asgiref.sync import sync_to_async
from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.db import connections, transaction
from django.template import engines
from django.test import Client
from django.urls import path

from accounts import consumers, live
from accounts.consumers import LiveConsumer
from accounts.live import FLEET_GROUP, Update, push, push_many, send_frames
from accounts.models import AuditEntry, Membership, User
from config.security import OwnOrigin
from tests.factories import make_member, make_user, make_workspace

HOST = "localhost"
CHIP = "components/_state.html"


def socket(topic: str, user: User | None = None, origin: str | None = f"http://{HOST}") -> WebsocketCommunicator:
    headers = [(b"host", HOST.encode())]
    if origin:
        headers.append((b"origin", origin.encode()))
    if user:
        client = Client()
        client.force_login(user)
        headers.append((b"cookie", f"sessionid={client.cookies['sessionid'].value}".encode()))
    application = OwnOrigin(AuthMiddlewareStack(URLRouter([path("ws/live/<str:topic>/", LiveConsumer.as_asgi())])))
    return WebsocketCommunicator(application, f"/ws/live/{topic}/", headers=headers)


async def close_code(communicator: WebsocketCommunicator) -> int:
    message = await communicator.receive_output(timeout=5)
    assert message["type"] == "websocket.close", message
    return int(message["code"])


def in_thread(function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """Elsewhere than the sockets' own thread, as a job or a request would; its connection ends with it."""

    def called(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        finally:
            connections.close_all()

    return sync_to_async(called, thread_sensitive=False)


committed = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def cast(transactional_db: None) -> AsyncIterator[dict[str, Any]]:
    yield await in_thread(make_cast)()
    await sync_to_async(connections.close_all)()  # the one the sockets asked their questions on


def make_cast() -> dict[str, Any]:
    alice, charlie = make_workspace(), make_workspace()
    return {"alice": alice, "charlie": charlie, "bob": make_member(alice, "viewer")}


async def test_members_hear_their_workspace_and_strangers_do_not(cast: dict[str, Any]) -> None:
    people = (cast["alice"].owner, cast["bob"], cast["charlie"].owner)
    alice, bob, charlie = [await in_thread(socket)("devices", person) for person in people]
    for listener in (alice, bob, charlie):
        assert (await listener.connect())[0]
    await in_thread(push)(cast["alice"], "devices", CHIP, word="Online", colour="green")
    assert "Online" in await alice.receive_from(timeout=5)
    assert "Online" in await bob.receive_from(timeout=5)
    assert await charlie.receive_nothing(timeout=0.3)
    for listener in (alice, bob, charlie):
        await listener.disconnect()


async def test_a_topic_hears_only_itself(cast: dict[str, Any]) -> None:
    listener = await in_thread(socket)("campaigns", cast["alice"].owner)
    assert (await listener.connect())[0]
    updates = [Update(cast["alice"], topic, CHIP, {"word": topic}) for topic in ("devices", "campaigns")]
    await in_thread(push_many)(updates)
    assert "campaigns" in await listener.receive_from(timeout=5)
    assert await listener.receive_nothing(timeout=0.3)
    await listener.disconnect()


@pytest.mark.parametrize("origin", [None, "https://evil.example", "http://localhost.evil.example", "null"])
async def test_a_socket_opens_only_from_a_page_of_this_site(cast: dict[str, Any], origin: str | None) -> None:
    listener = await in_thread(socket)("devices", cast["alice"].owner, origin)
    assert not (await listener.connect())[0]


async def test_a_socket_opens_only_for_somebody_signed_in(transactional_db: None) -> None:
    assert not (await socket("devices").connect())[0]


@pytest.mark.parametrize("topic", ["Devices", "a.b.c", "workspace.1.devices*", "d" * 80, "device.%2e%2e", "weather"])
async def test_no_socket_opens_for_a_topic_that_is_none(cast: dict[str, Any], topic: str) -> None:
    listener = await in_thread(socket)(topic, cast["alice"].owner)
    assert not (await listener.connect())[0]


def test_topics_are_those_that_pages_listen_to_and_no_others() -> None:
    uuid = "0b4c1c6e-5d6c-4f0e-9b1f-0c8f1f6d2a11"
    pages = " ".join(page.read_text() for page in (settings.BASE_DIR / "templates").rglob("*.html"))
    asked = {re.sub(r"{{.*}}", uuid, topic) for topic in re.findall(r'ws-connect="/ws/live/([^"]+)/"', pages)}
    named = {f"campaign.{uuid}", f"import.{uuid}", "fleet", "workers"}  # by views
    for topic in (asked - {uuid}) | named:
        assert consumers.TOPIC.fullmatch(topic), topic
    for topic in ("device", "device.1", f"devices.{uuid}", f"device.{uuid}x", "home\n", f"{uuid}", ""):
        assert not consumers.TOPIC.fullmatch(topic), topic


async def test_a_pairing_code_is_not_for_those_who_only_look_on(cast: dict[str, Any]) -> None:
    topic = "pairing.0b4c1c6e-5d6c-4f0e-9b1f-0c8f1f6d2a11"
    owner, viewer = await in_thread(socket)(topic, cast["alice"].owner), await in_thread(socket)(topic, cast["bob"])
    assert (await owner.connect())[0]
    assert not (await viewer.connect())[0]
    await owner.disconnect()


async def test_staff_hear_the_fleet_and_nobody_else_does(cast: dict[str, Any]) -> None:
    staff = await in_thread(make_user)(is_staff=True)
    listener = await in_thread(socket)("fleet", staff)
    assert (await listener.connect())[0]
    assert await in_thread(AuditEntry.objects.filter(action="staff.workers", actor=staff).count)() == 1
    assert not (await (await in_thread(socket)("fleet", cast["alice"].owner)).connect())[0]
    await in_thread(send_frames)([(FLEET_GROUP, '{"busy":[1]}'), (f"workspace.{cast['alice'].pk}.workers", "{}")])
    assert await listener.receive_from(timeout=5) == '{"busy":[1]}'
    await listener.disconnect()


async def test_staff_who_are_staff_no_longer_hear_nothing_more(
    cast: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "RECHECK_S", 0.2)
    staff = await in_thread(make_user)(is_staff=True)
    listener = await in_thread(socket)("fleet", staff)
    assert (await listener.connect())[0]
    await in_thread(User.objects.filter(pk=staff.pk).update)(is_staff=False)
    assert await close_code(listener) == consumers.NOT_A_MEMBER


async def test_frames_that_come_fast_go_together_once_a_second(
    cast: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "FRAME_EVERY_S", 0.3)
    listener = await in_thread(socket)("workers", cast["alice"].owner)
    assert (await listener.connect())[0]
    group = f"workspace.{cast['alice'].pk}.workers"
    await in_thread(send_frames)([(group, "1")])
    assert await listener.receive_from(timeout=5) == "1"
    await in_thread(send_frames)([(group, "2"), (group, "3")])
    assert await listener.receive_from(timeout=5) == "2\n3"
    await in_thread(send_frames)([(group, "x" * consumers.LARGEST_FRAME)] * 2)
    assert await listener.receive_from(timeout=5) == consumers.FETCH_AGAIN
    await listener.disconnect()


async def test_a_ping_is_answered_and_anything_else_ignored(cast: dict[str, Any]) -> None:
    listener = await in_thread(socket)("home", cast["alice"].owner)
    await listener.connect()
    await listener.send_to(text_data='{"type": "live.update", "html": "<b>"}')
    await listener.send_to(bytes_data=b"\x00")
    await listener.send_to(text_data="ping")
    assert await listener.receive_from() == "pong"
    assert await listener.receive_nothing(timeout=0.2)
    await listener.disconnect()


async def test_a_frame_too_large_ends_the_socket(cast: dict[str, Any]) -> None:
    listener = await in_thread(socket)("home", cast["alice"].owner)
    await listener.connect()
    await listener.send_to(text_data="x" * (consumers.LARGEST_FRAME + 1))
    assert await close_code(listener) == consumers.TOO_LARGE


async def test_a_flood_of_frames_ends_the_socket(cast: dict[str, Any]) -> None:
    listener = await in_thread(socket)("home", cast["alice"].owner)
    await listener.connect()
    for _ in range(consumers.FRAMES_A_MINUTE + 1):
        await listener.send_to(text_data="hello")
    assert await close_code(listener) == consumers.TOO_MANY


async def test_one_person_has_so_many_sockets_open_and_is_told_why_not_more(
    cast: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "SOCKETS_A_USER", 2)
    owner = cast["alice"].owner
    first, second, third = [await in_thread(socket)("home", owner) for _ in range(3)]
    for listener in (first, second, third):
        assert (await listener.connect())[0]
    assert await close_code(third) == consumers.TOO_MANY_PAGES
    other = await in_thread(socket)("home", cast["bob"])
    assert (await other.connect())[0]
    assert await other.receive_nothing(timeout=0.1)
    await first.disconnect()
    again = await in_thread(socket)("home", owner)
    assert (await again.connect())[0]
    assert await again.receive_nothing(timeout=0.1)
    for listener in (second, other, again):
        await listener.disconnect()


def leave(user: User) -> None:
    Membership.objects.filter(user=user).delete()


def change_password(user: User) -> None:
    user.set_password("a quite different one")
    user.save()


def switch_off(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


@pytest.mark.parametrize(
    ("what", "code"),
    [
        (leave, consumers.NOT_A_MEMBER),
        (change_password, consumers.SIGNED_OUT),
        (switch_off, consumers.SIGNED_OUT),
    ],
)
async def test_a_socket_ends_when_its_owner_may_listen_no_longer(
    cast: dict[str, Any], monkeypatch: pytest.MonkeyPatch, what: Any, code: int
) -> None:
    monkeypatch.setattr(consumers, "RECHECK_S", 0.2)
    listener = await in_thread(socket)("home", cast["bob"])
    assert (await listener.connect())[0]
    assert await listener.receive_nothing(timeout=0.5), "it stays open while nothing has changed"
    await in_thread(what)(cast["bob"])
    assert await close_code(listener) == code


@pytest.mark.django_db
def test_what_is_pushed_is_rendered_after_the_commit_and_marked_for_swapping_by_id(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(live, "_send", lambda updates: sent.extend(updates))
    workspace = make_workspace()
    with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
        push(workspace, "home", "components/_messages.html")
        assert sent == []
    frame = live.get_channel_layer().deserialize(live._frame(sent[0]))
    assert 'hx-swap-oob="true"' in frame["html"]


@pytest.mark.django_db
def test_times_in_a_push_are_in_the_zone_of_the_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    template = engines["django"].from_string("{% load tz %}{% get_current_timezone as zone %}{{ zone }}")
    monkeypatch.setattr(live, "render_to_string", lambda name, context: template.render(context))
    update = Update(make_workspace(timezone="America/New_York"), "home", "any.html")
    assert "America/New_York" in live.get_channel_layer().deserialize(live._frame(update))["html"]


@committed
def test_a_push_without_redis_is_logged_once_and_never_raised(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.REDIS_URL = "unix:///nowhere/valkey"
    monkeypatch.setattr(live, "SILENCE_S", 0)
    monkeypatch.setattr(live, "_failed_at", None)
    live._client.cache_clear()
    workspace = make_workspace()
    with structlog.testing.capture_logs() as lines:
        push(workspace, "home", CHIP, word="x")
        push(workspace, "home", CHIP, word="x")
    live._client.cache_clear()
    assert [line["event"] for line in lines] == ["Live updates wait for Redis; pages say so"]
