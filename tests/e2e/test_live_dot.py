"""The live dot tells the truth: live, paused by a person, reconnecting while Redis is away, and live again."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from accounts.redis import AWAY, CONNECTED
from config.embedded import Valkey, running
from devices.models import Device
from tests.e2e.conftest import Site, served
from tests.factories import make_device, make_workspace

pytestmark = pytest.mark.browser
WITHIN_MS = 30_000


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Valkey:
    sockets = Path("/tmp") / f"flotilla-{secrets.token_hex(4)}"  # pytest's own paths are too long for a socket
    return Valkey(tmp_path_factory.mktemp("valkey"), sockets / "valkey", secrets.token_urlsafe())


@pytest.fixture(scope="module")
def site(django_db_setup: None, valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with a Redis of its own, which each test starts and stops."""
    with served(tmp_path_factory.mktemp("site"), REDIS_URL=valkey.url) as site:
        yield site


@pytest.fixture
def device(transactional_db: None) -> Device:
    return make_device(make_workspace(), name="Front desk")


def dot(page: Page) -> Locator:
    return page.get_by_title("pause or resume")


def events(site: Site) -> list[str]:
    lines = (site.log_dir / "web.log").read_text().splitlines()
    return [str(json.loads(line).get("event")) for line in lines if line.startswith("{")]


def wait_until_connected(site: Site) -> None:
    """By its last word: what another test's outage was too short for, it has not noticed."""
    until = time.monotonic() + WITHIN_MS / 1000
    while [event for event in events(site) if event in (AWAY, CONNECTED)][-1:] != [CONNECTED]:
        assert time.monotonic() < until, "it never knew that Redis is there"
        time.sleep(0.2)


def wait_for_event(site: Site, event: str, after: int) -> None:
    until = time.monotonic() + WITHIN_MS / 1000
    while event not in events(site)[after:]:
        assert time.monotonic() < until, f"{event!r} was not logged"
        time.sleep(0.2)


def test_a_person_pauses_and_resumes(sign_in: Callable[..., Page], device: Device, valkey: Valkey) -> None:
    with running(valkey):
        page = sign_in(device.workspace.owner)
        page.goto("/devices/")
        expect(dot(page)).to_have_text("live", timeout=WITHIN_MS)
        dot(page).click()
        expect(dot(page)).to_have_text("paused")
        dot(page).click()
        expect(dot(page)).to_have_text("live")


def test_pages_say_that_redis_is_away_and_catch_up_when_it_is_back(
    sign_in: Callable[..., Page], device: Device, valkey: Valkey, site: Site
) -> None:
    page = sign_in(device.workspace.owner)
    with running(valkey):
        page.goto("/devices/")
        expect(dot(page)).to_have_text("live", timeout=WITHIN_MS)
        wait_until_connected(site)
        before = events(site)
    expect(dot(page)).to_have_text("reconnecting", timeout=WITHIN_MS)
    wait_for_event(site, AWAY, len(before))
    Device.objects.filter(pk=device.pk).update(name="Back office")
    expect(page.get_by_text("Front desk").first).to_be_visible()
    with running(valkey):
        expect(dot(page)).to_have_text("live", timeout=WITHIN_MS)
        expect(page.get_by_text("Back office").first).to_be_visible()
        wait_for_event(site, CONNECTED, len(before))
    news = events(site)[len(before) :]
    assert news.count(AWAY) == 1
    assert news.count(CONNECTED) == 1
    assert "Traceback" not in (site.log_dir / "web.log").read_text()


def test_a_page_notices_that_its_session_has_ended(
    sign_in: Callable[..., Page], device: Device, valkey: Valkey
) -> None:
    with running(valkey):
        page = sign_in(device.workspace.owner)
        page.goto("/devices/")
        expect(dot(page)).to_have_text("live", timeout=WITHIN_MS)
        other = page.context.new_page()
        other.goto("/settings/")
        other.get_by_label("Account").click()
        other.get_by_role("button", name="Sign out").click()
        expect(other).to_have_url(re.compile("/accounts/login/"))
        signed_out = dot(page).filter(has_text="signed out")  # or the page's own refresh was faster
        expect(signed_out.or_(page.get_by_role("heading", name="Sign in"))).to_be_visible(timeout=70_000)


def test_the_web_process_drops_a_frame_too_large_before_it_has_it_all(
    sign_in: Callable[..., Page], device: Device, valkey: Valkey
) -> None:
    with running(valkey):
        page = sign_in(device.workspace.owner)
        page.goto("/settings/profile/")
        code = page.evaluate(
            """() => new Promise((tell) => {
                const socket = new WebSocket(`ws://${location.host}/ws/live/home/`);
                socket.onopen = () => socket.send("x".repeat(1 << 20));
                socket.onclose = (event) => tell(event.code);
            })"""
        )
    assert code == 1006, "the line is dropped; the consumer, which would have had all of it, says 4413"
