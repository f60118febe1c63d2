"""The status page in a browser: it says by itself that Redis was stopped, and that it is back."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from config.embedded import Valkey, running
from tests.e2e.conftest import Site, served
from tests.factories import make_workspace

pytestmark = pytest.mark.browser
WITHIN_MS = 30_000


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Valkey:
    sockets = Path("/tmp") / f"flotilla-{secrets.token_hex(4)}"  # pytest's own paths are too long for a socket
    return Valkey(tmp_path_factory.mktemp("valkey"), sockets / "valkey", secrets.token_urlsafe())


@pytest.fixture(scope="module")
def site(django_db_setup: None, valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with served(tmp_path_factory.mktemp("site"), REDIS_URL=valkey.url, HEALTH_EVERY_S="0.5") as site:
        yield site


def test_the_page_turns_when_redis_stops_and_other_pages_carry_a_line(
    sign_in: Callable[..., Page], valkey: Valkey, transactional_db: None
) -> None:
    page = sign_in(make_workspace().owner)
    status = page.locator("#status")
    with ExitStack() as stack:
        stack.enter_context(running(valkey))
        page.goto("/status")
        expect(status.get_by_text("Programs hear of each other at once.")).to_be_visible(timeout=WITHIN_MS)
    expect(status).to_contain_text("Sending goes on: engines look for due work every 5 s.", timeout=WITHIN_MS)
    page.goto("/devices/")
    expect(page.locator("#health-banner")).to_contain_text("No engine is running")
    page.get_by_role("link", name="see the status").click()
    with running(valkey):
        expect(status.get_by_text("Programs hear of each other at once.")).to_be_visible(timeout=WITHIN_MS)
