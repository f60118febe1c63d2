"""What the web server takes from strangers, asked over a plain connection."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from channels.layers import get_channel_layer
from django.conf import settings
from django.test import Client

from accounts.live import group_name
from accounts.redis import hints
from tests.e2e.conftest import Site, served
from tests.factories import make_workspace

MB = 1 << 20


@contextmanager
def connection_to(site: Site) -> Iterator[socket.socket]:
    place = urlsplit(site.url)
    with socket.create_connection((place.hostname, place.port or 0), timeout=30) as connection:
        yield connection


def ask(site: Site, start: str, *headers: str) -> str:
    """The head of the answer."""
    lines = [start, f"Host: {urlsplit(site.url).netloc}", "Connection: close", *headers]
    with connection_to(site) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode(errors="replace")


def test_a_visitor_does_not_say_where_the_site_is(site: Site) -> None:
    for root in ("http://evil.example", "//evil.example", "/elsewhere"):
        answer = ask(site, "GET /accounts/password/reset/ HTTP/1.1", f"Daphne-Root-Path: {root}")
        assert answer.startswith("HTTP/1.1 200")
        assert "evil.example" not in answer
        assert "elsewhere" not in answer


def test_a_socket_at_an_unknown_address_is_refused_like_any_other(site: Site) -> None:
    socket_headers = ("Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
    for path in ("/ws/live/../x/", "/ws/", "/"):
        lines = [f"GET {path} HTTP/1.1", f"Host: {urlsplit(site.url).netloc}", "Connection: Upgrade"]
        lines += [f"Origin: {site.url}", *socket_headers]
        with connection_to(site) as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode())
            assert connection.recv(4096).startswith(b"HTTP/1.1 403"), path


@pytest.mark.django_db(transaction=True)
def test_a_socket_whose_other_end_does_not_read_is_closed_and_not_buffered(site: Site) -> None:
    workspace = make_workspace()
    client = Client()
    client.force_login(workspace.owner)
    group = group_name(workspace.pk, "devices")
    layers: Any = settings.CHANNEL_LAYERS
    channel = f"{layers['default']['CONFIG']['prefix']}__group__{group}"
    frame = get_channel_layer().serialize({"type": "live.update", "html": "x" * 60_000})
    lines = [
        "GET /ws/live/devices/ HTTP/1.1",
        f"Host: {urlsplit(site.url).netloc}",
        f"Origin: {site.url}",
        f"Cookie: sessionid={client.cookies['sessionid'].value}",
        *("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    ]
    with connection_to(site) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 101")
        before = web_process(site).memory_info().rss
        until = time.monotonic() + 20
        told = 0
        while (heard := hints().publish(channel, frame)) or not told:
            told += heard
            assert time.monotonic() < until, "it is told and told"
            time.sleep(0.002)
    assert told > 1, "it was told something at first"
    assert web_process(site).memory_info().rss - before < 30 * MB


def post(site: Site, kind: str, blocks: int) -> bytes:
    """The status line of a POST of so many MB."""
    head = f"POST /accounts/login/ HTTP/1.1\r\nHost: {urlsplit(site.url).netloc}\r\nContent-Type: {kind}\r\n"
    with connection_to(site) as connection:
        connection.sendall(f"{head}Content-Length: {blocks * MB}\r\n\r\n".encode())
        block = b"a=1&" * (MB // 4)
        try:
            for _ in range(blocks):
                connection.sendall(block)
            return connection.recv(4096).partition(b"\r\n")[0]
        except (BrokenPipeError, ConnectionResetError):
            return b"cut off"


def web_process(site: Site) -> psutil.Process:
    port = str(urlsplit(site.url).port)
    return next(process for process in psutil.Process().children() if port in process.cmdline())


@pytest.fixture
def narrow_site(django_db_setup: None, tmp_path: Path) -> Iterator[Site]:
    with served(tmp_path, IMPORT_MAX_MB="16") as site:
        yield site


def test_a_large_post_takes_little_more_memory_than_its_size(narrow_site: Site) -> None:
    web = web_process(narrow_site)
    before = web.memory_info().rss
    for kind in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        assert post(narrow_site, kind, 30).split()[1] in (b"400", b"403")
    assert web.memory_info().rss - before < 120 * MB


def test_what_is_larger_than_twice_the_largest_import_is_cut_off(narrow_site: Site) -> None:
    answer = post(narrow_site, "text/plain", 40)
    assert answer == b"cut off" or answer.split()[1] == b"413"
    assert ask(narrow_site, "GET /healthz HTTP/1.1").startswith("HTTP/1.1 200")
